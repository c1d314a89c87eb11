"""How much: sum and mean of a number field."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import MILLIONTHS, Rows
from stream.measures.base import AnyColumn, Need, pane_column
from stream.policy.policy import Measure


class Sum:
    """Sum of a field over the window."""

    def needs(self, measure: Measure) -> list[Need]:
        """A sum."""
        return [Need("sum", measure.field, measure.where)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The window's total, in the field's unit."""
        return pane_column(columns[0]).read(rows, measure.window.panes) / MILLIONTHS


class Mean:
    """Mean of a field over the events that have it; none, no value."""

    def needs(self, measure: Measure) -> list[Need]:
        """Sum, then how many events have the field."""
        return [Need("sum", measure.field, measure.where), Need("count", measure.field, measure.where)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The window's mean, NaN without events."""
        total, count = (pane_column(column).read(rows, measure.window.panes) for column in columns)
        return _mean(total, count)

    def held(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The mean of the last pane with events."""
        total, count = map(pane_column, columns)
        ago = count.last_pane(rows, measure.window.panes, measure.reach)
        return np.where(ago < 0, np.nan, _mean(total.read_pane(rows, ago), count.read_pane(rows, ago)))


def _mean(total: NDArray[np.float64], count: NDArray[np.float64]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.divide(total, count * MILLIONTHS, out=np.full(len(total), np.nan), where=count > 0)
    return mean
