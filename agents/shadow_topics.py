"""What a broker has of the live policy and of a shadow: their latest scores and the alerts that are open.

Owns a one-off consumer without a group. Called by `vitals shadow`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeVar

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from agents.settings import Settings
from agents.topics_admin import BrokerError
from schemas.outputs import Alert, ScoreMessage, ShadowMessage
from schemas.topics import ALERTS, SCORES, SHADOW
from stream.differences import Episode, open_alerts

_POLL_MS = 500
M = TypeVar("M", bound=ScoreMessage)


class Standing(NamedTuple):
    """What stands on the broker: policies' labels ("" where there is no score), messages by account, open alerts."""

    live_policy: str
    shadow_policy: str
    live: dict[str, ScoreMessage]
    shadow: dict[str, ShadowMessage]
    opened: set[Episode]


def read_standing(settings: Settings) -> Standing:
    """Read the topics to their present end. Raises `BrokerError`.

    Records of another candidate than most of `health.shadow` are left out: they were said before it.
    """
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        consumer = KafkaConsumer(**settings.kafka_python(), enable_auto_commit=False, auto_offset_reset="earliest")
    except (KafkaError, OSError, ValueError) as error:
        msg = f"no Kafka broker at {', '.join(settings.bootstrap_servers())}: {type(error).__name__} {error}"
        raise BrokerError(msg) from error
    try:
        live = _latest(consumer, SCORES, ScoreMessage)
        shadow = _latest(consumer, SHADOW, ShadowMessage)
        decode = msgspec.json.Decoder(Alert).decode
        opened = open_alerts(decode(value) for _, value in _records(consumer, ALERTS) if value is not None)
    except KafkaError as error:
        msg = f"reading {SCORES}, {SHADOW} and {ALERTS} failed: {type(error).__name__} {error}"
        raise BrokerError(msg) from error
    finally:
        consumer.close()
    candidate = _policy(shadow)
    shadow = {account: message for account, message in shadow.items() if message.policy == candidate}
    return Standing(_policy(live), candidate, live, shadow, opened)


def _policy(messages: Mapping[str, ScoreMessage]) -> str:
    """The policy of most messages."""
    counts = Counter(message.policy for message in messages.values())
    return max(counts, key=lambda label: (counts[label], label), default="")


def _latest(consumer: KafkaConsumer, topic: str, kind: type[M]) -> dict[str, M]:
    """The latest message of each account."""
    values = {key: value for key, value in _records(consumer, topic) if key is not None}
    decode = msgspec.json.Decoder(kind).decode
    return {key.decode(): decode(value) for key, value in values.items() if value is not None}


def _records(consumer: KafkaConsumer, topic: str) -> Iterator[tuple[bytes | None, bytes | None]]:
    """Keys and values of a topic from its beginning to its present end, in order within each partition."""
    partitions = consumer.partitions_for_topic(topic)
    if not partitions:
        msg = f"the broker has no topic {topic}; create it with `vitals topics --create`"
        raise BrokerError(msg)
    places = [TopicPartition(topic, number) for number in sorted(partitions)]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    ends = consumer.end_offsets(places)
    while any(consumer.position(place) < ends[place] for place in places):
        for records in consumer.poll(timeout_ms=_POLL_MS).values():
            yield from ((record.key, record.value) for record in records)
