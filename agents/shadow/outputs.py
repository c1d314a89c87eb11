"""Reads what the live policy and the shadow policy have published: their latest scores and the open alerts.

Owns a consumer without a group that reads the topics to their present end. Called by `vitals shadow`.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import msgspec
from kafka import KafkaConsumer
from kafka.errors import KafkaError

from agents.kafka.client import BrokerError, consumer_of, read_topic
from agents.kafka.rights_check import require_rights
from agents.settings.settings import Settings
from schemas.outputs import Alert, ScoreMessage, ShadowMessage
from schemas.topics import ALERTS, SCORES, SHADOW
from stream.explain.differences import Episode, by_main_policy, main_policy, open_alerts

M = TypeVar("M", bound=ScoreMessage)


class PolicyOutputs(NamedTuple):
    """The labels of both policies ("" without a score), their latest messages by account, and the open alerts."""

    live_policy: str
    shadow_policy: str
    live: dict[str, ScoreMessage]
    shadow: dict[str, ShadowMessage]
    opened: set[Episode]


def read_outputs(settings: Settings) -> PolicyOutputs:
    """Read the topics. Raises `BrokerError`.

    `health.shadow` may hold records of a former candidate: only those of the candidate with most records are used.
    """
    require_rights(settings, "shadow")
    consumer = consumer_of(settings)
    try:
        live = _latest(consumer, SCORES, ScoreMessage)
        shadow = _latest(consumer, SHADOW, ShadowMessage)
        decode = msgspec.json.Decoder(Alert).decode
        alerts = (record.value for _, record in read_topic(consumer, ALERTS) if record.value is not None)
        opened = open_alerts(map(decode, alerts))
    except KafkaError as error:
        msg = f"reading {SCORES}, {SHADOW} and {ALERTS} failed: {type(error).__name__} {error}"
        raise BrokerError(msg) from error
    finally:
        consumer.close()
    shadow = by_main_policy(shadow)
    return PolicyOutputs(main_policy(live.values()), main_policy(shadow.values()), live, shadow, opened)


def _latest(consumer: KafkaConsumer, topic: str, kind: type[M]) -> dict[str, M]:
    """The latest message of each account."""
    values = {record.key: record.value for _, record in read_topic(consumer, topic) if record.key is not None}
    decode = msgspec.json.Decoder(kind).decode
    return {key.decode(): decode(value) for key, value in values.items() if value is not None}
