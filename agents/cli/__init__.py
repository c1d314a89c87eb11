"""The command `vitals`, one file a group of commands."""
