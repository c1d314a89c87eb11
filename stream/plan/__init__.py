"""The compiled policy: columns, score models, alert rules and segments as arrays and indexes."""
