"""Pane arithmetic: the units of panes, the slots of a window in a ring.

A pane is a UTC hour or day, numbered from 1970. A ring of `n` slots has the newest `n` panes; pane `p` is in slot
`p % n`. Owns no state. Called by `stream.columns`, `stream.ingest` and `stream.engine`. The definitions are in
docs/reference/policy/measures.md#windows.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Unit = Literal["hour", "day"]
UNIT_MS: dict[Unit, int] = {"hour": 3_600_000, "day": 86_400_000}


def date_text(time_ms: int) -> str:
    """A time (epoch ms) for people: its UTC date, with the minute where it is not midnight.

    >>> date_text(86_400_000), date_text(90_000_000)
    ('1970-01-02', '1970-01-02 01:00 UTC')
    """
    shape = "%Y-%m-%d %H:%M UTC" if time_ms % UNIT_MS["day"] else "%Y-%m-%d"
    return datetime.fromtimestamp(time_ms / 1000, tz=UTC).strftime(shape)


def window_slots(newest: int, size: int, window: int) -> NDArray[np.int64]:
    """Slots of the `window` panes up to `newest` in a ring of `size` slots (window <= size), int64 (window,).

    >>> window_slots(20779, 30, 3).tolist()
    [17, 18, 19]
    """
    return np.arange(newest - window + 1, newest + 1, dtype=np.int64) % size


def window_runs(newest: int, size: int, window: int) -> list[slice]:
    """The same slots as one or two slices: an array of them would have to be picked out slot by slot.

    >>> window_runs(20779, 30, 3), window_runs(20781, 30, 3)
    ([slice(17, 20, None)], [slice(19, 22, None)])
    """
    first = (newest - window + 1) % size
    runs = [slice(first, min(first + window, size))]
    return runs if first + window <= size else [*runs, slice(0, first + window - size)]


def slots_passed(before: int, after: int, size: int) -> NDArray[np.int64]:
    """Slots to clear when the newest pane moves from `before` to `after`, int64, at most `size` of them."""
    first = max(before + 1, after - size + 1)
    return np.arange(first, after + 1, dtype=np.int64) % size


def panes_in_slots(newest: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """The pane that is in each slot of rings with `newest` (k,) panes, int64 (k, size)."""
    slots = np.arange(size, dtype=np.int64)
    column = newest[:, None]
    panes: NDArray[np.int64] = column - (column - slots) % size
    return panes
