"""Events on their way into columns: merge by record time, duplicates, lateness, aggregation."""
