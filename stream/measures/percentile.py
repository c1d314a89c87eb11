"""`percentile`: a percentile of a number field, with a relative error of at most 5 %.

Formula: the smallest `e.field` such that at least `percent` percent of the events have it or a smaller one
(`PERCENTILE_DISC` of SQL), known up to its bucket; missing without events that have the field.
Definition: docs/reference/policy/measures.md#percentiles; the buckets are those of DDSketch (Masson et al., 2019).

>>> measure = 'source = "support-tickets", stat = "percentile", field = "first_response_s", window = "30d", percent = '
>>> answers = [days_ago(day, first_response_s=seconds) for day, seconds in enumerate((60, 100, 90, 4000))]
>>> [round(value_of(measure + str(percent), *answers), 1) for percent in (50, 75, 90)]
[85.8, 104.8, 3846.7]
>>> value_of(measure + "50")
nan
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import Rows
from stream.columns.histograms import HistogramColumn
from stream.measures.base import AnyColumn, Need
from stream.policy.policy import Measure


class Percentile:
    """The value that `percent` percent of the events do not exceed, from a histogram of each pane."""

    def needs(self, measure: Measure) -> list[Need]:
        """A histogram of the field."""
        return [Need("histogram", measure.field, measure.where)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The percentile in the field's unit, float64 (k,); NaN without events."""
        column = columns[0]
        assert isinstance(column, HistogramColumn)
        assert measure.percent is not None
        return column.percentile(rows, measure.window.panes, measure.percent)
