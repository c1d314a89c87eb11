"""Explain scores: contributions, changes since a moment, forecasts, distributions, differences between policies."""
