"""`count`: the number of events, or the sum of a usage event's own `count` field.

Formula: `count = |{e in window}|`, with `field` `count = sum(e.field)`; 0 without events.
Definition: docs/reference/policy/measures.md#statistics; `COUNT(*)` and `SUM(field)` of SQL.

>>> value_of('source = "product-usage", stat = "count", window = "7d"', days_ago(0), days_ago(6), days_ago(7))
2.0
>>> value_of('source = "product-usage", stat = "count", field = "count", window = "7d"', days_ago(1, count=12))
12.0
>>> complete = 'source = "product-usage", stat = "count", window = "7d", complete = true'
>>> value_of(complete, days_ago(0), days_ago(1), days_ago(7), days_ago(8))
2.0
>>> at_least = 'source = "product-usage", stat = "count", window = "7d", complete = "at-least"'
>>> value_of(at_least, days_ago(0), days_ago(1), days_ago(7)), value_of(at_least, days_ago(0), days_ago(0), days_ago(7))
(2.0, 2.0)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import MILLIONTHS, Rows
from stream.measures.base import AnyColumn, Need, read_total
from stream.policy.policy import Measure


class Count:
    """The number of events in the window, or the sum of `field` over them."""

    def needs(self, measure: Measure) -> list[Need]:
        """A count of events, or a sum of the field."""
        return [Need("count" if measure.field is None else "sum", measure.field, measure.where)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The total of the window, float64 (k,)."""
        total = read_total(columns[0], rows, measure)
        return total if measure.field is None else total / MILLIONTHS
