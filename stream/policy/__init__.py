"""The policy language: read a TOML file into a `Policy`, and report every mistake in it with its line."""
