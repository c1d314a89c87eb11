"""`min` and `max`: the smallest and the largest value of a number field in the window.

Formula: `min = min(e.field)`, `max = max(e.field)`; missing without events that have the field.
Definition: docs/reference/policy/measures.md#statistics; `MIN(field)` and `MAX(field)` of SQL.

>>> events = [days_ago(1, days_late=3), days_ago(5, days_late=14), days_ago(30, days_late=60)]
>>> value_of('source = "billing", stat = "max", field = "days_late", window = "30d"', *events)
14.0
>>> value_of('source = "billing", stat = "min", field = "days_late", window = "30d"', *events)
3.0
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import Rows
from stream.measures.base import AnyColumn, Need, last_pane_before_window, pane_column, read_total
from stream.policy.policy import Measure


class MinMax:
    """The smallest or the largest `field` of the window."""

    def __init__(self, kind: Literal["min", "max"]) -> None:
        """`kind` says which of the two."""
        self.kind = kind

    def needs(self, measure: Measure) -> list[Need]:
        """A ring of minima or maxima of the field."""
        return [Need(self.kind, measure.field, measure.where)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The minimum or maximum in the field's unit, float64 (k,); NaN without events."""
        value = read_total(columns[0], rows, measure)
        return np.where(np.isfinite(value), value, np.nan)

    def read_before_window(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The minimum or maximum of the newest pane with events, float64 (k,), or NaN."""
        column = pane_column(columns[0])
        ago = last_pane_before_window(column, rows, measure)
        return np.where(ago < 0, np.nan, column.read_pane(rows, ago))
