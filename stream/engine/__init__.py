"""The engine of one partition: it processes batches, advances time and rescores at window boundaries."""
