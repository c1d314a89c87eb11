"""The commands with which a deployment begins: `vitals init` and `vitals import`."""
