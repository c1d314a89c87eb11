"""What readers of alerts and score changes were told after the last commit, read when a worker takes over partitions.

Owns the one reading of topics' tails; what is made of them is for `stream.recovery.alert_reconciler` and
`stream.publishing.baseline`. Called by `agents.worker.wiring`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import CorruptRecordError

from agents.kafka.client import consumer_of, read_until
from agents.settings.settings import Settings
from schemas.topics import ALERTS, CHANGES, POSITION_HEADER
from stream.publishing.baseline import Heard
from stream.recovery.alert_reconciler import Retelling

log = structlog.get_logger()


class Told(NamedTuple):
    """What stands in one partition of both topics, from where the last commit knew them on."""

    alerts: Retelling
    changes: Heard


def read_told(settings: Settings, since: Mapping[int, Mapping[str, int]]) -> dict[int, Told]:
    """What was told after the offsets, by topic, of each partition. Blocks.

    Of a topic without an offset all alerts count, and no changes: nobody can tell those of this state from others.
    Raises `agents.kafka.client.BrokerError`, `kafka.errors.KafkaError`.
    """
    consumer = consumer_of(settings)
    try:
        ends = consumer.end_offsets([TopicPartition(topic, number) for topic in (ALERTS, CHANGES) for number in since])
        found = {}
        for number, offsets in since.items():
            alerts, changes = TopicPartition(ALERTS, number), TopicPartition(CHANGES, number)
            told = _tail(consumer, alerts, offsets.get(ALERTS, 0), ends[alerts])
            retelling = Retelling(((one.value, dict(one.headers).get(POSITION_HEADER)) for one in told), ends[alerts])
            heard = _tail(consumer, changes, offsets.get(CHANGES, ends[changes]), ends[changes])
            found[number] = Told(retelling, Heard((one.value for one in heard), ends[changes]))
        return found
    finally:
        consumer.close()


def _tail(consumer: KafkaConsumer, place: TopicPartition, start: int, end: int) -> Iterator[Any]:
    """A partition's records from `start` to `end`, or to one that can not be read."""
    if start >= end:
        return
    consumer.assign([place])
    consumer.seek(place, start)
    try:
        for _, record in read_until(consumer, {place: end}):
            yield record
    except CorruptRecordError as error:
        # No worker wrote it, and none could begin as long as the topic keeps it.
        at = consumer.position(place)
        log.exception("output_unreadable", topic=place.topic, partition=place.partition, offset=at, error=str(error))
