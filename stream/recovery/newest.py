"""The newest value of each key, of records of which a partition has many: all values lie in one block of memory.

Owns the block, and where in it the value of each key is. Records are added some at a time, and compared and copied in
bulk: one that is superseded costs a look into a dictionary and a copy over the value before, and leaves no object
behind. Which of two values is newer is the rule of `stream.recovery.record_form`. Where the native library was built,
`stream.recovery.newest_native` does the same in less time and memory. Pure; called by `stream.recovery.collected`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress, repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.recovery.listing import Ints, Listing

Buffer = bytes | bytearray
AgesOf = Callable[[Buffer, Ints, Ints], tuple[Ints, NDArray[np.bool_]]]
"""The age of each value of a block, given starts and lengths (k,), and whether it is whole: else its age means nothing.
"""
_FEW_LENGTHS = 8
"""Values of one length are copied at once where each length has as many values as this on average."""
_SPARE = 4
"""A quarter more room is left for a value that is longer than the one before it."""
LEAST_GARBAGE = 1 << 20
"""Bytes of superseded values that are left where they are."""


def cells(block: Buffer, width: int) -> NDArray[np.void]:
    """What begins at each byte of a block and is `width` bytes long. While it lives, a block can not grow."""
    return np.ndarray((max(0, len(block) - width + 1),), np.dtype((np.void, width)), block, 0, (1,))


class BlockListing(Listing):
    """Keys, and where their values are in a block."""

    def __init__(self, keys: list[bytes], block: bytearray, starts: Ints, lengths: Ints) -> None:
        """`starts` and `lengths` are (k,)."""
        self.lengths = lengths
        self._keys, self._block, self._starts = keys, block, starts

    def key(self, index: int) -> bytes:
        """One of the keys."""
        return self._keys[index]

    def key_heads(self, width: int) -> NDArray[np.void]:
        """The first bytes of each key."""
        return np.frombuffer(b"".join([key[:width] for key in self._keys]), dtype=np.dtype((np.void, width)))

    def names(self, skip: int) -> list[str]:
        """The text that follows the first bytes of each key."""
        return [key[skip:].decode() for key in self._keys]

    def heads(self, width: int, begin: int = 0, end: int | None = None) -> NDArray[np.void]:
        """The first bytes of values that lie side by side."""
        return cells(self._block, width)[self._starts[begin:end]]

    def tails(self, width: int, indexes: Ints | None = None) -> list[bytes]:
        """What follows the first `width` bytes of values."""
        starts, lengths = self._starts, self.lengths
        if indexes is not None:
            starts, lengths = starts[indexes], lengths[indexes]
        block, ends = memoryview(self._block), (starts + lengths).tolist()
        return [bytes(block[start:end]) for start, end in zip((starts + width).tolist(), ends, strict=True)]

    def select(self, chosen: NDArray[np.bool_]) -> BlockListing:
        """Only the keys that are `chosen` (k,)."""
        keys = list(compress(self._keys, chosen))
        return BlockListing(keys, self._block, self._starts[chosen], self.lengths[chosen])


class _Batch(NamedTuple):
    """Values to be added: where each is in a block, and the slot of its key, (k,)."""

    block: bytes
    starts: Ints
    lengths: Ints
    slots: Ints

    def take(self, chosen: Ints | NDArray[np.bool_]) -> _Batch:
        return _Batch(self.block, self.starts[chosen], self.lengths[chosen], self.slots[chosen])


class NewestValues(Mapping[bytes, bytes]):
    """The newest value of each key, in the order in which the keys came."""

    def __init__(self, ages_of: AgesOf) -> None:
        """Empty; `ages_of` says how old values are."""
        self._ages_of = ages_of
        self._slot_of: dict[bytes, int] = {}
        self._slots = 0
        """Slots that were given, also to keys that are removed; a slot is never given twice."""
        self._block = bytearray()
        self._garbage = 0
        self._starts = np.zeros(0, dtype=np.int64)
        self._lengths = np.zeros(0, dtype=np.int32)
        self._rooms = np.zeros(0, dtype=np.int32)
        """Bytes that the value of a slot may take where it lies."""
        self._ages = np.zeros(0, dtype=np.int64)
        self._whole = np.zeros(0, dtype=np.bool_)
        """Whether the age of a slot is known: not of a new one, and not of a value that can not be read."""
        self._last = np.zeros(0, dtype=np.int32)

    def __len__(self) -> int:
        """Number of keys."""
        return len(self._slot_of)

    def __iter__(self) -> Iterator[bytes]:
        """The keys, in the order in which they came."""
        return iter(self._slot_of)

    def __contains__(self, key: object) -> bool:
        """Whether a key has a value."""
        return key in self._slot_of

    def __getitem__(self, key: bytes) -> bytes:
        """The newest value of a key."""
        slot = self._slot_of[key]
        start = int(self._starts[slot])
        return bytes(self._block[start : start + int(self._lengths[slot])])

    def nbytes(self) -> int:
        """Bytes of memory of the values and of what is known of them, without the keys."""
        arrays = (self._starts, self._lengths, self._rooms, self._ages, self._whole, self._last)
        return len(self._block) + sum(array.nbytes for array in arrays)

    def listing(self) -> BlockListing:
        """All keys and where their values are. It holds until the next record is added."""
        slots = np.fromiter(self._slot_of.values(), dtype=np.int64, count=len(self._slot_of))
        lengths = self._lengths[slots].astype(np.int64)
        return BlockListing(list(self._slot_of), self._block, self._starts[slots], lengths)

    def add(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Add records in the order of the log; None deletes."""
        begin = 0
        for index in [index for index, value in enumerate(values) if value is None] if None in values else ():
            self._put(keys[begin:index], values[begin:index])
            self.remove(keys[index])
            begin = index + 1
        self._put(keys[begin:], values[begin:])
        if self._garbage > max(LEAST_GARBAGE, len(self._block) // 4):
            self._compact()

    def remove(self, key: bytes) -> None:
        """Delete a key, if it is there."""
        slot = self._slot_of.pop(key, None)
        if slot is not None:
            self._garbage += int(self._rooms[slot])

    def _put(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Add records that have values."""
        if not keys:
            return
        lengths = np.fromiter(map(len, values), dtype=np.int64, count=len(values))  # type: ignore[arg-type]
        block = b"".join(values)  # type: ignore[arg-type]
        batch = _Batch(block, np.cumsum(lengths) - lengths, lengths, self._slots_of(keys))
        for chosen in self._rounds(batch.slots):
            self._store(batch if len(chosen) == len(keys) else batch.take(chosen))

    def _slots_of(self, keys: Sequence[bytes]) -> Ints:
        """The slot of each key, (k,); new ones get one."""
        slots = np.fromiter(map(self._slot_of.get, keys, repeat(-1)), dtype=np.int64, count=len(keys))
        missing = slots < 0
        if not missing.any():
            return slots
        new = dict.fromkeys(compress(keys, missing))
        first = self._slots
        self._slots += len(new)
        self._slot_of.update(zip(new, range(first, self._slots), strict=True))
        if self._slots > len(self._starts):
            self._grow(max(64, self._slots, len(self._starts) * 5 // 4))
        if len(new) == len(keys):
            return np.arange(first, self._slots)
        return np.fromiter(map(self._slot_of.__getitem__, keys), dtype=np.int64, count=len(keys))

    def _grow(self, capacity: int) -> None:
        for name in ("_starts", "_lengths", "_rooms", "_ages", "_whole", "_last"):
            array = getattr(self, name)
            larger = np.zeros(capacity, dtype=array.dtype)
            larger[: len(array)] = array
            setattr(self, name, larger)

    def _rounds(self, slots: Ints) -> list[Ints]:
        """Which records (by index) to add one after the other: each slot once in a round, in the order of the log."""
        rounds, rest = [], np.arange(len(slots))
        while len(rest):
            mine = slots[rest]
            self._last[mine] = rest
            is_last = self._last[mine] == rest
            rounds.append(rest[is_last])
            rest = rest[~is_last]
        return rounds[::-1]

    def _store(self, batch: _Batch) -> None:
        """Keep the values that are newer than those of their slots, of which each is there once."""
        ages, whole = self._ages_of(batch.block, batch.starts, batch.lengths)
        slots = batch.slots
        older = (ages < self._ages[slots]) & whole & self._whole[slots]
        if older.all():
            return
        if older.any():
            batch, ages, whole, slots = batch.take(~older), ages[~older], whole[~older], slots[~older]
        self._ages[slots], self._whole[slots] = ages, whole
        moving = batch.lengths > self._rooms[slots]
        if moving.all():
            self._append(batch)
        elif moving.any():
            self._append(batch.take(moving))
            self._overwrite(batch.take(~moving))
        else:
            self._overwrite(batch)

    def _append(self, batch: _Batch) -> None:
        """Put values at the end of the block."""
        lengths, slots, before = batch.lengths, batch.slots, self._rooms[batch.slots]
        rooms = lengths + np.where(before > 0, lengths // _SPARE, 0)  # one that has grown grows again
        self._garbage += int(before.sum())
        self._starts[slots] = len(self._block) + np.cumsum(rooms) - rooms
        self._lengths[slots], self._rooms[slots] = lengths, rooms
        total = int(rooms.sum())
        if total == len(batch.block) == int(lengths.sum()):
            self._block += batch.block
        else:
            self._block.extend(bytes(total))
            self._copy(batch)

    def _overwrite(self, batch: _Batch) -> None:
        """Put values where those of their slots lie, which are as long at least."""
        self._lengths[batch.slots] = batch.lengths
        self._copy(batch)

    def _copy(self, batch: _Batch) -> None:
        """Copy values to where their slots lie."""
        lengths, targets = batch.lengths, self._starts[batch.slots]
        distinct = np.unique(lengths) if lengths.min() < lengths.max() else lengths[:1]
        if len(distinct) > 1 and len(lengths) < _FEW_LENGTHS * len(distinct):
            block = memoryview(self._block)
            for target, start, length in zip(targets.tolist(), batch.starts.tolist(), lengths.tolist(), strict=True):
                block[target : target + length] = batch.block[start : start + length]
            return
        for length in distinct.tolist():
            if length:
                mine = slice(None) if len(distinct) == 1 else lengths == length
                cells(self._block, length)[targets[mine]] = cells(batch.block, length)[batch.starts[mine]]

    def _compact(self) -> None:
        """Leave out superseded values that are not overwritten, and the slots of keys that are removed."""
        slots = np.fromiter(self._slot_of.values(), dtype=np.int64, count=len(self._slot_of))
        lengths = self._lengths[slots].astype(np.int64)
        starts = self._starts[slots]
        block = memoryview(self._block)
        values = [block[start:end] for start, end in zip(starts.tolist(), (starts + lengths).tolist(), strict=True)]
        self._block = bytearray().join(values)
        ages, whole = self._ages[slots], self._whole[slots]
        self._slots, self._garbage = len(slots), 0
        for name in ("_starts", "_lengths", "_rooms", "_ages", "_whole", "_last"):
            setattr(self, name, np.zeros(len(slots), dtype=getattr(self, name).dtype))
        self._starts[:] = np.cumsum(lengths) - lengths
        self._lengths[:] = self._rooms[:] = lengths
        self._ages[:], self._whole[:] = ages, whole
        self._slot_of = dict(zip(self._slot_of, range(len(slots)), strict=True))
