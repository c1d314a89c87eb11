"""Dead letters as the board shows them: by topic and reason, and the newest open ones of a reason.

Owns the fields of the API and how a letter becomes text. Called by `agents.board.web.dead_letters`.
"""

from __future__ import annotations

from msgspec import Struct

from agents.dlq.groups import Group
from agents.dlq.letters import Letter, is_replayable

LONGEST_TEXT = 2_000


class DeadLetterGroup(Struct):
    """The dead letters of a topic with one reason. `first` and `last`: when letters were written, epoch ms."""

    topic: str
    reason: str
    open: int
    replayed: int
    discarded: int
    first: int | None
    last: int | None
    replayable: bool


class DeadLetterGroups(Struct):
    """Every reason of every dead-letter topic, those with open letters first."""

    items: list[DeadLetterGroup]


class DeadLetterView(Struct):
    """One open dead letter. `value` is the start of the record as text; `origin` is TOPIC/PARTITION/OFFSET."""

    position: str
    time: int
    account: str | None
    message: str
    origin: str | None
    value: str | None


class DeadLetters(Struct):
    """The newest open dead letters of a topic with one reason."""

    items: list[DeadLetterView]


class DeadLettersHandled(Struct):
    """How many letters were written to their topic again, were repeated ones of the same record, or discarded."""

    replayed: int
    repeated: int
    discarded: int


def group_view(group: Group) -> DeadLetterGroup:
    """A group for the page."""
    counts = (group.open, group.replayed, group.discarded)
    return DeadLetterGroup(group.topic, group.reason, *counts, group.first, group.last, is_replayable(group.topic))


def letter_view(letter: Letter) -> DeadLetterView:
    """A letter for the page; bytes that are not UTF-8 are replaced."""
    value = None if letter.value is None else letter.value[: 4 * LONGEST_TEXT].decode(errors="replace")[:LONGEST_TEXT]
    origin = None if letter.origin is None else str(letter.origin)
    return DeadLetterView(str(letter.position), letter.time_ms, letter.account(), letter.message, origin, value)
