"""Ingest events into columns: merge by record time, duplicates, lateness, aggregation."""
