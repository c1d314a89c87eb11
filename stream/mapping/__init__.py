"""Mapping of records of other systems to events: rules in a TOML file, read and applied."""
