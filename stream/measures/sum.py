"""`sum`: the sum of a number field over the events of the window.

Formula: `sum = sum(e.field)`, in millionths of the field's unit, so that order does not matter; 0 without events.
Definition: docs/reference/policy/measures.md#statistics; `SUM(field)` of SQL.

>>> measure = 'source = "billing", stat = "sum", field = "amount", window = "30d"'
>>> value_of(measure, days_ago(0, amount=9.5), days_ago(29, amount=1))
10.5
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import MILLIONTHS, Rows
from stream.measures.base import AnyColumn, Need, read_total
from stream.policy.policy import Measure


class Sum:
    """The sum of `field` over the window."""

    def needs(self, measure: Measure) -> list[Need]:
        """A sum of the field."""
        return [Need("sum", measure.field, measure.where)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The total of the window in the field's unit, float64 (k,)."""
        return read_total(columns[0], rows, measure) / MILLIONTHS
