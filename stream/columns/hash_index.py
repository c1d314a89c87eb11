"""A vectorised hash index: 64-bit keys to dense positions, whole arrays at once.

Owns open addressing with linear probing in numpy. Keys must already be well mixed 64-bit hashes; 0 is taken for
"empty", so callers map it away (`stable_hash` does). Called by `stream.columns.members` and `stream.ingest.event_ids`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
_FIRST_SIZE = 1024
_CACHE_LIMIT = 400_000
FEW = 256
"""So many keys are looked up one by one: whole arrays cost some 0.3 ms a call, whatever their length."""


def stable_hash(text: str) -> int:
    """XXH3-64 of a text, the same in every process and version; never 0 (source: the xxHash specification)."""
    return int(xxhash.xxh3_64_intdigest(text.encode())) or 1


def hash_ids(texts: Sequence[str]) -> Hashes:
    """Stable hashes of texts that do not repeat, uint64 (len(texts),)."""
    digest = xxhash.xxh3_64_intdigest
    hashes = np.array([digest(text.encode()) for text in texts], dtype=np.uint64)
    hashes[hashes == 0] = 1
    return hashes


class HashCache(dict[str | None, int]):
    """Stable hashes of texts that repeat much (users, features); None gives 0. Bounded: it starts over when full."""

    def __missing__(self, text: str | None) -> int:
        """Compute and keep a hash."""
        if len(self) >= _CACHE_LIMIT:
            self.clear()
        value = 0 if text is None else stable_hash(text)
        self[text] = value
        return value

    def hashes(self, texts: list[str | None]) -> Hashes:
        """Stable hashes, uint64 (len(texts),)."""
        return np.fromiter(map(self.__getitem__, texts), dtype=np.uint64, count=len(texts))


def mix(rows: NDArray[np.int64], hashes: Hashes) -> Hashes:
    """One key of a row number and a hash (splitmix64's finalizer); never 0."""
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
    """Keys to positions 0, 1, 2, ... in the order of their coming."""

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
        """How many keys are held."""
        return self._count

    def nbytes(self) -> int:
        """Bytes of memory held."""
        return int(self._keys.nbytes + self._positions.nbytes)

    def contains(self, keys: Hashes) -> NDArray[np.bool_]:
        """Which keys are held, bool (n,)."""
        found = np.zeros(len(keys), dtype=bool)
        if not self._count:
            return found
        if len(keys) <= self._few:
            found[:] = [bool(self._view_keys[self._slot(key)]) for key in keys.tolist()]
            return found
        mask = np.uint64(len(self._keys) - 1)
        pending = np.arange(len(keys))
        slots = keys & mask
        while pending.size:
            there = self._keys[slots]
            hit = there == keys[pending]
            found[pending[hit]] = True
            on = ~hit & (there != 0)
            pending = pending[on]
            slots = (slots[on] + np.uint64(1)) & mask
        return found

    def add(self, keys: Hashes) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Position of each key, int64 (n,), and whether this was its first coming, bool (n,).

        Of equal keys in one call only the first is new.
        """
        self._reserve(len(keys))
        positions = np.empty(len(keys), dtype=np.int64)
        new = np.zeros(len(keys), dtype=bool)
        if len(keys) <= self._few:
            before = self._count
            positions[:] = [self._add_one(key) for key in keys.tolist()]
            # Each first coming took the next position.
            first = np.maximum.accumulate(np.append(before - 1, positions))
            new[:] = positions > first[:-1]
            return positions, new
        mask = np.uint64(len(self._keys) - 1)
        pending = np.arange(len(keys))
        slots = (keys & mask).astype(np.int64)
        while pending.size:
            wanted = keys[pending]
            there = self._keys[slots]
            hit = there == wanted
            positions[pending[hit]] = self._positions[slots[hit]]
            free = np.flatnonzero(there == 0)
            done = hit
            if free.size:
                # Several keys may want one free slot: the claims are written in reverse so that the first one stays.
                self._positions[slots[free][::-1]] = free[::-1]
                won = free[self._positions[slots[free]] == free]
                given = np.arange(self._count, self._count + won.size)
                self._keys[slots[won]] = wanted[won]
                self._positions[slots[won]] = given
                positions[pending[won]] = given
                new[pending[won]] = True
                self._count += won.size
                done[won] = True
            step = np.ones(len(pending), dtype=np.int64)
            step[free] = 0
            slots = (slots + step) & int(mask)
            pending, slots = pending[~done], slots[~done]
        return positions, new

    def _slot(self, key: int) -> int:
        """Where a key is, or the free slot where it belongs."""
        keys = self._view_keys
        mask = len(keys) - 1
        slot = key & mask
        while (there := keys[slot]) != key and there:
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
        held = np.flatnonzero(old_keys)
        order = held[np.argsort(old_positions[held])]
        self._keys = np.zeros(size, dtype=np.uint64)
        self._positions = np.zeros(size, dtype=np.int32)
        self._view_keys, self._view_positions = self._keys.data, self._positions.data
        self._count = 0
        self._place(old_keys[order])

    def _place(self, keys: Hashes) -> None:
        """Put distinct keys, whose positions are their order, into the empty table."""
        mask = len(self._keys) - 1
        pending = np.arange(len(keys))
        slots = (keys & np.uint64(mask)).astype(np.int64)
        while pending.size:
            free = np.flatnonzero(self._keys[slots] == 0)
            self._positions[slots[free][::-1]] = pending[free][::-1]
            won = free[self._positions[slots[free]] == pending[free]]
            self._keys[slots[won]] = keys[pending[won]]
            rest = np.ones(len(pending), dtype=bool)
            rest[won] = False
            pending, slots = pending[rest], (slots[rest] + 1) & mask
        self._count = len(keys)
