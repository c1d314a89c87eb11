"""Read what was published after the last commit of partitions that a worker takes over.

Owns the reading of the output topics; what is made of the records is for `stream.recovery.reconciler`. Called by
`agents.worker.tasks.restorer`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import CorruptRecordError

from agents.kafka.client import read_until, reader_of
from agents.settings.settings import Settings
from schemas.topics import CHANGES, POSITION_HEADER
from stream.recovery.namespaces import PUBLISHED_KEYS
from stream.recovery.reconciler import Reconciler, Tail, start_of

log = structlog.get_logger()


def read_published(settings: Settings, committed: Mapping[int, Mapping[str, int]]) -> dict[int, Reconciler]:
    """Read both output topics of each partition, given the offsets in its changelog by output. Blocks.

    Raises `agents.kafka.client.BrokerError`, `kafka.errors.KafkaError`.
    """
    consumer = reader_of(settings)
    try:
        topics = {output: settings.topic(output) for output in PUBLISHED_KEYS}
        ends = consumer.end_offsets(
            [TopicPartition(topic, number) for topic in topics.values() for number in committed]
        )
        return {
            number: Reconciler(
                {
                    output: _tail(consumer, output, TopicPartition(topic, number), offsets, ends)
                    for output, topic in topics.items()
                }
            )
            for number, offsets in committed.items()
        }
    finally:
        consumer.close()


def _tail(
    consumer: KafkaConsumer,
    output: str,
    tp: TopicPartition,
    committed: Mapping[str, int],
    ends: Mapping[TopicPartition, int],
) -> Tail:
    """A partition's tail, whose records are read when they are iterated: one tail after the other."""
    start, end = start_of(output, committed, ends[tp]), ends[tp]
    records = _records(consumer, tp, start, end)
    if output == CHANGES:
        return Tail(start, end, ((record.value, record.key) for record in records))
    return Tail(start, end, ((record.value, dict(record.headers).get(POSITION_HEADER)) for record in records))


def _records(consumer: KafkaConsumer, tp: TopicPartition, start: int, end: int) -> Iterator[Any]:
    """A partition's records from `start` to before `end`, or to before one that can not be read."""
    if start >= end:
        return
    consumer.assign([tp])
    consumer.seek(tp, start)
    try:
        for _, record in read_until(consumer, {tp: end}):
            yield record
    except CorruptRecordError as error:
        # No worker wrote it, and none could begin as long as the topic has it.
        offset = consumer.position(tp)
        log.exception("output_unreadable", topic=tp.topic, partition=tp.partition, offset=offset, error=str(error))
