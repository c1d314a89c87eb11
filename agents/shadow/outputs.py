"""Reads what the live policy and the shadow policy have published: their latest scores and the open alerts.

Owns a consumer without a group that reads the topics to their present end. Called by `vitals shadow`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from kafka import KafkaConsumer
from kafka.errors import KafkaError

from agents.kafka.client import BrokerError, consumer_of, read_topic
from agents.kafka.rights_check import require_rights
from agents.process.errors import error_text
from agents.settings.settings import Settings
from schemas.outputs import Alert, ScoreMessage, ShadowMessage
from schemas.records import UnreadableError, read_key, read_message
from schemas.topics import ALERTS, SCORES, SHADOW
from stream.explain.differences import Episode, by_main_policy, main_policy, open_alerts

M = TypeVar("M", bound=ScoreMessage)


class PolicyOutputs(NamedTuple):
    """The labels of both policies ("" without a score), their latest messages by account, and the open alerts.

    `unreadable` counts the records that were skipped, by topic.
    """

    live_policy: str
    shadow_policy: str
    live: dict[str, ScoreMessage]
    shadow: dict[str, ShadowMessage]
    opened: set[Episode]
    unreadable: Counter[str]


def read_outputs(settings: Settings) -> PolicyOutputs:
    """Read the topics. Raises `BrokerError`.

    `health.shadow` may hold records of a former candidate: only those of the candidate with most records are used.
    """
    require_rights(settings, "shadow")
    consumer = consumer_of(settings)
    unreadable: Counter[str] = Counter()
    topics = [settings.topic(name) for name in (SCORES, SHADOW, ALERTS)]
    try:
        live = _latest(consumer, topics[0], ScoreMessage, unreadable)
        shadow = _latest(consumer, topics[1], ShadowMessage, unreadable)
        opened = open_alerts(_alerts(consumer, topics[2], unreadable))
    except KafkaError as error:
        msg = f"reading {', '.join(topics)} failed: {error_text(error)}"
        raise BrokerError(msg) from error
    finally:
        consumer.close()
    shadow = by_main_policy(shadow)
    return PolicyOutputs(main_policy(live.values()), main_policy(shadow.values()), live, shadow, opened, unreadable)


def _latest(consumer: KafkaConsumer, topic: str, kind: type[M], unreadable: Counter[str]) -> dict[str, M]:
    """The latest message of each account. Unreadable records are skipped and counted."""
    values = {record.key: record.value for _, record in read_topic(consumer, topic)}
    messages: dict[str, M] = {}
    for key, value in values.items():
        try:
            account = read_key(key)
            if value is not None:
                messages[account] = read_message(kind, value)
        except UnreadableError:
            unreadable[topic] += 1
    return messages


def _alerts(consumer: KafkaConsumer, topic: str, unreadable: Counter[str]) -> Iterator[Alert]:
    for _, record in read_topic(consumer, topic):
        if record.value is not None:
            try:
                yield read_message(Alert, record.value)
            except UnreadableError:
                unreadable[topic] += 1
