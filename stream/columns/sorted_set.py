"""The distinct numbers of an array, by sorting: several times as fast as `numpy.unique`, which hashes them first.

Pure. Called where every step has some thousand row numbers: `stream.engine.engine` and `stream.columns`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sorted_set(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The distinct numbers of an array (k,), ascending, int64.

    >>> sorted_set(np.array([3, 1, 3, 2, 1])).tolist()
    [1, 2, 3]
    """
    if len(numbers) <= 1:
        return numbers
    ascending = np.sort(numbers)
    distinct: NDArray[np.int64] = ascending[begins_of(ascending)]
    return distinct


def slice_of(indexes: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """The indexes as a slice where they are consecutive: with one, numpy reads and writes without a copy.

    >>> slice_of(np.array([2, 3, 4])), slice_of(np.array([2, 4]))
    (slice(2, 5, None), array([2, 4]))
    """
    count = len(indexes)
    is_run = count > 0 and np.array_equal(indexes, np.arange(indexes[0], indexes[0] + count))
    return slice(int(indexes[0]), int(indexes[0]) + count) if is_run else indexes


def begins_of(ascending: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where in an ascending array (k,) another number begins, bool (k,).

    >>> begins_of(np.array([1, 1, 2, 3, 3])).tolist()
    [True, False, True, True, False]
    """
    begins = np.ones(len(ascending), dtype=np.bool_)
    np.not_equal(ascending[1:], ascending[:-1], out=begins[1:])
    return begins
