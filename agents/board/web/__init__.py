"""The board's web application: routes, authentication, event stream, static files."""
