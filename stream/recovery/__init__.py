"""The state as changelog records: snapshot, restore, and what was published before a crash."""
