"""Distinct members (users, features, roles) of each account, exact, in constant time for each event.

Owns, for every account and member, the newest pane the member was seen in, and for every account a ring that counts
members by that pane. The number of distinct members in a window is a sum over the ring. It does not depend on the order
of events, since a member's pane only grows. Members are 64-bit hashes of their names. They are saved in pages of 512,
so that an account with a million users stays under the broker's limit for a record. Called by
`stream.ingest.aggregation`, `stream.engine.scorer`, `stream.measures` and `stream.recovery.changelog`.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import Rows
from stream.columns.hash_index import Hashes, HashIndex, mix
from stream.columns.panes import UNIT_MS, Unit, slots_passed, window_slots

PAGE_MEMBERS = 512
PAGE_ENTRY = np.dtype([("hash", "<u8"), ("pane", "<i4")])
T = TypeVar("T", bound=np.generic)
_NEVER = np.iinfo(np.int32).min
_COMPACT_FROM = 4096


class Page(NamedTuple):
    """A page of a row's members as a changelog record; `value` None deletes it."""

    row: int
    number: int
    value: bytes | None


class Members:
    """The distinct members of each row by one text field: a column for `distinct_users` and the like."""

    def __init__(self, name: str, unit: Unit, panes: int) -> None:
        """`panes` is the longest window that reads this column."""
        self.name = name
        self.unit: Unit = unit
        self.panes = panes
        self.newest: int | None = None
        self.ring = np.zeros((0, panes), dtype=np.uint32)
        self._slots_used = np.zeros(0, dtype=np.int64)
        self._reset()
        self._dirty: list[NDArray[np.int64]] = []
        self._cleared = False
        """Whether a row was cleared since the last save: its members are still in the arrays, in no pane."""

    def _reset(self) -> None:
        self._index = HashIndex()
        self._owner = np.zeros(0, dtype=np.int32)
        self._hash: Hashes = np.zeros(0, dtype=np.uint64)
        self._pane = np.zeros(0, dtype=np.int32)
        self._page = np.zeros(0, dtype=np.uint16)

    def __len__(self) -> int:
        """Number of members of all rows, with those that no window reaches any more."""
        return len(self._index)

    def nbytes(self) -> int:
        """Bytes of memory of the arrays."""
        arrays = (self.ring, self._slots_used, self._owner, self._hash, self._pane, self._page)
        return self._index.nbytes() + sum(int(array.nbytes) for array in arrays)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        ring = np.zeros((capacity, self.panes), dtype=np.uint32)
        ring[: len(self.ring)] = self.ring
        slots_used = np.zeros(capacity, dtype=np.int64)
        slots_used[: len(self._slots_used)] = self._slots_used
        self.ring, self._slots_used = ring, slots_used

    def advance(self, as_of_ms: int) -> None:
        """Move the newest pane to that of `as_of_ms` (epoch ms), never back; members that leave the ring do not count.

        Their memory is freed when they are more than half of all.
        """
        pane = as_of_ms // UNIT_MS[self.unit]
        if self.newest is not None and pane > self.newest:
            self.ring[:, slots_passed(self.newest, pane, self.panes)] = 0
        self.newest = pane if self.newest is None else max(pane, self.newest)
        count = len(self)
        if count >= _COMPACT_FROM and count - int(self.ring.sum()) > count // 2:
            self._compact()

    def read(self, rows: Rows, window: int) -> NDArray[np.float64]:
        """Number of distinct members of each row in the last `window` panes, float64 (k,)."""
        assert self.newest is not None
        counts = self.ring[rows]
        if window < self.panes:
            counts = counts[:, window_slots(self.newest, self.panes, window)]
        return np.asarray(counts.sum(axis=1), dtype=np.float64)

    def excerpt(self, rows: Rows) -> Members:
        """A copy of the counts of `rows`, renumbered from 0, to advance and read; it can not aggregate."""
        copy = Members(self.name, self.unit, self.panes)
        copy.newest, copy.ring = self.newest, self.ring[rows]
        return copy

    def aggregate(self, rows: Rows, times: NDArray[np.int64], hashes: Hashes) -> None:
        """Add events: row, time (epoch ms) and member hash of each, (k,); a hash of 0 is no member.

        Events older than the ring are ignored. Call `advance` before.
        """
        assert self.newest is not None, "advance comes before aggregate"
        panes = times // UNIT_MS[self.unit]
        inside = (hashes != 0) & (panes > self.newest - self.panes)
        if not inside.all():
            rows, panes, hashes = rows[inside], panes[inside], hashes[inside]
        if len(rows):
            self._add(rows, hashes, panes.astype(np.int32), None)

    def _add(self, rows: Rows, hashes: Hashes, panes: NDArray[np.int32], pages: NDArray[np.uint16] | None) -> None:
        positions, new = self._index.add(mix(rows, hashes))
        if new.any():
            self._append(rows[new], hashes[new], positions[new], None if pages is None else pages[new])
        seen = np.unique(positions)
        before = self._pane[seen]
        np.maximum.at(self._pane, positions, panes)
        after = self._pane[seen]
        moved = after > before
        seen, before, after = seen[moved], before[moved], after[moved]
        owners = self._owner[seen].astype(np.int64)
        ring = self.ring.reshape(-1)
        np.add.at(ring, owners * self.panes + after % self.panes, 1)
        assert self.newest is not None
        counted = before > self.newest - self.panes
        np.subtract.at(ring, owners[counted] * self.panes + before[counted] % self.panes, 1)
        if pages is None:
            self._dirty.append(np.unique(owners << 16 | self._page[seen]))

    def _append(
        self, rows: Rows, hashes: Hashes, positions: NDArray[np.int64], pages: NDArray[np.uint16] | None
    ) -> None:
        count = len(self._index)
        if count > len(self._owner):
            room = max(count, len(self._owner) * 3 // 2)
            self._owner = _stretch(self._owner, room, 0)
            self._hash = _stretch(self._hash, room, 0)
            self._pane = _stretch(self._pane, room, _NEVER)
            self._page = _stretch(self._page, room, 0)
        self._owner[positions] = rows
        self._hash[positions] = hashes
        self._pane[positions] = _NEVER
        if pages is None:
            slots = self._slots_used[rows] + _rank(rows)
            np.maximum.at(self._slots_used, rows, slots + 1)
            pages = (slots // PAGE_MEMBERS).astype(np.uint16)
        self._page[positions] = pages

    def clear(self, row: int) -> None:
        """Forget all members of a row; `save` deletes its pages, and `save` or `advance` the hashes in memory."""
        pages = -(-self._slots_used[row] // PAGE_MEMBERS)
        self._dirty.append(_page_keys(np.array([row]), np.zeros(1, dtype=np.int64), np.array([pages])))
        self._pane[self._owner == row] = _NEVER
        self.ring[row] = 0
        self._cleared = self.newest is not None

    def save(self) -> list[Page]:
        """Pages that changed since the last call, those of a row in ascending order; deleted pages come last."""
        if self._cleared:
            self._compact()
            self._cleared = False
        written: list[Page] = []
        deleted: list[Page] = []
        if self._dirty:
            dirty = np.unique(np.concatenate(self._dirty))
            changed = np.zeros(len(self.ring), dtype=bool)
            changed[dirty >> 16] = True
            selected = np.flatnonzero(changed[self._owner[: len(self._index)]])
            keys = self._owner[selected].astype(np.int64) << 16 | self._page[selected]
            order = np.argsort(keys, kind="stable")
            selected, keys = selected[order], keys[order]
            entries = np.empty(len(selected), dtype=PAGE_ENTRY)
            entries["hash"] = self._hash[selected]
            entries["pane"] = self._pane[selected]
            blob, width = entries.tobytes(), PAGE_ENTRY.itemsize
            starts = np.searchsorted(keys, dirty, side="left").tolist()
            ends = np.searchsorted(keys, dirty, side="right").tolist()
            for key, start, end in zip(dirty.tolist(), starts, ends, strict=True):
                page = Page(key >> 16, key & 0xFFFF, blob[start * width : end * width] or None)
                (written if page.value else deleted).append(page)
        self._dirty.clear()
        return written + deleted

    def load(self, rows: Rows, numbers: NDArray[np.int64], values: list[bytes]) -> None:
        """Fill rows from changelog pages: row (k,) and page number (k,) of each, and its bytes."""
        if self.newest is None or not values:
            return  # without stream time no row was written yet: the events of these pages are read again
        entries = np.frombuffer(b"".join(values), dtype=PAGE_ENTRY)
        sizes = np.array([len(value) // PAGE_ENTRY.itemsize for value in values], dtype=np.int64)
        owners, pages = np.repeat(rows, sizes), np.repeat(numbers, sizes)
        np.maximum.at(self._slots_used, rows, numbers * PAGE_MEMBERS + sizes)
        # A crash between pages and rows leaves panes that stream time has not reached: their events are read again.
        panes = np.minimum(entries["pane"], self.newest).astype(np.int32)
        alive = panes > self.newest - self.panes
        # In the order of pages, so that compaction moves members to lower pages only: those are written first.
        selected = np.flatnonzero(alive)[np.lexsort((pages[alive], owners[alive]))]
        self._add(owners[selected], entries["hash"][selected], panes[selected], pages[selected].astype(np.uint16))
        filled = np.zeros(len(values), dtype=bool)
        filled[np.repeat(np.arange(len(values)), sizes)[alive]] = True
        self._dirty.append(rows[~filled] << 16 | numbers[~filled])

    def _compact(self) -> None:
        """Remove members that no window reaches, and number the pages of their rows anew."""
        assert self.newest is not None
        count = len(self._index)
        alive = self._pane[:count] > self.newest - self.panes
        lost = np.unique(self._owner[:count][~alive]).astype(np.int64)
        owner = self._owner[:count][alive]
        hashes, pane, page = self._hash[:count][alive], self._pane[:count][alive], self._page[:count][alive]
        changed = np.zeros(len(self.ring), dtype=bool)
        changed[lost] = True
        moving = changed[owner]
        slots = _rank(owner[moving].astype(np.int64))
        page[moving] = (slots // PAGE_MEMBERS).astype(np.uint16)
        pages_before = -(-self._slots_used[lost] // PAGE_MEMBERS)
        self._slots_used[lost] = 0
        np.maximum.at(self._slots_used, owner[moving].astype(np.int64), slots + 1)
        pages_after = -(-self._slots_used[lost] // PAGE_MEMBERS)
        # Empty pages are dirty, too: the next save deletes them, unless they have new members by then.
        self._dirty.append(_page_keys(lost, np.zeros_like(pages_before), np.maximum(pages_before, pages_after)))
        self._index = HashIndex.of(mix(owner.astype(np.int64), hashes))
        self._owner, self._hash, self._pane, self._page = owner, hashes, pane, page


def _stretch(array: NDArray[T], size: int, fill: int) -> NDArray[T]:
    grown = np.full(size, fill, dtype=array.dtype)
    grown[: len(array)] = array
    return grown


def _rank(rows: Rows) -> NDArray[np.int64]:
    """How many equal rows are before each, int64 (k,)."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.append(True, ordered[1:] != ordered[:-1]) if len(rows) else np.zeros(0, dtype=bool)
    first = np.maximum.accumulate(np.where(starts, np.arange(len(rows)), 0))
    rank = np.empty(len(rows), dtype=np.int64)
    rank[order] = np.arange(len(rows)) - first
    return rank


def _page_keys(rows: Rows, first: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keys (row << 16 | page number) of the pages `first` to `end - 1` of each row."""
    sizes = np.maximum(end - first, 0)
    numbers = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(first, sizes)
    keys: NDArray[np.int64] = np.repeat(rows, sizes) << 16 | numbers
    return keys
