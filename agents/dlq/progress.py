"""What was done with dead letters: the compacted topic `vitals-dlq-progress`, one record for each letter handled.

Owns the form of its records. A record names the letter by its
position and time: a letter at the same position of a topic that was deleted and created again is another letter.
Consumer offsets could not do this: letters are handled by selection, and Kafka forgets the offsets of a group without
members after a week. Called by `agents.dlq.groups` and `agents.dlq.replay`.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from kafka import KafkaConsumer

from agents.dlq.letters import Letter
from agents.kafka.client import read_topic
from schemas.topics import DLQ_PROGRESS

Action = Literal["replayed", "discarded"]


class Handled(msgspec.Struct):
    """What was done with a letter whose record has the time `letter_ms`, and when; epoch ms."""

    action: Action
    letter_ms: int
    time: int


class Progress:
    """The letters that are handled."""

    def __init__(self) -> None:
        """None is."""
        self._handled: dict[str, Handled] = {}

    @classmethod
    def read(cls, consumer: KafkaConsumer, topic: str = DLQ_PROGRESS.name) -> Progress:
        """Read the topic; without it, no letter is handled. Raises `KafkaError`, `msgspec.DecodeError`."""
        progress = cls()
        if topic in consumer.topics():
            decode = msgspec.json.Decoder(Handled).decode
            for _, record in read_topic(consumer, topic):
                letter = (record.key or b"").decode()
                if record.value is None:
                    progress._handled.pop(letter, None)
                else:
                    progress._handled[letter] = decode(record.value)
        return progress

    def state_of(self, letter: Letter) -> Literal["open", "replayed", "discarded"]:
        """What was done with a letter."""
        handled = self._handled.get(str(letter.position))
        return "open" if handled is None or handled.letter_ms != letter.time_ms else handled.action


def mark(letter: Letter, action: Action, now_ms: int) -> tuple[bytes, bytes]:
    """Key and value of the record that a letter is handled."""
    return str(letter.position).encode(), msgspec.json.encode(Handled(action, letter.time_ms, now_ms))
