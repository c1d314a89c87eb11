"""Deduplicate events by account and id: a bounded set of the latest, exact within its horizon, saved in small segments.

Owns two generations of hashes of one source. When the current generation is full it becomes the previous one and a new
one begins, so between `capacity` and twice as many of the latest events are known. Version 0.1.0 saved hashes of ids
without their account: these are known beside, until a generation is full (see `load_ids_alone`). Called by
`stream.engine.engine` and `stream.recovery.changelog`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import Rows
from stream.columns.hash_index import Hashes, HashIndex, mix

SEGMENT_IDS = 4096


class Segment(NamedTuple):
    """A part of a generation, one changelog record: the ids' hashes, or None when the generation is forgotten."""

    generation: int
    number: int
    value: bytes | None


def event_keys(account_hashes: Hashes, id_hashes: Hashes) -> Hashes:
    """One key of account and event id, uint64 (k,), never 0: what an event is known by within its source."""
    return mix(account_hashes.view(np.int64), id_hashes)


class IdsAlone:
    """Hashes of ids without accounts, as 0.1.0 saved them, and the accounts whose events they can be of."""

    def __init__(self, segments: list[Segment], with_events: NDArray[np.bool_]) -> None:
        """`with_events` (rows,) are the rows that had an event when these ids were restored."""
        self.segments = segments
        self._with_events = with_events
        self._ids = HashIndex()
        for segment in segments:
            self._ids.add(np.frombuffer((segment.value or b"")[8:], dtype=np.uint64))

    def __len__(self) -> int:
        """Number of ids."""
        return len(self._ids)

    def nbytes(self) -> int:
        """Bytes of memory used."""
        return self._ids.nbytes()

    def contain(self, ids: Hashes, rows: Rows) -> NDArray[np.bool_]:
        """Which ids (k,) of accounts in `rows` (k,) are known, bool (k,)."""
        restored = rows < len(self._with_events)
        known = np.zeros(len(ids), dtype=bool)
        known[restored] = self._with_events[rows[restored]]
        return known & self._ids.contains(ids)


class SeenIds:
    """The events of one source in one partition, by keys (see `event_keys`)."""

    def __init__(self, capacity: int) -> None:
        """No ids. `capacity` is how many of the latest ids are known at least."""
        self.capacity = capacity
        self.generation = 0
        self._current = HashIndex()
        self._previous = HashIndex()
        self._since: dict[int, int] = {}
        self._pending: list[Hashes] = []
        self._open: Hashes = np.zeros(0, dtype=np.uint64)
        self._next = 0
        self._segments: dict[int, int] = {}
        self._forgotten: list[Segment] = []
        self._closed: list[Segment] = []
        self.ids_alone: IdsAlone | None = None
        self._ids_alone_forgotten: list[Segment] = []

    @property
    def horizon_ms(self) -> int | None:
        """Record time (ms) since which every id is known; None before the first."""
        return min(self._since.values(), default=None)

    def nbytes(self) -> int:
        """Bytes of memory used."""
        alone = 0 if self.ids_alone is None else self.ids_alone.nbytes()
        return self._current.nbytes() + self._previous.nbytes() + alone

    def add_events(self, account_hashes: Hashes, ids: Hashes, rows: Rows, stamp_ms: int) -> NDArray[np.bool_]:
        """Add events by their accounts' hashes and rows and their ids' hashes, (n,) each; which are new, bool (n,)."""
        known = None if self.ids_alone is None else self.ids_alone.contain(ids, rows)
        fresh = self.add(event_keys(account_hashes, ids), stamp_ms)
        return fresh if known is None else fresh & ~known

    def add(self, ids: Hashes, stamp_ms: int) -> NDArray[np.bool_]:
        """Add keys (n,); which of them are new, bool (n,). `stamp_ms` is the record time (ms) of the first."""
        if not len(ids):
            return np.zeros(0, dtype=bool)
        known = self._previous.contains(ids)
        _, new = self._current.add(ids)
        fresh = new & ~known
        if added := np.count_nonzero(new):
            self._since.setdefault(self.generation, stamp_ms)
            self._pending.append(ids if added == len(ids) else ids[new])
            if len(self._current) >= self.capacity:
                self._rotate()
        return fresh

    def _rotate(self) -> None:
        self._closed.extend(self._take_pending())
        self._open, self._next = np.zeros(0, dtype=np.uint64), 0
        old = self.generation - 1
        self._forgotten.extend(Segment(old, number, None) for number in range(self._segments.pop(old, 0)))
        self._since.pop(old, None)
        if self.ids_alone is not None:
            self._ids_alone_forgotten = [Segment(*segment[:2], None) for segment in self.ids_alone.segments]
            self.ids_alone = None
        self._previous, self._current = self._current, HashIndex()
        self.generation += 1

    def _take_pending(self) -> list[Segment]:
        if not self._pending:
            return []
        ids = np.concatenate([self._open, *self._pending])
        self._pending.clear()
        since = np.array([self._since[self.generation]], dtype=np.int64).tobytes()
        segments = []
        for start in range(0, len(ids), SEGMENT_IDS):
            self._open = ids[start : start + SEGMENT_IDS]
            segments.append(Segment(self.generation, self._next, since + self._open.tobytes()))
            self._next += 1
        if len(self._open) < SEGMENT_IDS:
            # The last segment is not full: the next save writes it again, longer.
            self._next -= 1
        else:
            self._open = np.zeros(0, dtype=np.uint64)
        self._segments[self.generation] = segments[-1].number + 1
        return segments

    def save(self) -> list[Segment]:
        """What changed since the last call: segments to write, then those to forget."""
        segments = self._closed + self._take_pending() + self._forgotten
        self._closed, self._forgotten = [], []
        return segments

    def save_ids_alone(self) -> list[Segment]:
        """The segments without accounts that are forgotten since the last call."""
        forgotten, self._ids_alone_forgotten = self._ids_alone_forgotten, []
        return forgotten

    def load_ids_alone(self, segments: list[Segment], with_events: NDArray[np.bool_]) -> None:
        """Restore the segments of 0.1.0; they are known until a generation of keys is full.

        Their ids can only be of accounts that had an event then, `with_events` (rows,): of any other account an event
        with such an id is new.
        """
        self.ids_alone = IdsAlone(segments, with_events)

    def load(self, segments: list[Segment]) -> None:
        """Restore segments of a changelog; the two newest generations count, older ones are forgotten."""
        by_generation: dict[int, list[Segment]] = {}
        for segment in segments:
            by_generation.setdefault(segment.generation, []).append(segment)
        if not by_generation:
            return
        self.generation = max(by_generation)
        for generation, saved in sorted(by_generation.items()):
            saved.sort()
            self._segments[generation] = saved[-1].number + 1
            if generation < self.generation - 1:
                self._forgotten.extend(Segment(generation, segment.number, None) for segment in saved)
                continue
            values = [segment.value for segment in saved if segment.value]
            self._since[generation] = int(np.frombuffer(values[0][:8], dtype=np.int64)[0])
            index = self._current if generation == self.generation else self._previous
            index.add(np.frombuffer(b"".join(value[8:] for value in values), dtype=np.uint64))
            if generation == self.generation:
                last = np.frombuffer(values[-1][8:], dtype=np.uint64)
                full = len(last) >= SEGMENT_IDS
                self._open = np.zeros(0, dtype=np.uint64) if full else last.copy()
                self._next = saved[-1].number + (1 if full else 0)
