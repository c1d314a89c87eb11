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
FEW = 256
"""Up to so many keys are looked up one by one: a call for whole arrays costs some 0.3 ms, whatever their length."""


def stable_hash(text: str) -> int:
    """XXH3-64 of a text in UTF-8, the same in every process and version; never 0. Source: the xxHash specification."""
    return int(xxhash.xxh3_64_intdigest(text.encode())) or 1


def hash_ids(texts: Sequence[str]) -> Hashes:
    """Stable hash of each text without white space at its ends, uint64 (k,); for texts that rarely repeat.

    A blank text has the hash `BLANK_HASH`.
    """
    digests = map(xxhash.xxh3_64_intdigest, map(str.encode, map(str.strip, texts)))
    hashes = np.fromiter(digests, dtype=np.uint64, count=len(texts))
    hashes[hashes == 0] = 1
    return hashes


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
    with np.errstate(over="ignore"):
        key = hashes ^ (rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
        key ^= key >> np.uint64(30)
        key *= np.uint64(0xBF58476D1CE4E5B9)
        key ^= key >> np.uint64(27)
        key *= np.uint64(0x94D049BB133111EB)
        key ^= key >> np.uint64(31)
    key[key == 0] = np.uint64(1)
    return key


class HashIndex:
    """Positions 0, 1, 2, ... of keys, in the order in which they were added."""

    def __init__(self, few: int = FEW) -> None:
        """Start empty. Up to `few` keys are looked up one by one, more of them all at once."""
        self._few = few
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
            contained[:] = [bool(self._view_keys[self._slot(key)]) for key in keys.tolist()]
            return contained
        mask = np.uint64(len(self._keys) - 1)
        pending = np.arange(len(keys))
        slots = keys & mask
        while pending.size:
            in_slots = self._keys[slots]
            hit = in_slots == keys[pending]
            contained[pending[hit]] = True
            continued = ~hit & (in_slots != 0)
            pending = pending[continued]
            slots = (slots[continued] + np.uint64(1)) & mask
        return contained

    def add(self, keys: Hashes) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Add keys; returns the position of each, int64 (k,), and whether it is new, bool (k,).

        Of equal keys in one call only the first is new.
        """
        self._reserve(len(keys))
        positions = np.empty(len(keys), dtype=np.int64)
        new = np.zeros(len(keys), dtype=bool)
        if len(keys) <= self._few:
            before = self._count
            positions[:] = [self._add_one(key) for key in keys.tolist()]
            # Each new key has the next position.
            first = np.maximum.accumulate(np.append(before - 1, positions))
            new[:] = positions > first[:-1]
            return positions, new
        mask = np.uint64(len(self._keys) - 1)
        pending = np.arange(len(keys))
        slots = (keys & mask).astype(np.int64)
        while pending.size:
            wanted = keys[pending]
            in_slots = self._keys[slots]
            hit = in_slots == wanted
            positions[pending[hit]] = self._positions[slots[hit]]
            free = np.flatnonzero(in_slots == 0)
            done = hit
            if free.size:
                # Several keys may want one free slot: the claims are written in reverse so that the first one stays.
                self._positions[slots[free][::-1]] = free[::-1]
                won = free[self._positions[slots[free]] == free]
                next_positions = np.arange(self._count, self._count + won.size)
                self._keys[slots[won]] = wanted[won]
                self._positions[slots[won]] = next_positions
                positions[pending[won]] = next_positions
                new[pending[won]] = True
                self._count += won.size
                done[won] = True
            step = np.ones(len(pending), dtype=np.int64)
            step[free] = 0
            slots = (slots + step) & int(mask)
            pending, slots = pending[~done], slots[~done]
        return positions, new

    def _slot(self, key: int) -> int:
        """The slot that a key is in, or the free slot where it would be added."""
        keys = self._view_keys
        mask = len(keys) - 1
        slot = key & mask
        while (in_slot := keys[slot]) != key and in_slot:
            slot = (slot + 1) & mask
        return slot

    def _add_one(self, key: int) -> int:
        slot = self._slot(key)
        if not self._view_keys[slot]:
            self._view_keys[slot] = key
            self._view_positions[slot] = self._count
            self._count += 1
        return self._view_positions[slot]

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
