"""Statistics and normalisers of other packages, as a policy names them."""
