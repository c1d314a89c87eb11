"""Kafka clients outside the worker: connections, topic administration, reading a topic to its end."""
