"""What the engine keeps of each account: its row, alert state, acknowledgements, overrides."""
