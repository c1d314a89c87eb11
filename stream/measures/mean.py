"""`mean`: the mean of a number field over the events of the window that have the field.

Formula: `mean = sum(e.field) / |{e: e has field}|`; missing without such events.
Definition: docs/reference/policy/measures.md#statistics; `AVG(field)` of SQL.

>>> measure = 'source = "surveys", stat = "mean", field = "score", window = "90d"'
>>> value_of(measure, days_ago(1, score=9), days_ago(2, score=6), days_ago(100, score=1))
7.5
>>> value_of(measure + ', missing = "hold", stale_after = "180d"', days_ago(100, score=1))
1.0
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import MILLIONTHS, Rows
from stream.measures.base import AnyColumn, Need, last_pane_before_window, pane_column, ratio_of_totals, read_total
from stream.policy.policy import Measure


class Mean:
    """The mean of `field` over the window."""

    def needs(self, measure: Measure) -> list[Need]:
        """A sum of the field, then the number of events that have it."""
        return [Need("sum", measure.field, measure.where), Need("count", measure.field, measure.where)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The mean in the field's unit, float64 (k,); NaN without events."""
        millionths, count = (read_total(column, rows, measure) for column in columns)
        return ratio_of_totals(millionths, count * MILLIONTHS)

    def read_before_window(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The mean of the newest pane with events, float64 (k,), or NaN."""
        total, count = map(pane_column, columns)
        ago = last_pane_before_window(count, rows, measure)
        mean = ratio_of_totals(total.read_pane(rows, ago), count.read_pane(rows, ago) * MILLIONTHS)
        return np.where(ago < 0, np.nan, mean)
