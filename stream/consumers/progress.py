"""Progress in a partition whose records are completed out of order, in the form that Kafka commits.

Kafka keeps one offset a partition and a string of metadata with it. The offset is the first record that is not
completed; the metadata says which records after it are, so that a restart does not process those twice. Called by
`agents.sinks.alert_consumer`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

METADATA_CHARACTERS = 4_000
"""Kafka's limit of metadata with an offset is 4,096 bytes by default (`offset.metadata.max.bytes`)."""


class Position(NamedTuple):
    """What is committed: the first offset that is not completed, and metadata on those after it."""

    offset: int
    metadata: str


class Progress:
    """The records of one partition: those before `next` have been read, those in `waiting` are not completed."""

    def __init__(self, next_offset: int, waiting: Iterable[int] = ()) -> None:
        """All records before `next_offset` are completed, except `waiting`."""
        self.next = next_offset
        self.waiting = set(waiting)

    @classmethod
    def restored(cls, committed: Position) -> Progress:
        """The progress that `position` described; with metadata of another program, all from the offset is to do."""
        try:
            last, steps = committed.metadata.split(";")
            next_offset, offset = int(last), committed.offset
            waiting = [offset := offset + int(step) for step in steps.split(",") if step]
        except ValueError:
            return cls(committed.offset)
        if next_offset < committed.offset or any(offset >= next_offset for offset in waiting):
            return cls(committed.offset)
        return cls(next_offset, waiting)

    def is_pending(self, offset: int) -> bool:
        """Whether a record has not been completed, read or not."""
        return offset >= self.next or offset in self.waiting

    def begin(self, offset: int) -> None:
        """Record that a record was read and is not completed."""
        self.next = max(self.next, offset + 1)
        self.waiting.add(offset)

    def done(self, offset: int) -> None:
        """Record that a record is completed."""
        self.waiting.discard(offset)

    def position(self) -> Position:
        """What to commit; the metadata is `NEXT;STEP,STEP,...` of the offsets before NEXT that are not completed.

        Offsets that do not fit into the metadata count as not read: after a restart they are processed again.
        """
        waiting = sorted(self.waiting)
        offset_before = first = waiting[0] if waiting else self.next
        steps: list[str] = []
        length = len(str(self.next)) + 1
        for offset in waiting:
            step = str(offset - offset_before)
            length += len(step) + 1
            if length > METADATA_CHARACTERS:
                return Position(first, f"{offset};{','.join(steps)}")
            steps.append(step)
            offset_before = offset
        return Position(first, f"{self.next};{','.join(steps)}")
