"""Selects the records of a backlog worth writing: of each account the highest revision, and deletions.

Owns that selection only; with it no reader of Redis sees an older score after a newer one. It keeps one offset for each
account, so memory grows with accounts, not with records. Must not know Redis or Kafka. Called by
`agents.sinks.redis.process`.
"""

from __future__ import annotations

from msgspec import Struct

from schemas.records import UnreadableError, read_message


class _Version(Struct):
    revision: int


class Backlog:
    """Reads the records of a backlog, each partition in order of offset, and selects which to write."""

    def __init__(self) -> None:
        """Start with no record read."""
        self._newest: dict[bytes, tuple[int, int, int]] = {}
        self._selected: set[tuple[int, int]] = set()

    def read(self, partition: int, offset: int, key: bytes | None, value: bytes | None) -> None:
        """Read one record. A deletion is selected, and revisions of its partition start anew after it."""
        if key is None:
            self._selected.add((partition, offset))
        elif value is None:
            self._selected.add((partition, offset))
            newest = self._newest.get(key)
            if newest is not None and newest[1] == partition:
                del self._newest[key]
        else:
            try:
                revision = read_message(_Version, value).revision
            except UnreadableError:
                self._selected.add((partition, offset))
                return
            newest = self._newest.get(key)
            if newest is None or revision >= newest[0]:
                self._newest[key] = (revision, partition, offset)

    def selected(self) -> set[tuple[int, int]]:
        """(partition, offset) of each record to write: deletions, highest revisions, and unreadable records."""
        return self._selected | {(partition, offset) for _, partition, offset in self._newest.values()}
