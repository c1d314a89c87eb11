"""Which records of a partition have been dealt with, where they are not dealt with in order.

Owns the position that a consumer commits and the note it commits with it: Kafka keeps one offset a partition, and the
note says which records after it are done nevertheless, so that a restart does not deal with those twice. Called by
`agents.sinks`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

NOTE_CHARACTERS = 4_000
"""Kafka takes 4,096 bytes of metadata with an offset unless told otherwise."""


class Position(NamedTuple):
    """What is committed: the first record that is not done, and which after it are not done either."""

    offset: int
    note: str


class Progress:
    """The records of one partition: all before `next` are taken, and those of them in `waiting` are not done."""

    def __init__(self, next_offset: int, waiting: Iterable[int] = ()) -> None:
        """All before `next_offset` are done, except `waiting`."""
        self.next = next_offset
        self.waiting = set(waiting)

    @classmethod
    def restored(cls, committed: Position) -> Progress:
        """As `position` told it. A note that is none of ours says nothing: all from the offset on is to be done."""
        try:
            last, steps = committed.note.split(";")
            next_offset, at = int(last), committed.offset
            waiting = [at := at + int(step) for step in steps.split(",") if step]
        except ValueError:
            return cls(committed.offset)
        if next_offset < committed.offset or any(offset >= next_offset for offset in waiting):
            return cls(committed.offset)
        return cls(next_offset, waiting)

    def is_news(self, offset: int) -> bool:
        """Whether a record is still to be dealt with."""
        return offset >= self.next or offset in self.waiting

    def take(self, offset: int) -> None:
        """A record was read and is to be dealt with."""
        self.next = max(self.next, offset + 1)
        self.waiting.add(offset)

    def done(self, offset: int) -> None:
        """A record was dealt with."""
        self.waiting.discard(offset)

    def position(self) -> Position:
        """What to commit: where to go on, and the note `NEXT;STEP,STEP,...` of what before NEXT is not done.

        Too many for a note are cut off: what comes after them counts as not taken, and is then dealt with again.
        """
        waiting = sorted(self.waiting)
        at = first = waiting[0] if waiting else self.next
        steps: list[str] = []
        length = len(str(self.next)) + 1
        for offset in waiting:
            step = str(offset - at)
            length += len(step) + 1
            if length > NOTE_CHARACTERS:
                return Position(first, f"{offset};{','.join(steps)}")
            steps.append(step)
            at = offset
        return Position(first, f"{self.next};{','.join(steps)}")
