"""For programs that read the outputs: which alert records are news, progress out of order, roll-ups, peer values."""
