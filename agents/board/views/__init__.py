"""The board's answers: one file a view, made from the state for each request."""
