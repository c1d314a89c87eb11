"""The partition that a record key belongs to: Kafka's default partitioner, murmur2."""

from __future__ import annotations

from aiokafka.partitioner import murmur2


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, the same as in the clients for Java, kafka-python and aiokafka."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions
