"""Statistics of other packages."""
