"""`vitals rollup`: publishes the scores of parent accounts, computed from their children, to `health.rollups`.

Owns which records are published when; the scores are computed by `stream.consumers.rollup`. One process is enough;
several publish the same records. Called by `agents.cli.derived`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kafka import KafkaConsumer

from agents.derived.loop import Output, run_derivation
from agents.kafka.client import read_topic
from agents.settings.settings import Settings
from schemas.codecs import encode
from schemas.outputs import ScoreMessage
from schemas.records import read_key, read_message
from schemas.topics import ROLLUPS
from stream.consumers.rollup import Rollup


class RollupDerivation:
    """The children of every parent, and the parents whose record is not published yet."""

    topic = ROLLUPS
    producer_options: dict[str, Any] = {"linger_ms": 5}  # noqa: RUF012 -- never written to

    def __init__(self) -> None:
        """No account is known."""
        self._rollup = Rollup()
        self._changed: set[str] = set()

    def restore(self, consumer: KafkaConsumer, topic: str, stopping: Callable[[], bool]) -> Iterable[Output]:
        """Read which parents the topic has; `loaded` deletes those without children."""
        for _, record in read_topic(consumer, topic, stopping):
            if record.key is not None and record.value is None:
                self._changed.discard(read_key(record.key))
            elif record.key is not None:
                self._changed.add(read_key(record.key))
        return ()

    def load(self, partition: int, account: str, value: bytes | None) -> None:
        """Apply a record; `loaded` publishes every parent."""
        del partition
        self._rollup.apply(account, None if value is None else read_message(ScoreMessage, value))

    def loaded(self) -> Iterator[Output]:
        """The records of all parents, and a tombstone for each one in the topic that has no children."""
        self._changed.update(self._rollup.parents())
        return self.changed()

    def apply(self, partition: int, account: str, value: bytes | None) -> None:
        """Apply a new record."""
        del partition
        self._changed |= self._rollup.apply(account, None if value is None else read_message(ScoreMessage, value))

    def changed(self) -> Iterator[Output]:
        """The record of each changed parent, a tombstone if it has no children."""
        for parent in sorted(self._changed):
            message = self._rollup.message_of(parent)
            yield Output(parent.encode(), None if message is None else encode(message))
        self._changed.clear()


def run_rollup(settings: Settings, *, once: bool) -> int:
    """Run until SIGTERM or SIGINT, or once; returns how many records were published.

    Raises `BrokerError`, `SettingsError`.
    """
    return run_derivation(settings, RollupDerivation(), "rollup", once=once)
