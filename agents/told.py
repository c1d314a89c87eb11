"""What readers of `health.alerts` were told after the last commit, read when a worker takes over partitions.

Owns the one reading of a topic's tails; what is made of them is for `stream.retelling`. Called by `agents.bootstrap`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import CorruptRecordError

from agents.broker import consumer_of, read_until
from agents.settings import Settings
from schemas.topics import ALERTS, POSITION_HEADER
from stream.retelling import Retelling, Told

log = structlog.get_logger()


def read_told(settings: Settings, since: Mapping[int, int]) -> dict[int, Retelling]:
    """What stands in each partition of `health.alerts` from the given offset on. Blocks.

    Raises `agents.broker.BrokerError`, `kafka.errors.KafkaError`.
    """
    consumer = consumer_of(settings)
    try:
        starts = {TopicPartition(ALERTS, partition): offset for partition, offset in since.items()}
        ends = consumer.end_offsets(list(starts))
        return {
            place.partition: Retelling(_tail(consumer, place, starts[place], end), end) for place, end in ends.items()
        }
    finally:
        consumer.close()


def _tail(consumer: KafkaConsumer, place: TopicPartition, start: int, end: int) -> Iterator[Told]:
    """Values and positions of a partition's records from `start` to `end`, or to one that can not be read."""
    if start >= end:
        return
    consumer.assign([place])
    consumer.seek(place, start)
    try:
        for _, record in read_until(consumer, {place: end}):
            yield record.value, dict(record.headers).get(POSITION_HEADER)
    except CorruptRecordError as error:
        # No worker wrote it, and none could begin as long as the topic keeps it.
        log.exception("alert_unreadable", partition=place.partition, offset=consumer.position(place), error=str(error))
