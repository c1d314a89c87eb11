"""`last`: a number field of the latest event in the window.

Formula: `last = e.field` of the event with the largest `(time, field)`; missing without events that have the field.
Definition: docs/reference/policy/measures.md#statistics; `LAST_VALUE(field)` ordered by time, in SQL.

>>> measure = 'source = "surveys", stat = "last", field = "score", window = "90d"'
>>> value_of(measure, days_ago(3, score=9), days_ago(8, score=2))
9.0
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import Rows
from stream.measures.base import AnyColumn, Need, latest_column
from stream.policy.policy import Measure


class Last:
    """`field` of the latest event by time; among events of the same time, the largest value."""

    def needs(self, measure: Measure) -> list[Need]:
        """The time and the field of the latest event."""
        return [Need("latest", measure.field, measure.where)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The value in the field's unit, float64 (k,); NaN when the latest event is older than the window."""
        return latest_column(columns[0]).read(rows, measure.window.panes)[1]

    def read_before_window(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The value of the latest event, at most `stale_after` old, float64 (k,), or NaN."""
        return latest_column(columns[0]).read(rows, measure.reach)[1]
