"""The catalog of everything that crosses the wire: its records described for other programs."""
