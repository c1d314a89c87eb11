"""A policy compiled into arrays: columns, score models, alert rules, segments."""
