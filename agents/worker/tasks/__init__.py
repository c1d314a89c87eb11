"""Partition tasks: their states, restore, records in, engine steps, effects out."""
