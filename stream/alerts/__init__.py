"""Alerts: conditions, state at window boundaries, messages, storms, idle sources, emission."""
