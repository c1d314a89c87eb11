"""The engine over event files instead of Kafka topics."""
