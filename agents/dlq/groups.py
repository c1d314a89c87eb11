"""Dead letters counted by topic and reason, and single letters.

Called by `agents.cli.dlq`, `agents.board.web.dead_letters` and `agents.status.report`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from kafka.errors import KafkaError

from agents.dlq.letters import Letter, Selection, read_letter, read_letters, topics_of
from agents.dlq.progress import Progress
from agents.kafka.client import BrokerError, consumer_of
from agents.kafka.letters import Position
from agents.process.errors import error_text
from agents.settings.settings import Settings
from schemas.sources import Sources
from schemas.topics import DLQ_PROGRESS


class Group(msgspec.Struct):
    """The letters of a topic with one reason. `first`, `last`: times, epoch ms; `example`: the latest open letter."""

    topic: str
    reason: str
    open: int = 0
    replayed: int = 0
    discarded: int = 0
    first: int | None = None
    last: int | None = None
    example: str | None = None

    def add(self, letter: Letter, state: str) -> None:
        """Count a letter."""
        setattr(self, state, getattr(self, state) + 1)
        self.first = letter.time_ms if self.first is None else min(self.first, letter.time_ms)
        self.last = letter.time_ms if self.last is None else max(self.last, letter.time_ms)
        if state == "open":
            self.example = str(letter.position)


def groups_of(settings: Settings, sources: Sources, selection: Selection) -> list[Group]:
    """The selected letters by topic and reason, sorted. Raises `BrokerError`."""
    groups: dict[tuple[str, str], Group] = {}
    with _reading(settings) as (consumer, progress):
        for letter in read_letters(consumer, topics_of(consumer, settings.group, sources, selection.topics)):
            if selection.has(letter):
                key = (letter.position.topic, letter.reason)
                groups.setdefault(key, Group(*key)).add(letter, progress.state_of(letter))
    return [groups[key] for key in sorted(groups)]


def newest_open(settings: Settings, sources: Sources, selection: Selection, limit: int) -> list[Letter]:
    """The newest selected letters that are open, the newest first. Raises `BrokerError`."""
    with _reading(settings) as (consumer, progress):
        open_letters = (
            letter
            for letter in read_letters(consumer, topics_of(consumer, settings.group, sources, selection.topics))
            if selection.has(letter) and progress.state_of(letter) == "open"
        )
        return heapq.nlargest(limit, open_letters, key=lambda letter: (letter.time_ms, letter.position))


def letter_at(settings: Settings, sources: Sources, position: Position) -> tuple[Letter, str] | None:
    """A letter and what was done with it. Raises `BrokerError`."""
    with _reading(settings) as (consumer, progress):
        topics_of(consumer, settings.group, sources, frozenset({position.topic}))
        letter = read_letter(consumer, position)
        return None if letter is None else (letter, progress.state_of(letter))


@contextmanager
def _reading(settings: Settings) -> Iterator[tuple[Any, Progress]]:
    """A consumer and the progress; errors of the broker become `BrokerError`."""
    consumer = consumer_of(settings)
    try:
        yield consumer, Progress.read(consumer, settings.topic(DLQ_PROGRESS.name))
    except (KafkaError, msgspec.DecodeError) as error:
        raise BrokerError(f"the dead letters could not be read: {error_text(error)}") from error
    finally:
        consumer.close()
