"""`days_since_last`: the number of UTC days since the latest event in the window.

Formula: `days_since_last = day(as_of) - day(latest event)`; missing without events. With `complete = true` the number
of complete days in between: `max(day(as_of) - day(latest event) - 1, 0)`.
Definition: docs/reference/policy/measures.md#statistics; the recency of RFM analysis.

>>> value_of('source = "product-usage", stat = "days_since_last", window = "30d"', days_ago(4), days_ago(12))
4.0
>>> complete = 'source = "product-usage", stat = "days_since_last", window = "30d", complete = true'
>>> value_of(complete, days_ago(4)), value_of(complete, days_ago(1)), value_of(complete, days_ago(0))
(3.0, 0.0, 0.0)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import Rows
from stream.measures.base import AnyColumn, Need, latest_column
from stream.policy.policy import Measure


class DaysSinceLast:
    """UTC days from the latest event to the time of the score."""

    def needs(self, measure: Measure) -> list[Need]:
        """The time of the latest event."""
        return [Need("latest", None, measure.where)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """Days, float64 (k,); NaN when the latest event is older than the window."""
        days = latest_column(columns[0]).read(rows, measure.window.panes + measure.skip)[0]
        return np.maximum(days - measure.skip, 0.0)
