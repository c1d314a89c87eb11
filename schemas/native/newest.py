"""The native table of the newest changelog records by key; `stream.recovery.newest` does the same without it.

Owns the calls and the memory that they are given. A table that could not take a record is used no more, and raises.
Called by `stream.recovery.newest_native`.
"""

from __future__ import annotations

import weakref
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.native.library import Positions, Spans, address, span_arguments


class AgeRule(NamedTuple):
    """Where the age of a value is, and which values have one: they are whole.

    The age is the number of 8 bytes that begins at `offset`; `lengths` has a bit for each remainder modulo 48 that the
    length of a value with an age has, `version` its first byte (-1: any), and `least` the smallest age.
    """

    offset: int
    lengths: int
    version: int = -1
    least: int = -(2**63)


class NewestTable:
    """The newest value of each key. Slots are numbers of keys; they hold until the next record is added."""

    def __init__(self, library: Any, rule: AgeRule, least_garbage: int) -> None:
        """Empty; up to `least_garbage` bytes of superseded values are left where they are."""
        table = library.newest_new(rule.offset, rule.version, rule.lengths, rule.least, least_garbage)
        self._library, self._table = library, table
        weakref.finalize(self, library.newest_free, table)

    def __len__(self) -> int:
        """Number of keys."""
        return int(self._library.newest_count(self._table))

    def nbytes(self) -> int:
        """Bytes of memory of keys and values, and of what is known of them."""
        return int(self._library.newest_bytes(self._table))

    def put(self, keys: Spans, values: Spans) -> None:
        """Add records in the order of the log; a value that is none deletes."""
        *of_keys, count = span_arguments(keys)
        *of_values, values_count = span_arguments(values)
        assert count == values_count, "a value for each key"
        _require(self._library.newest_put(self._table, *of_keys, *of_values, count))

    def slot_of(self, key: bytes) -> int:
        """The slot of a key, -1 where it has none."""
        return int(self._library.newest_slot(self._table, key, len(key)))

    def listed(self) -> Positions:
        """Slot, length of the key and length of the value of all keys, in the order in which they came, (3, k)."""
        listed = np.empty((3, len(self)), dtype=np.int64)
        self._library.newest_list(self._table, address(listed))
        return listed

    def keys(self, slots: Positions, lengths: Positions, skip: int = 0) -> tuple[bytes, list[int]]:
        """What follows the first bytes of the keys of slots (k,), one behind the other, and both ends of all, (k + 1,).

        The keys have these lengths (k,).
        """
        bounds = np.concatenate(([0], np.cumsum(np.maximum(lengths - skip, 0)))).tolist()
        output = np.empty(bounds[-1], dtype=np.uint8)
        slots = np.ascontiguousarray(slots)
        done = self._library.newest_keys(self._table, address(slots), len(slots), skip, address(output), len(output))
        _require(done)
        return output.tobytes(), bounds

    def heads(self, slots: Positions, width: int) -> NDArray[np.void]:
        """The first `width` bytes, at least one, of the values of slots (k,), which are as long at least; (k,)."""
        output = np.empty(len(slots), dtype=np.dtype((np.void, width)))
        slots = np.ascontiguousarray(slots)
        _require(self._library.newest_heads(self._table, address(slots), len(slots), width, address(output)))
        return output

    def tails(self, slots: Positions, lengths: Positions, width: int) -> list[bytes]:
        """What follows the first `width` bytes of the values of slots (k,), which are so long (k,)."""
        bounds = np.concatenate(([0], np.cumsum(np.maximum(lengths - width, 0)))).tolist()
        output = np.empty(bounds[-1], dtype=np.uint8)
        slots = np.ascontiguousarray(slots)
        done = self._library.newest_tails(self._table, address(slots), len(slots), width, address(output), len(output))
        _require(done)
        joined = output.tobytes()
        return [joined[start:end] for start, end in pairwise(bounds)]

    def value(self, slot: int) -> bytes:
        """The value of a slot."""
        length = int(self._library.newest_length(self._table, slot))
        return self.tails(np.array([slot]), np.array([length]), 0)[0]

    def sort(self, pages: NewestTable, page_key: int, keys: Spans, values: Spans) -> Positions:
        """Add rows to this table, and pages to theirs; the indexes of records that are neither, (k,).

        They have the keys of rows and pages; those of pages have `page_key` bytes at least. Keys and values lie in one
        buffer.
        """
        assert keys.buffer is values.buffer, "one buffer"
        *of_keys, count = span_arguments(keys)
        _, _, *of_values, values_count = span_arguments(values)
        assert count == values_count, "a value for each key"
        others = np.empty(count, dtype=np.int64)
        count_of_others = self._library.newest_sort(
            self._table, pages._table, page_key, *of_keys, *of_values, count, address(others)
        )
        _require(count_of_others)
        return others[:count_of_others]


def _require(status: int) -> None:
    """Raise `RuntimeError` after a call that failed."""
    if status < 0:
        msg = "the native library could not read changelog records that it was given"
        raise RuntimeError(msg)
