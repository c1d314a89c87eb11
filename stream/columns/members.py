"""Distinct members (users, features, roles) of each account, exact, in constant time for each event.

Owns, for every account and member, the newest pane the member was seen in, and for every account a ring that counts
members by that pane. The number of distinct members in a window is a sum over the ring. It does not depend on the order
of events, since a member's pane only grows. Members are 64-bit hashes of their names. They are saved in pages, so that
an account with a million users stays under the broker's limit for a record. Called by
`stream.ingest.aggregation`, `stream.engine.scorer`, `stream.measures` and `stream.recovery.changelog`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.columns.calendar import UTC_DAYS, Calendar
from stream.columns.columns import Rows
from stream.columns.growth import stretch
from stream.columns.hash_index import Hashes, HashIndex, mix
from stream.columns.pages import Page, Pages
from stream.columns.panes import Unit, slots_passed, window_slots
from stream.columns.sorted_set import sorted_set

PAGE_ENTRY = np.dtype([("hash", "<u8"), ("pane", "<i4")])
_NEVER = np.iinfo(np.int32).min
_COMPACT_FROM = 4096


class Members:
    """The distinct members of each row by one text field: a column for `distinct_users` and the like."""

    entry = PAGE_ENTRY

    def __init__(self, name: str, unit: Unit, panes: int, calendar: Calendar = UTC_DAYS) -> None:
        """`panes` is the longest window that reads this column."""
        self.name, self.calendar = name, calendar
        self.unit: Unit = unit
        self.panes = panes
        self.newest: int | None = None
        self.ring: NDArray[np.uint16 | np.uint32] = np.zeros((0, panes), dtype=np.uint16)
        """How many members of each row were seen last in each pane; as wide as the largest of these numbers needs."""
        self._pages = Pages()
        self._reset()
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
        arrays = (self.ring, self._owner, self._hash, self._pane, self._page)
        return self._index.nbytes() + self._pages.nbytes() + sum(int(array.nbytes) for array in arrays)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self.ring = stretch(self.ring, capacity, 0)
        self._pages.grow(capacity)

    def advance(self, as_of_ms: int) -> None:
        """Move the newest pane to that of `as_of_ms` (epoch ms), never back; members that leave the ring do not count.

        Their memory is freed when they are more than half of all.
        """
        pane = self.calendar.pane_of(as_of_ms, self.unit)
        if self.newest is not None:
            if pane <= self.newest and not self._cleared:
                return  # no member has left a ring
            if pane > self.newest:
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
        copy = Members(self.name, self.unit, self.panes, self.calendar)
        copy.newest, copy.ring = self.newest, self.ring[rows]
        return copy

    def aggregate(self, rows: Rows, times: NDArray[np.int64], hashes: Hashes) -> None:
        """Add events: row, time (epoch ms) and member hash of each, (k,); a hash of 0 is no member.

        Events older than the ring are ignored. Call `advance` before.
        """
        assert self.newest is not None, "advance comes before aggregate"
        panes = self.calendar.panes_of(times, self.unit)
        inside = (hashes != 0) & (panes > self.newest - self.panes)
        if np.count_nonzero(inside) < len(inside):
            rows, panes, hashes = rows[inside], panes[inside], hashes[inside]
        if len(rows):
            self._add(rows, hashes, panes.astype(np.int32), None)

    def _add(self, rows: Rows, hashes: Hashes, panes: NDArray[np.int32], pages: NDArray[np.uint16] | None) -> None:
        positions, new = self._index.add(mix(rows, hashes))
        if np.count_nonzero(new):
            self._append(rows[new], hashes[new], positions[new], None if pages is None else pages[new])
        seen = sorted_set(positions)
        before = self._pane[seen]
        np.maximum.at(self._pane, positions, panes)
        after = self._pane[seen]
        moved = after > before
        if not np.count_nonzero(moved):
            return  # all of them were seen in these panes before
        seen, before, after = seen[moved], before[moved], after[moved]
        owners = self._owner[seen].astype(np.int64)
        slots = owners * self.panes + after % self.panes
        self._widen(slots)
        ring, member = self.ring.reshape(-1), np.ones((), dtype=self.ring.dtype)
        np.add.at(ring, slots, member)
        assert self.newest is not None
        counted = before > self.newest - self.panes
        if np.count_nonzero(counted):
            np.subtract.at(ring, owners[counted] * self.panes + before[counted] % self.panes, member)
        if pages is None:
            self._pages.touch(owners, self._page[seen])

    def _widen(self, slots: NDArray[np.int64]) -> None:
        """Widen the type of the ring where a number would be too large with one more in each of these slots (k,)."""
        most = np.iinfo(self.ring.dtype).max - int(self.ring.reshape(-1)[slots].max(initial=0))
        if len(slots) > most and np.unique(slots, return_counts=True)[1].max() > most:
            self.ring = self.ring.astype(np.uint32)

    def _append(
        self, rows: Rows, hashes: Hashes, positions: NDArray[np.int64], pages: NDArray[np.uint16] | None
    ) -> None:
        count = len(self._index)
        if count > len(self._owner):
            room = max(count, len(self._owner) * 3 // 2)
            self._owner = stretch(self._owner, room, 0)
            self._hash = stretch(self._hash, room, 0)
            self._pane = stretch(self._pane, room, _NEVER)
            self._page = stretch(self._page, room, 0)
        self._owner[positions] = rows
        self._hash[positions] = hashes
        self._pane[positions] = _NEVER
        self._page[positions] = self._pages.assign(rows) if pages is None else pages

    def clear(self, row: int) -> None:
        """Forget all members of a row; `save` deletes its pages, and `save` or `advance` the hashes in memory."""
        self._pages.touch_all(row)
        self._pane[self._owner == row] = _NEVER
        self.ring[row] = 0
        self._cleared = self.newest is not None

    def save(self) -> list[Page]:
        """Pages that changed since the last call, those of a row in ascending order; deleted pages come last."""
        if self._cleared:
            self._compact()
            self._cleared = False
        count = len(self._index)
        return self._pages.save(self._owner[:count], self._page[:count], self._entries)

    def _entries(self, selected: NDArray[np.int64]) -> NDArray[np.void]:
        entries = np.empty(len(selected), dtype=PAGE_ENTRY)
        entries["hash"] = self._hash[selected]
        entries["pane"] = self._pane[selected]
        return entries

    def load(self, rows: Rows, numbers: NDArray[np.int64], values: list[bytes]) -> None:
        """Fill rows from changelog pages: row (k,) and page number (k,) of each, and its bytes."""
        if self.newest is None or not values:
            return  # without stream time no row was written yet: the events of these pages are read again
        entries, owners, pages, index = self._pages.load(rows, numbers, values, PAGE_ENTRY)
        # A crash between pages and rows leaves panes that stream time has not reached: their events are read again.
        panes = np.minimum(entries["pane"], self.newest).astype(np.int32)
        alive = panes > self.newest - self.panes
        # In the order of pages, so that compaction moves members to lower pages only: those are written first.
        selected = np.flatnonzero(alive)[np.lexsort((pages[alive], owners[alive]))]
        self._add(owners[selected], entries["hash"][selected], panes[selected], pages[selected].astype(np.uint16))
        filled = np.zeros(len(values), dtype=bool)
        filled[index[alive]] = True
        self._pages.touch(rows[~filled], numbers[~filled])

    def entries_of(self, row: int) -> bytes:
        """The members of a row that a window reaches, as `unite` takes them."""
        if self.newest is None:
            return b""
        count = len(self._index)
        mine = (self._owner[:count] == row) & (self._pane[:count] > self.newest - self.panes)
        return self._entries(np.flatnonzero(mine)).tobytes()

    def unite(self, row: int, entries: bytes) -> None:
        """Add what `entries_of` returned for another row, once or several times."""
        assert self.newest is not None, "advance comes before unite"
        theirs = np.frombuffer(entries, dtype=PAGE_ENTRY)
        panes = np.minimum(theirs["pane"], self.newest).astype(np.int32)
        inside = panes > self.newest - self.panes
        if inside.any():
            rows = np.full(int(inside.sum()), row, dtype=np.int64)
            self._add(rows, theirs["hash"][inside], panes[inside], None)

    def _compact(self) -> None:
        """Remove members that no window reaches, and number the pages of their rows anew."""
        assert self.newest is not None
        count = len(self._index)
        alive = self._pane[:count] > self.newest - self.panes
        lost = np.unique(self._owner[:count][~alive]).astype(np.int64)
        owner = self._owner[:count][alive]
        hashes, pane, page = self._hash[:count][alive], self._pane[:count][alive], self._page[:count][alive]
        self._pages.compact(lost, owner, page)
        self._index = HashIndex.of(mix(owner.astype(np.int64), hashes))
        self._owner, self._hash, self._pane, self._page = owner, hashes, pane, page
