"""Topics derived from `health.scores`: roll-ups to parent accounts and peer tables."""
