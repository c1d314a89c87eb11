"""The Kafka worker: consume, process, publish, commit; one Faust app a process."""
