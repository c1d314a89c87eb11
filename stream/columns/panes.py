"""Pane arithmetic: which pane an instant lies in, which slot of a ring holds it, which panes a window covers.

A ring of `n` slots holds the newest `n` panes; pane `p` lies in slot `p % n`. Owns no state. Called by
`stream.columns.columns`, `stream.columns.members` and `stream.engine.engine`. Source of the definitions: the
contract's "Time and windows".
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Unit = Literal["hour", "day"]
UNIT_MS: dict[Unit, int] = {"hour": 3_600_000, "day": 86_400_000}


def pane_of(time_ms: int, unit: Unit) -> int:
    """The pane that holds an instant (epoch ms)."""
    return time_ms // UNIT_MS[unit]


def segment_of(time_ms: int, unit: Unit) -> int:
    """The number of the border at or after an instant: border `k` lies at `k * UNIT_MS[unit]`.

    An event exactly on a border belongs to the segment that the border ends, since the score at a border counts events
    that are not after it.
    """
    return -(-time_ms // UNIT_MS[unit])


def segments_of(times_ms: NDArray[np.int64], unit: Unit) -> NDArray[np.int64]:
    """`segment_of` for an array of instants, same shape."""
    segments: NDArray[np.int64] = -(-times_ms // UNIT_MS[unit])
    return segments


def window_slots(newest: int, size: int, window: int) -> NDArray[np.int64]:
    """Slots of the `window` panes up to `newest` in a ring of `size` slots (window <= size), shape (window,)."""
    return np.arange(newest - window + 1, newest + 1, dtype=np.int64) % size


def slots_passed(before: int, after: int, size: int) -> NDArray[np.int64]:
    """Slots to clear when the newest pane moves from `before` to `after`, at most `size` of them."""
    first = max(before + 1, after - size + 1)
    return np.arange(first, after + 1, dtype=np.int64) % size


def panes_in_slots(newest: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """The pane each slot holds for rings whose newest pane is given: shape (len(newest), size)."""
    slots = np.arange(size, dtype=np.int64)
    column = newest[:, None]
    panes: NDArray[np.int64] = column - (column - slots) % size
    return panes
