"""Measures computed from other measures: the arithmetic of `value`, and how a policy writes it."""
