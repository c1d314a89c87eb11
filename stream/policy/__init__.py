"""The policy language: a TOML file becomes a `Policy`, and every mistake in it is named with its line."""
