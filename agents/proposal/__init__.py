"""Proposes a policy from event files, and writes the files that a deployment begins with: `vitals init`."""
