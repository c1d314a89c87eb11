"""`last`: a number field of the latest event, or what the text of the latest event stands for.

Formula: `last = e.field` of the event with the largest `(time, field)`; missing without events that have the field.
With weights, `last = weights[e.text]`; missing if the latest event has another text.
Definition: docs/reference/policy/measures.md#statistics; `LAST_VALUE(field)` ordered by time, in SQL.

>>> measure = 'source = "surveys", stat = "last", field = "score", window = "90d"'
>>> value_of(measure, days_ago(3, score=9), days_ago(8, score=2))
9.0
>>> state = 'source = "billing", stat = "last", weights = { kind = { renewed = 100, payment_failed = 40 } }'
>>> events = [days_ago(300, kind="renewed"), days_ago(30, kind="payment_failed"), days_ago(2, kind="upgraded")]
>>> value_of(state, *events[:1]), value_of(state, *events[:2]), value_of(state, *events)
(100.0, 40.0, nan)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import MILLIONTHS, Rows
from stream.measures.base import AnyColumn, Need, latest_column
from stream.policy.policy import Measure


class Last:
    """`field`, or the weight of the text, of the latest event; among events of the same time, the largest value."""

    def needs(self, measure: Measure) -> list[Need]:
        """The time and the value of the latest event."""
        if measure.weights is not None:
            field, weights = measure.weights
            return [Need("latest", field, measure.where, weights)]
        return [Need("latest", measure.field, measure.where)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The value in the field's unit, float64 (k,); NaN when the latest event is older than the window."""
        return self._read(measure, columns, rows, measure.window.panes or None)

    def read_before_window(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The value of the latest event, at most `stale_after` old, float64 (k,), or NaN."""
        return self._read(measure, columns, rows, measure.reach)

    @staticmethod
    def _read(measure: Measure, columns: Sequence[AnyColumn], rows: Rows, window: int | None) -> NDArray[np.float64]:
        values = latest_column(columns[0]).read(rows, window)[1]
        # A text without a weight is kept as minus infinity.
        return values if measure.weights is None else np.where(np.isfinite(values), values / MILLIONTHS, np.nan)
