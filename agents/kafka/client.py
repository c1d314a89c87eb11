"""Kafka consumers and producers outside the workers, and reading a topic to its end.

Owns `BrokerError` and the options that all these clients share (kafka-python, no automatic commits, from the beginning
of a topic). Called by every command that reads or writes topics except the worker, which uses Faust's clients.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import InvalidTimestampError, KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from agents.kafka.checksum import use_fast_checksum
from agents.kafka.probe import ConnectionFailedError, check_connection
from agents.process.errors import error_text
from agents.settings.settings import Settings

# At the end of a partition, `poll` moves its position past the marker of a transaction, but does not return for it.
_POLL_MS = 20
_READER_WAIT_MS = 10
_BOOTSTRAP_MS = 10_000
ONLY_KAFKA = 23
"""A kind of request (OffsetForLeaderEpoch) that every Kafka lists, and the embedded broker of the demo does not."""
REFUSED = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTimestampError)
"""Errors of a broker, or of the producer before it, that are about one record: no other try can succeed."""
use_fast_checksum()


class BrokerError(RuntimeError):
    """The broker cannot be used as it is; the message says what to do."""


class FinalBrokerError(BrokerError):
    """Only other settings can help: wrong credentials, certificates or protocol, missing rights."""


def consumer_of(settings: Settings, **options: Any) -> KafkaConsumer:
    """A consumer, without a group unless `options` has a `group_id`. Raises `BrokerError`."""
    return connect(
        settings,
        lambda: KafkaConsumer(
            **settings.kafka_python(), **{"enable_auto_commit": False, "auto_offset_reset": "earliest", **options}
        ),
    )


def reader_of(settings: Settings, **options: Any) -> KafkaConsumer:
    """A consumer without a group that reads partitions in turn, each to an end that is known. Raises `BrokerError`.

    At the end of a partition the client fetches once more, and the next one waits for the answer: 500 ms by default.
    """
    return consumer_of(settings, fetch_max_wait_ms=_READER_WAIT_MS, **options)


def producer_of(settings: Settings, **options: Any) -> KafkaProducer:
    """A producer that waits for all replicas. Raises `BrokerError`."""
    return connect(settings, lambda: KafkaProducer(**settings.kafka_python(), **{"acks": "all", **options}))


def admin_of(settings: Settings, client_id: str = "vitals-admin") -> KafkaAdminClient:
    """A client of the broker's admin API. Raises `BrokerError`."""
    return connect(
        settings,
        lambda: KafkaAdminClient(
            **settings.kafka_python(),
            client_id=client_id,
            request_timeout_ms=15_000,
            bootstrap_timeout_ms=_BOOTSTRAP_MS,
        ),
    )


def is_kafka(admin: KafkaAdminClient) -> bool:
    """Whether the broker is a Kafka, and not the embedded broker of the demo, which answers less and differently."""
    return ONLY_KAFKA in admin.api_versions()


def connect(settings: Settings, make: Callable[[], Any]) -> Any:
    """Check the connection, then call `make`, which connects a client to the broker. Raises `BrokerError`."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        check_connection(settings)
    except ConnectionFailedError as problem:
        kind = FinalBrokerError if problem.is_final else BrokerError
        raise kind(f"no Kafka broker ({settings.security_protocol}): {problem}") from problem
    try:
        return make()
    except (KafkaError, OSError, ValueError) as error:
        servers = ", ".join(settings.bootstrap_servers())
        problem_text = error_text(error)
        msg = (
            f"{servers} answers, but a client cannot use it ({settings.security_protocol}): {problem_text}. "
            "Check that the brokers' advertised.listeners can be reached from here."
        )
        raise BrokerError(msg) from error


def unlisted(topic: str, if_missing: str = "create it with `vitals topics --create`") -> str:
    """What it can mean that a broker does not list a topic for this client, and what to do."""
    return (
        f"the broker lists no topic {topic}: it is missing ({if_missing}), or this client has no right DESCRIBE on it "
        "(`vitals check --role ROLE` lists missing rights)"
    )


def partitions_of(consumer: KafkaConsumer, topic: str) -> list[TopicPartition]:
    """The partitions of a topic, in order. Raises `BrokerError` when the broker does not list it, `KafkaError`."""
    numbers = consumer.partitions_for_topic(topic)
    if not numbers:
        raise BrokerError(unlisted(topic))
    return [TopicPartition(topic, number) for number in sorted(numbers)]


def read_topic(
    consumer: KafkaConsumer, topic: str, stopping: Callable[[], bool] = lambda: False
) -> Iterator[tuple[TopicPartition, Any]]:
    """Records of a topic from its beginning to its present end; the consumer can be polled from there on.

    Raises `BrokerError` when the topic is missing, `KafkaError`.
    """
    partitions = partitions_of(consumer, topic)
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    yield from read_until(consumer, consumer.end_offsets(partitions), stopping)


def read_until(
    consumer: KafkaConsumer, ends: Mapping[TopicPartition, int], stopping: Callable[[], bool] = lambda: False
) -> Iterator[tuple[TopicPartition, Any]]:
    """Records from the consumer's position up to `ends`, or until `stopping` returns True."""
    while not stopping() and any(consumer.position(partition) < end for partition, end in ends.items()):
        for partition, records in consumer.poll(timeout_ms=_POLL_MS).items():
            for record in records:
                yield partition, record
