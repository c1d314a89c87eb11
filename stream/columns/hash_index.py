"""A vectorised hash index: numbers 64-bit keys 0, 1, 2, ... and looks whole arrays of them up at once.

Owns an open-addressing hash table with linear probing in numpy (Knuth, The Art of Computer Programming 3, 6.4). Keys
must be uniformly distributed 64-bit hashes other than 0, which marks an empty slot; `stable_hash` and `mix` never
return 0. Called by `stream.columns.members`, `stream.ingest.event_ids` and `stream.plan.extractor`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
_FIRST_SIZE = 1024
_CACHE_LIMIT = 400_000
BLANK_HASH = np.uint64(xxhash.xxh3_64_intdigest(b""))
"""The hash of a text that is empty or has nothing but white space."""
FEW = 128
"""Up to so many keys are looked up one by one: a call for whole arrays costs some 0.2 ms, whatever their length."""
# Arrays without a dimension, of which numpy makes a number of an array's type in half the time of one of its scalars.
_GOLDEN = np.array(0x9E3779B97F4A7C15, dtype=np.uint64)
_SHIFTS = tuple(np.array(shift, dtype=np.uint64) for shift in (30, 27, 31))
_FACTORS = tuple(np.array(factor, dtype=np.uint64) for factor in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_REST = 48
"""Up to so many keys that are left of more are looked up one by one: a round for whole arrays costs as much."""


def stable_hash(text: str) -> int:
    """XXH3-64 of a text in UTF-8, the same in every process and version; never 0. Source: the xxHash specification."""
    return int(xxhash.xxh3_64_intdigest(text.encode())) or 1


def hash_ids(texts: Sequence[str]) -> Hashes:
    """Stable hash of each text without white space at its ends, uint64 (k,); for texts that rarely repeat.

    A blank text has the hash `BLANK_HASH`.
    """
    digests = map(xxhash.xxh3_64_intdigest, map(str.encode, map(str.strip, texts)))
    return _without_zero(np.fromiter(digests, dtype=np.uint64, count=len(texts)))


class HashCache(dict[str | None, int]):
    """Stable hashes of texts that repeat often (users, features), without white space at their ends.

    None and blank texts give 0: nobody. Emptied when it is full.
    """

    def __missing__(self, text: str | None) -> int:
        """Compute and cache a hash."""
        if len(self) >= _CACHE_LIMIT:
            self.clear()
        trimmed = (text or "").strip()
        value = stable_hash(trimmed) if trimmed else 0
        self[text] = value
        return value

    def hashes(self, texts: list[str | None]) -> Hashes:
        """Stable hash of each text, uint64 (k,)."""
        return np.fromiter(map(self.__getitem__, texts), dtype=np.uint64, count=len(texts))


def mix(rows: NDArray[np.int64], hashes: Hashes) -> Hashes:
    """One key of row number and hash, uint64 (k,), never 0. Source: SplitMix64's finalizer (Steele et al. 2014)."""
    key = hashes ^ (rows.view(np.uint64) * _GOLDEN)
    key ^= key >> _SHIFTS[0]
    key *= _FACTORS[0]
    key ^= key >> _SHIFTS[1]
    key *= _FACTORS[1]
    key ^= key >> _SHIFTS[2]
    return _without_zero(key)


def _without_zero(hashes: Hashes) -> Hashes:
    """The hashes with 1 in place of 0, in place."""
    if np.count_nonzero(hashes) < len(hashes):
        hashes[hashes == 0] = 1
    return hashes


class HashIndex:
    """Positions 0, 1, 2, ... of keys, in the order in which they were added."""

    def __init__(self, few: int = FEW) -> None:
        """Start empty. Up to `few` keys are looked up one by one, more of them all at once."""
        self._few, self._rest = few, min(few, _REST)
        self._keys: Hashes = np.zeros(_FIRST_SIZE, dtype=np.uint64)
        self._positions = np.zeros(_FIRST_SIZE, dtype=np.int32)
        self._count = 0
        self._view_keys, self._view_positions = self._keys.data, self._positions.data

    @classmethod
    def of(cls, keys: Hashes) -> HashIndex:
        """An index of distinct keys in which key `i` has position `i`."""
        index = cls()
        index._reserve(len(keys))
        index._place(keys)
        return index

    def __len__(self) -> int:
        """Number of keys."""
        return self._count

    def nbytes(self) -> int:
        """Bytes of memory of the arrays."""
        return int(self._keys.nbytes + self._positions.nbytes)

    def contains(self, keys: Hashes) -> NDArray[np.bool_]:
        """Whether each key was added, bool (k,)."""
        contained = np.zeros(len(keys), dtype=bool)
        if not self._count:
            return contained
        if len(keys) <= self._few:
            self._find_few(few := keys.tolist(), range(len(few)), self._slots_of(few), contained)
            return contained
        pending, mask = np.arange(len(keys)), np.uint64(len(self._keys) - 1)
        slots = keys & mask
        while pending.size > self._rest:
            in_slots = self._keys[slots]
            hit = in_slots == keys[pending]
            contained[pending[hit]] = True
            continued = ~hit & (in_slots != 0)
            pending = pending[continued]
            slots = (slots[continued] + np.uint64(1)) & mask
        self._find_few(keys[pending].tolist(), pending.tolist(), slots.tolist(), contained)
        return contained

    def _slots_of(self, keys: list[int]) -> list[int]:
        """The slot in which the search for each key begins."""
        mask = len(self._keys) - 1
        return [key & mask for key in keys]

    def _find_few(
        self, keys: list[int], indexes: Sequence[int], slots: list[int], contained: NDArray[np.bool_]
    ) -> None:
        """Look keys up one by one, from these slots on; fills in `contained` at their indexes."""
        in_slots, mask, view = self._view_keys, len(self._keys) - 1, contained.data
        for key, index, first in zip(keys, indexes, slots, strict=True):
            slot = first
            while (in_slot := in_slots[slot]) != key and in_slot:
                slot = (slot + 1) & mask
            view[index] = bool(in_slot)

    def add(self, keys: Hashes) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Add keys; returns the position of each, int64 (k,), and whether it is new, bool (k,).

        Of equal keys in one call only the first is new.
        """
        self._reserve(len(keys))
        positions = np.empty(len(keys), dtype=np.int64)
        new = np.zeros(len(keys), dtype=bool)
        if len(keys) <= self._few:
            self._add_few(few := keys.tolist(), range(len(few)), self._slots_of(few), positions, new)
            return positions, new
        pending, rest = self._add_most(keys, positions, new)
        self._add_few(keys[pending].tolist(), pending.tolist(), rest.tolist(), positions, new)
        return positions, new

    def _add_few(
        self,
        keys: list[int],
        indexes: Sequence[int],
        slots: list[int],
        positions: NDArray[np.int64],
        new: NDArray[np.bool_],
    ) -> None:
        """Add keys one by one, from these slots on; fills in `positions` and `new` at their indexes."""
        in_slots, numbered, mask, count = self._view_keys, self._view_positions, len(self._keys) - 1, self._count
        view_positions, view_new = positions.data, new.data  # a number of a view costs a third of one of an array
        for key, index, first in zip(keys, indexes, slots, strict=True):
            slot = first
            while (in_slot := in_slots[slot]) != key and in_slot:
                slot = (slot + 1) & mask
            if in_slot:
                view_positions[index] = numbered[slot]
                continue
            in_slots[slot], numbered[slot], view_positions[index], view_new[index] = key, count, count, True
            count += 1
        self._count = count

    def _add_most(
        self, keys: Hashes, positions: NDArray[np.int64], new: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Add keys (k,), and fill in `positions` and `new`; returns the indexes of the last few, and their slots."""
        mask = len(self._keys) - 1
        pending, slots = np.arange(len(keys)), (keys & np.uint64(mask)).astype(np.int64)
        while pending.size > self._rest:
            wanted = keys[pending]
            in_slots = self._keys[slots]
            done = in_slots == wanted
            positions[pending[done]] = self._positions[slots[done]]
            free = np.flatnonzero(in_slots == 0)
            step = np.ones(len(pending), dtype=np.int64)
            if free.size:
                # Several keys may want one free slot: the claims are written in reverse so that the first one stays.
                wanted_slots = slots[free]
                self._positions[wanted_slots[::-1]] = free[::-1]
                won = free[self._positions[wanted_slots] == free]
                next_positions = np.arange(self._count, self._count + won.size)
                self._keys[slots[won]] = wanted[won]
                self._positions[slots[won]] = next_positions
                positions[pending[won]] = next_positions
                new[pending[won]] = True
                self._count += won.size
                done[won] = True
                step[free] = 0
            remain = ~done
            pending, slots = pending[remain], (slots[remain] + step[remain]) & mask
        return pending, slots

    def _reserve(self, more: int) -> None:
        size = len(self._keys)
        while (self._count + more) * 2 > size:
            size *= 2
        if size == len(self._keys):
            return
        old_keys, old_positions = self._keys, self._positions
        filled = np.flatnonzero(old_keys)
        order = filled[np.argsort(old_positions[filled])]
        self._keys = np.zeros(size, dtype=np.uint64)
        self._positions = np.zeros(size, dtype=np.int32)
        self._view_keys, self._view_positions = self._keys.data, self._positions.data
        self._count = 0
        self._place(old_keys[order])

    def _place(self, keys: Hashes) -> None:
        """Put distinct keys into the empty table; the position of each is its index."""
        mask = len(self._keys) - 1
        pending = np.arange(len(keys))
        slots = (keys & np.uint64(mask)).astype(np.int64)
        while pending.size:
            free = np.flatnonzero(self._keys[slots] == 0)
            self._positions[slots[free][::-1]] = pending[free][::-1]
            won = free[self._positions[slots[free]] == pending[free]]
            self._keys[slots[won]] = keys[pending[won]]
            lost = np.ones(len(pending), dtype=bool)
            lost[won] = False
            pending, slots = pending[lost], (slots[lost] + 1) & mask
        self._count = len(keys)
