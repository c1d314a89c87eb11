"""How many: count, rate, share of events, weighted count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import MILLIONTHS, Rows
from stream.columns.panes import UNIT_MS
from stream.measures.base import AnyColumn, Need, pane_column
from stream.policy.policy import Measure


class Count:
    """Number of events, or the sum of a usage event's own `count`."""

    def needs(self, measure: Measure) -> list[Need]:
        """A count of events, or a sum of the field."""
        return [Need("count" if measure.field is None else "sum", measure.field, measure.where)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The window's total."""
        total = pane_column(columns[0]).read(rows, measure.window.panes)
        return total if measure.field is None else total / MILLIONTHS


class Rate(Count):
    """Count divided by how many hours, days or weeks the window has."""

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """Events per hour, day or week."""
        assert measure.per_hours is not None
        hours = measure.window.panes * UNIT_MS[measure.window.unit] // UNIT_MS["hour"]
        total = pane_column(columns[0]).read(rows, measure.window.panes)
        # One division of whole numbers, so that a rate of exactly 0.1 is 0.1 to a tier.
        return total * measure.per_hours / (hours if measure.field is None else hours * MILLIONTHS)


class Share:
    """Part of the events that also pass `of`; no events, no value."""

    def needs(self, measure: Measure) -> list[Need]:
        """Numerator, then denominator."""
        return [Need("count", None, tuple(sorted((*measure.where, *measure.of)))), Need("count", None, measure.where)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """0..1, NaN without events."""
        part, whole = (pane_column(column).read(rows, measure.window.panes) for column in columns)
        return _ratio(part, whole)

    def held(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The share in the last pane with events."""
        part, whole = map(pane_column, columns)
        ago = whole.last_pane(rows, measure.window.panes, measure.reach)
        return np.where(ago < 0, np.nan, _ratio(part.read_pane(rows, ago), whole.read_pane(rows, ago)))


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return ratio


class WeightedCount:
    """Sum of a weight for each event, by the value of one of its text fields."""

    def needs(self, measure: Measure) -> list[Need]:
        """A sum of weights."""
        assert measure.weights is not None
        field, weights = measure.weights
        return [Need("sum", field, measure.where, weights)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The window's total weight."""
        return pane_column(columns[0]).read(rows, measure.window.panes) / MILLIONTHS
