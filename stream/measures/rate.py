"""`rate`: the number of events per hour, day or week.

Formula: `rate = count * per_hours / hours in the window`, where `per_hours` is 1, 24 or 168; 0 without events. A
week of a window in business days has as many days as the calendar has business days in a week. The window has complete
panes only, so that the beginning of a day does not lower the rate.
Definition: docs/reference/policy/measures.md#statistics; an average rate over the window, like `rate()` of Prometheus.

>>> measure = 'source = "product-usage", stat = "rate", window = "4d", per = "day"'
>>> value_of(measure, days_ago(0), days_ago(1), days_ago(4))
0.5
>>> value_of('source = "product-usage", stat = "rate", window = "14d", per = "week"', days_ago(1), days_ago(14))
1.0
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import MILLIONTHS, Rows
from stream.columns.panes import UNIT_MS
from stream.measures.base import AnyColumn, Need, counted_days, read_total
from stream.policy.policy import Measure


class Rate:
    """The count of the window (with `field`, the sum) divided by the window's length in hours, days or weeks."""

    def needs(self, measure: Measure) -> list[Need]:
        """A count of events, or a sum of the field: the column that `count` needs, too."""
        return [Need("count" if measure.field is None else "sum", measure.field, measure.where)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """Events per hour, day or week, float64 (k,)."""
        assert measure.per_hours is not None
        counted = measure.window.counted is not None
        panes = len(counted_days(columns[0], measure)) if counted else measure.window.panes
        hours = panes * UNIT_MS[measure.window.pane] // UNIT_MS["hour"]
        total = read_total(columns[0], rows, measure)
        # One division of whole numbers, so that a rate of exactly 0.1 is 0.1 to a tier.
        return total * measure.per_hours / (hours if measure.field is None else hours * MILLIONTHS)
