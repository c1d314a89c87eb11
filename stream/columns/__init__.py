"""Storage primitives of the engine: panes, columns, distinct members, hash index, row schema."""
