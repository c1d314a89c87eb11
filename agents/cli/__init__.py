"""The command `vitals`: one file for each group of commands, listed in `main`."""
