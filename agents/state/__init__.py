"""`vitals state`: the saved state of a group as a file, in another place, rebuilt, or with one account set aside."""
