"""What is worth writing of a backlog: of each account the highest version, so that no reader sees an old one first.

Owns that choice only. An account's place in the backlog is an offset, so memory grows with accounts, not with records.
Must not know Redis or Kafka. Called by `agents.sinks.redis.process`.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct


class _Version(Struct):
    revision: int


_decode = msgspec.json.Decoder(_Version).decode


class Survey:
    """Reads the records of a backlog by partition in order of their offsets, then tells which to write."""

    def __init__(self) -> None:
        """Begin with nothing read."""
        self._newest: dict[bytes, tuple[int, int, int]] = {}
        self._wanted: set[tuple[int, int]] = set()

    def read(self, partition: int, offset: int, key: bytes | None, value: bytes | None) -> None:
        """Take one record. A deletion is kept, and what comes behind it counts from the beginning."""
        if key is None:
            self._wanted.add((partition, offset))
        elif value is None:
            self._wanted.add((partition, offset))
            self._newest.pop(key, None)
        else:
            try:
                revision = _decode(value).revision
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                self._wanted.add((partition, offset))
                return
            newest = self._newest.get(key)
            if newest is None or revision >= newest[0]:
                self._newest[key] = (revision, partition, offset)

    def wanted(self) -> set[tuple[int, int]]:
        """(partition, offset) of each record to write: deletions, highest versions, and what can not be read."""
        return self._wanted | {(partition, offset) for _, partition, offset in self._newest.values()}
