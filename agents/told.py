"""What readers of `health.alerts` were told after the last commit, read when a worker takes over partitions.

Owns the one reading of a topic's tails; what is made of them is for `stream.retelling`. Called by `agents.bootstrap`.
"""

from __future__ import annotations

from collections.abc import Mapping

from kafka import TopicPartition

from agents.broker import consumer_of, read_until
from agents.settings import Settings
from schemas.topics import ALERTS, POSITION_HEADER
from stream.retelling import Retelling


def read_told(settings: Settings, since: Mapping[int, int]) -> dict[int, Retelling]:
    """What stands in each partition of `health.alerts` from the given offset on. Blocks.

    Raises `agents.broker.BrokerError`, `kafka.errors.KafkaError`.
    """
    consumer = consumer_of(settings)
    try:
        starts = {TopicPartition(ALERTS, partition): offset for partition, offset in since.items()}
        ends = consumer.end_offsets(list(starts))
        found: dict[int, list[tuple[bytes, bytes | None]]] = {partition: [] for partition in since}
        consumer.assign(list(starts))
        for place, offset in starts.items():
            consumer.seek(place, min(offset, ends[place]))
        for place, record in read_until(consumer, ends):
            found[place.partition].append((record.value, dict(record.headers).get(POSITION_HEADER)))
        return {place.partition: Retelling(found[place.partition], end) for place, end in ends.items()}
    finally:
        consumer.close()
