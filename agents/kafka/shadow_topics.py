"""What a broker has of the live policy and of a shadow: their latest scores and the alerts that are open.

Owns a one-off consumer without a group. Called by `vitals shadow`.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import msgspec
from kafka import KafkaConsumer
from kafka.errors import KafkaError

from agents.kafka.client import BrokerError, consumer_of, read_topic
from agents.settings.settings import Settings
from schemas.outputs import Alert, ScoreMessage, ShadowMessage
from schemas.topics import ALERTS, SCORES, SHADOW
from stream.explain.differences import Episode, by_main_policy, main_policy, open_alerts

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
    consumer = consumer_of(settings)
    try:
        live = _latest(consumer, SCORES, ScoreMessage)
        shadow = _latest(consumer, SHADOW, ShadowMessage)
        decode = msgspec.json.Decoder(Alert).decode
        told = (record.value for _, record in read_topic(consumer, ALERTS) if record.value is not None)
        opened = open_alerts(map(decode, told))
    except KafkaError as error:
        msg = f"reading {SCORES}, {SHADOW} and {ALERTS} failed: {type(error).__name__} {error}"
        raise BrokerError(msg) from error
    finally:
        consumer.close()
    shadow = by_main_policy(shadow)
    return Standing(main_policy(live.values()), main_policy(shadow.values()), live, shadow, opened)


def _latest(consumer: KafkaConsumer, topic: str, kind: type[M]) -> dict[str, M]:
    """The latest message of each account."""
    values = {record.key: record.value for _, record in read_topic(consumer, topic) if record.key is not None}
    decode = msgspec.json.Decoder(kind).decode
    return {key.decode(): decode(value) for key, value in values.items() if value is not None}
