"""Consumers and producers beside the workers: how they are made, and how a topic is read to its end.

Owns `BrokerError` and the options that every one-off or following client shares (kafka-python, no automatic commits,
from the beginning). What is read is for the callers. Called by every command that reads or writes topics but the worker
itself, whose consumer is Faust's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from agents.settings.settings import Settings

_POLL_MS = 500


class BrokerError(RuntimeError):
    """The broker can not be used as it is; the message says what to do."""


def consumer_of(settings: Settings, **options: Any) -> KafkaConsumer:
    """A consumer, without a group unless `options` name one. Raises `BrokerError`."""
    return connect(
        settings,
        lambda: KafkaConsumer(
            **settings.kafka_python(), **{"enable_auto_commit": False, "auto_offset_reset": "earliest", **options}
        ),
    )


def producer_of(settings: Settings, **options: Any) -> KafkaProducer:
    """A producer that waits for all replicas. Raises `BrokerError`."""
    return connect(settings, lambda: KafkaProducer(**settings.kafka_python(), **{"acks": "all", **options}))


def connect(settings: Settings, make: Callable[[], Any]) -> Any:
    """What `make` makes, a client of the broker. Raises `BrokerError`."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        return make()
    except (KafkaError, OSError, ValueError) as error:
        servers = ", ".join(settings.bootstrap_servers())
        msg = (
            f"no Kafka broker at {servers} ({settings.security_protocol}): {type(error).__name__} {error}. "
            "Check broker, security_protocol and credentials; `vitals demo` brings its own broker."
        )
        raise BrokerError(msg) from error


def places_of(consumer: KafkaConsumer, topic: str) -> list[TopicPartition]:
    """The partitions of a topic, in order. Raises `BrokerError` when it lacks, `KafkaError`."""
    partitions = consumer.partitions_for_topic(topic)
    if not partitions:
        raise BrokerError(f"the broker has no topic {topic}; create it with `vitals topics --create`")
    return [TopicPartition(topic, number) for number in sorted(partitions)]


def read_topic(
    consumer: KafkaConsumer, topic: str, stopping: Callable[[], bool] = lambda: False
) -> Iterator[tuple[TopicPartition, Any]]:
    """Records of a topic from its beginning to the end of now; the consumer goes on where this ends.

    Raises `BrokerError` when the topic lacks, `KafkaError`.
    """
    places = places_of(consumer, topic)
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    yield from read_until(consumer, consumer.end_offsets(places), stopping)


def read_until(
    consumer: KafkaConsumer, ends: Mapping[TopicPartition, int], stopping: Callable[[], bool] = lambda: False
) -> Iterator[tuple[TopicPartition, Any]]:
    """Records from where the consumer stands up to `ends`, or until it is time to stop."""
    while not stopping() and any(consumer.position(place) < end for place, end in ends.items()):
        for place, records in consumer.poll(timeout_ms=_POLL_MS).items():
            for record in records:
                yield place, record
