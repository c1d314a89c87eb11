"""Loads event files into the input topics: `vitals import`."""
