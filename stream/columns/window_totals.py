"""Running totals of windows over a ring of panes: reading a window costs the same whatever its length.

Owns, for each window that was read of a column, one total a row, and keeps it as events are added and panes come and
go. Totals are integers, so they are exactly what adding up the panes gives. Called by `stream.columns.columns`, which
owns the panes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.columns.growth import stretch
from stream.columns.panes import window_runs, window_slots


class WindowTotals:
    """The totals of all windows of one ring that were read, int64 (rows,) each, in the ring's own unit."""

    def __init__(self) -> None:
        """No window yet."""
        self._totals: dict[tuple[int, int], NDArray[np.int64]] = {}

    def read(
        self, values: NDArray[Any], newest: int, window: int, skip: int, rows: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Totals of rows (k,) over `window` panes, the last ones of `values` but for the newest `skip`, int64 (k,)."""
        total = self._totals.get((window, skip))
        if total is None:
            runs = window_runs(newest - skip, values.shape[1], window)
            total = np.add.reduce([values[:, run].sum(axis=1, dtype=np.int64) for run in runs])
            self._totals[window, skip] = total
        selected: NDArray[np.int64] = total[rows]
        return selected

    def add(self, rows: NDArray[np.int64], ago: NDArray[np.int64], amounts: NDArray[np.int64] | None) -> None:
        """Add events to panes that are `ago` (k,) before the newest; without amounts each counts 1."""
        for (window, skip), total in self._totals.items():
            inside = ago < window + skip
            if skip:
                inside &= ago >= skip
            if np.count_nonzero(inside) == len(inside):
                np.add.at(total, rows, 1 if amounts is None else amounts)
            else:
                np.add.at(total, rows[inside], 1 if amounts is None else amounts[inside])

    def advance(self, values: NDArray[Any], before: int, after: int) -> None:
        """Move on from the newest pane `before` to `after`; `values` still have the panes that leave the ring."""
        size = values.shape[1]
        for (window, skip), total in self._totals.items():
            end = before - skip
            leaving = np.arange(end - window + 1, min(after - skip - window, end) + 1, dtype=np.int64)
            np.subtract(total, values[:, leaving % size].sum(axis=1, dtype=np.int64), out=total)
            if skip:
                entering = np.arange(max(end, after - skip - window) + 1, min(after - skip, before) + 1, dtype=np.int64)
                np.add(total, values[:, entering % size].sum(axis=1, dtype=np.int64), out=total)

    def multiply(self, factor: int) -> None:
        """Change the unit: all totals become `factor` times as large."""
        for total in self._totals.values():
            np.multiply(total, factor, out=total)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows; new ones are empty."""
        for key, total in self._totals.items():
            self._totals[key] = stretch(total, capacity, 0)

    def update_row(self, row: int, values: NDArray[Any], newest: int | None) -> None:
        """Add up the panes of a row anew."""
        for (window, skip), total in self._totals.items():
            assert newest is not None, "a window was read"
            total[row] = values[row, window_slots(newest - skip, values.shape[1], window)].sum(dtype=np.int64)

    def forget(self) -> None:
        """Forget all windows; those that are read again are added up then."""
        self._totals.clear()

    def nbytes(self) -> int:
        """Bytes of memory of the arrays."""
        return sum(total.nbytes for total in self._totals.values())
