"""Topics derived from the outputs: roll-ups to parent accounts and peer tables."""
