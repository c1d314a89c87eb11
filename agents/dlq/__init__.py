"""Dead letters: list, show, replay and discard them, and what was done with each."""
