"""The web application of the board: routes, sign-in, streaming, static files."""
