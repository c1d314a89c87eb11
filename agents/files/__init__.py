"""The engine over files of events instead of Kafka."""
