"""State of each account: its arrays and changelog row, alert state, acknowledgements and snoozes, overrides."""
