"""Listings: keys of one kind of changelog records, and what of their values a restore reads.

Owns what is asked of them, however the values are stored; `stream.recovery.newest` and `stream.recovery.newest_native`
make them. Pure.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Listing(ABC):
    """Keys and their values, in the order in which the keys came. It holds until the next record is added."""

    lengths: Ints
    """Length of each value, int64 (k,)."""

    def __len__(self) -> int:
        """Number of keys."""
        return len(self.lengths)

    @abstractmethod
    def key(self, index: int) -> bytes:
        """One of the keys."""

    @abstractmethod
    def key_heads(self, width: int) -> NDArray[np.void]:
        """The first `width` bytes of each key, void (k,); all keys are as long at least."""

    @abstractmethod
    def names(self, skip: int) -> list[str]:
        """The text that follows the first `skip` bytes of each key."""

    @abstractmethod
    def heads(self, width: int, begin: int = 0, end: int | None = None) -> NDArray[np.void]:
        """The first `width` bytes, at least one, of the values from index `begin` up to before `end`, void (k,).

        These values are as long at least.
        """

    @abstractmethod
    def tails(self, width: int, indexes: Ints | None = None) -> list[bytes]:
        """What follows the first `width` bytes of each value, or of those at `indexes`."""

    @abstractmethod
    def select(self, chosen: NDArray[np.bool_]) -> Self:
        """Only the keys that are `chosen` (k,)."""

    def value(self, index: int) -> bytes:
        """The value of a key."""
        return self.tails(0, np.array([index]))[0]
