"""Make a failing plan smaller: take parts of its faults away as long as it still fails.

Owns the choice of what to try. Must not know what a fault is. Called by the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


def smallest(items: Sequence[T], fails: Callable[[tuple[T, ...]], bool], tries: int) -> tuple[T, ...]:
    """Return a small part of `items` that fails, by delta debugging, after at most so many tries.

    First without halves, then without quarters and so on, until no single item can be left out.
    """
    left, pieces = tuple(items), 2
    while left and tries > 0:
        size = -(-len(left) // pieces)
        for first in range(0, len(left), size):
            fewer = left[:first] + left[first + size :]
            if tries <= 0:
                break
            tries -= 1
            if fails(fewer):
                left, pieces = fewer, max(2, pieces - 1)
                break
        else:
            if size == 1:
                break
            pieces = min(len(left), 2 * pieces)
    return left
