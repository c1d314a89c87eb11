"""Growth of arrays that have one entry for each row, member or thing.

Pure. Called by `stream.columns` and `stream.accounts`.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)


def stretch(array: NDArray[T], size: int, fill: float) -> NDArray[T]:
    """A longer copy of an array (n, ...), filled up to `size`.

    Room that is filled with zeros takes no memory until something is written there.
    """
    shape = (size, *array.shape[1:])
    grown = np.full(shape, fill, dtype=array.dtype) if fill else np.zeros(shape, dtype=array.dtype)
    grown[: len(array)] = array
    return grown
