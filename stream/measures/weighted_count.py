"""`weighted_count`: the number of events, each counted with the weight of one of its text fields.

Formula: `weighted_count = sum(weights[e.field])`, where a value without a weight counts 0; 0 without events.
Definition: docs/reference/policy/measures.md#statistics.

>>> measure = 'source = "support-tickets", stat = "weighted_count", window = "30d"'
>>> measure += ', weights = { priority = { low = 0.5, urgent = 4 } }'
>>> value_of(measure, days_ago(1, priority="urgent"), days_ago(2, priority="low"), days_ago(3, priority="high"))
4.5
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import MILLIONTHS, Rows
from stream.measures.base import AnyColumn, Need, read_total
from stream.policy.policy import Measure


class WeightedCount:
    """The sum of the weights of the window's events."""

    def needs(self, measure: Measure) -> list[Need]:
        """A sum of weights."""
        assert measure.weights is not None
        field, weights = measure.weights
        return [Need("sum", field, measure.where, weights)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The total weight of the window, float64 (k,)."""
        return read_total(columns[0], rows, measure) / MILLIONTHS
