"""What the board answers: one file a view, made from its state when it is asked for."""
