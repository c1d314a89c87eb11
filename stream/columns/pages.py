"""Pages: records of a row in the changelog that has more entries than one record can hold.

Owns which page an entry of a row is in, and which pages a save writes. An entry stays in its page until entries of its
row are removed; then the others move to lower pages only, and lower pages are written first. So no entry is missing
between two records. Called by `stream.columns.members` and `stream.columns.things`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import Rows
from stream.columns.growth import stretch
from stream.columns.sorted_set import begins_of, sorted_set

PAGE_ENTRIES = 512


class Page(NamedTuple):
    """A page of a row as a changelog record; `value` None deletes it."""

    row: int
    number: int
    value: bytes | None


class LoadedEntries(NamedTuple):
    """Entries (n,) of k loaded pages: the row, the page number, and the page (0 to k - 1) of each."""

    entries: NDArray[np.void]
    rows: Rows
    numbers: NDArray[np.int64]
    pages: NDArray[np.int64]


class Pages:
    """Which pages of which rows are in use, and which have changed since they were saved."""

    def __init__(self) -> None:
        """No row has a page."""
        self._slots_used = np.zeros(0, dtype=np.int64)
        self._dirty: list[NDArray[np.int64]] = []

    def nbytes(self) -> int:
        """Bytes of memory of the arrays."""
        return int(self._slots_used.nbytes)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self._slots_used = stretch(self._slots_used, capacity, 0)

    def assign(self, rows: Rows) -> NDArray[np.uint16]:
        """The page of each new entry of rows (k,), uint16 (k,)."""
        slots = self._slots_used[rows] + rank(rows)
        np.maximum.at(self._slots_used, rows, slots + 1)
        return (slots // PAGE_ENTRIES).astype(np.uint16)

    def load(
        self, rows: Rows, numbers: NDArray[np.int64], values: Sequence[bytes], kind: np.dtype[np.void]
    ) -> LoadedEntries:
        """The entries, of type `kind`, of changelog pages: row (k,) and page number (k,) of each, and its bytes."""
        sizes = np.array([len(value) // kind.itemsize for value in values], dtype=np.int64)
        np.maximum.at(self._slots_used, rows, numbers * PAGE_ENTRIES + sizes)
        index = np.repeat(np.arange(len(values)), sizes)
        return LoadedEntries(np.frombuffer(b"".join(values), dtype=kind), rows[index], numbers[index], index)

    def touch(self, rows: Rows, numbers: NDArray[Any]) -> None:
        """Pages (k,) of rows (k,) have changed."""
        self._dirty.append(sorted_set(rows << 16 | numbers))

    def touch_all(self, row: int) -> None:
        """All pages of a row have changed."""
        pages = -(-self._slots_used[row] // PAGE_ENTRIES)
        self._dirty.append(_page_keys(np.array([row]), np.zeros(1, dtype=np.int64), np.array([pages])))

    def compact(self, lost: Rows, owner: NDArray[np.int32], page: NDArray[np.uint16]) -> None:
        """Number the pages of the rows `lost`, of which entries were removed, anew.

        `owner` (n,) and `page` (n,) are row and page of all entries that are left; `page` is changed.
        """
        changed = np.zeros(len(self._slots_used), dtype=bool)
        changed[lost] = True
        moving = changed[owner]
        slots = rank(owner[moving].astype(np.int64))
        page[moving] = (slots // PAGE_ENTRIES).astype(np.uint16)
        pages_before = -(-self._slots_used[lost] // PAGE_ENTRIES)
        self._slots_used[lost] = 0
        np.maximum.at(self._slots_used, owner[moving].astype(np.int64), slots + 1)
        pages_after = -(-self._slots_used[lost] // PAGE_ENTRIES)
        # Empty pages are dirty, too: the next save deletes them, unless they have new entries by then.
        self._dirty.append(_page_keys(lost, np.zeros_like(pages_before), np.maximum(pages_before, pages_after)))

    def save(
        self,
        owner: NDArray[np.int32],
        page: NDArray[np.uint16],
        entries_of: Callable[[NDArray[np.int64]], NDArray[np.void]],
    ) -> list[Page]:
        """Pages that changed since the last call, those of a row in ascending order; deleted pages come last.

        `owner` (n,) and `page` (n,) are row and page of all entries; `entries_of` gives the records of some (k,).
        """
        written: list[Page] = []
        deleted: list[Page] = []
        if self._dirty:
            dirty = sorted_set(np.concatenate(self._dirty))
            changed = np.zeros(len(self._slots_used), dtype=bool)
            changed[dirty >> 16] = True
            selected = np.flatnonzero(changed[owner])
            keys = owner[selected].astype(np.int64) << 16 | page[selected]
            order = np.argsort(keys, kind="stable")
            entries = entries_of(selected[order])
            keys = keys[order]
            blob, width = entries.tobytes(), entries.dtype.itemsize
            starts = np.searchsorted(keys, dirty, side="left").tolist()
            ends = np.searchsorted(keys, dirty, side="right").tolist()
            for key, start, end in zip(dirty.tolist(), starts, ends, strict=True):
                saved = Page(key >> 16, key & 0xFFFF, blob[start * width : end * width] or None)
                (written if saved.value else deleted).append(saved)
        self._dirty.clear()
        return written + deleted


def rank(rows: Rows) -> NDArray[np.int64]:
    """How many equal rows are before each, int64 (k,)."""
    if len(rows) <= 1:
        return np.zeros(len(rows), dtype=np.int64)
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    first = np.maximum.accumulate(np.where(begins_of(ordered), np.arange(len(rows)), 0))
    ranks = np.empty(len(rows), dtype=np.int64)
    ranks[order] = np.arange(len(rows)) - first
    return ranks


def _page_keys(rows: Rows, first: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keys (row << 16 | page number) of the pages `first` to `end - 1` of each row."""
    sizes = np.maximum(end - first, 0)
    numbers = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(first, sizes)
    keys: NDArray[np.int64] = np.repeat(rows, sizes) << 16 | numbers
    return keys
