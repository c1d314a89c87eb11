"""The newest value of each key, of records of which a partition has many: in a table of the native library.

Owns the mapping over the table, and its listing. It is what `stream.recovery.newest` is, and no record becomes an
object of Python. Pure; called by `stream.recovery.collected`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.native.library import Positions, Spans
from schemas.native.newest import AgeRule, NewestTable
from stream.recovery import newest
from stream.recovery.listing import Ints, Listing


class TableListing(Listing):
    """Keys and their slots in a table."""

    def __init__(self, table: NewestTable, listed: Positions) -> None:
        """`listed` has the slots, and the lengths of keys and values, (3, k)."""
        self._table, self._listed = table, listed
        self._slots, self._key_lengths, self.lengths = listed

    def keys(self) -> list[bytes]:
        """All keys."""
        joined, bounds = self._table.keys(self._slots, self._key_lengths)
        return [joined[start:end] for start, end in pairwise(bounds)]

    def key(self, index: int) -> bytes:
        """One of the keys."""
        return self._table.keys(self._slots[[index]], self._key_lengths[[index]])[0]

    def key_heads(self, width: int) -> NDArray[np.void]:
        """The first bytes of each key."""
        joined, bounds = self._table.keys(self._slots, self._key_lengths)
        return newest.cells(joined, width)[bounds[:-1]]

    def names(self, skip: int) -> list[str]:
        """The text that follows the first bytes of each key."""
        joined, bounds = self._table.keys(self._slots, self._key_lengths, skip)
        if not joined.isascii():
            return [joined[start:end].decode() for start, end in pairwise(bounds)]
        text = joined.decode()
        return [text[start:end] for start, end in pairwise(bounds)]

    def heads(self, width: int, begin: int = 0, end: int | None = None) -> NDArray[np.void]:
        """The first bytes of values, unpacked side by side."""
        return self._table.heads(self._slots[begin:end], width)

    def tails(self, width: int, indexes: Ints | None = None) -> list[bytes]:
        """What follows the first `width` bytes of values."""
        slots, lengths = self._slots, self.lengths
        if indexes is not None:
            slots, lengths = slots[indexes], lengths[indexes]
        return self._table.tails(slots, lengths, width)

    def select(self, chosen: NDArray[np.bool_]) -> TableListing:
        """Only the keys that are `chosen` (k,)."""
        return TableListing(self._table, self._listed[:, chosen])


class NewestInTable(Mapping[bytes, bytes]):
    """The newest value of each key, in the order in which the keys came."""

    def __init__(self, library: Any, rule: AgeRule) -> None:
        """Empty; `rule` says how old values are."""
        self._table = NewestTable(library, rule, newest.LEAST_GARBAGE)

    def __len__(self) -> int:
        """Number of keys."""
        return len(self._table)

    def __iter__(self) -> Iterator[bytes]:
        """The keys, in the order in which they came."""
        return iter(self.listing().keys())

    def __contains__(self, key: object) -> bool:
        """Whether a key has a value."""
        return isinstance(key, bytes) and self._table.slot_of(key) >= 0

    def __getitem__(self, key: bytes) -> bytes:
        """The newest value of a key."""
        slot = self._table.slot_of(key)
        if slot < 0:
            raise KeyError(key)
        return self._table.value(slot)

    def nbytes(self) -> int:
        """Bytes of memory of keys and values, and of what is known of them."""
        return self._table.nbytes()

    def listing(self) -> TableListing:
        """All keys and where their values are. It holds until the next record is added."""
        return TableListing(self._table, self._table.listed())

    def add(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Add records in the order of the log; None deletes."""
        self._table.put(Spans.of(keys), Spans.of(values))

    def sort(self, pages: NewestInTable, page_key: int, keys: Spans, values: Spans) -> Positions:
        """Add rows of these records here, and pages to theirs; the indexes of records that are neither, (k,).

        The key of a page has `page_key` bytes at least.
        """
        return self._table.sort(pages._table, page_key, keys, values)
