"""Storage primitives of the engine: panes, columns, distinct members, the hash index, the row schema."""
