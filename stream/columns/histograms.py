"""Histograms of a number field: for each account and pane, how many events lie in each of a fixed set of buckets.

Owns the buckets and the error that they cause. A histogram is a ring of counts with one more axis, so it is merged,
saved and restored as counts are, and does not depend on the order of events. Called by `stream.plan.plan` (build),
`stream.ingest.aggregation` (aggregate) and `stream.measures.percentile` (read).

Bucket 0 has numbers below `SMALLEST`, read as 0. Bucket `i` has those from `SMALLEST * GROWTH ** (i - 1)`, and the last
one all that are larger. A number in a bucket is at most `RELATIVE_ERROR` from the value that stands for the bucket.
Source: Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees",
2019.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.columns.calendar import UTC_DAYS, Calendar
from stream.columns.columns import PaneColumn, Rows
from stream.columns.panes import Unit, window_slots

RELATIVE_ERROR = 0.05
SMALLEST = 0.1
LARGEST = 1e8
GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_PERCENT = 100

_BOUNDS = SMALLEST * GROWTH ** np.arange(int(np.ceil(np.log(LARGEST / SMALLEST) / np.log(GROWTH))))
"""The lower bound of every bucket from 1 on."""
BUCKETS = len(_BOUNDS) + 1
_VALUES = np.concatenate(([0.0], _BOUNDS * (1 + RELATIVE_ERROR)))
"""The value that stands for each bucket: as far, in proportion, from its lower bound as from its upper one."""


class HistogramColumn(PaneColumn):
    """A ring of panes for each row, each with a count of events in every bucket."""

    def __init__(self, name: str, unit: Unit, panes: int, calendar: Calendar = UTC_DAYS) -> None:
        """`panes` is the number of slots."""
        super().__init__(name, unit, panes, "count", calendar)
        self.values: NDArray[Any] = np.zeros((0, panes, BUCKETS), dtype=self.values.dtype)

    def slots(self, rows: Rows, panes: NDArray[np.int64], amounts: NDArray[np.float64] | None) -> NDArray[np.int64]:
        """The index of the count of each event in the flat values, int64 (k,)."""
        assert amounts is not None, "a histogram has amounts"
        buckets = np.searchsorted(_BOUNDS, amounts, side="right")
        return np.asarray(super().slots(rows, panes, None) * BUCKETS + buckets, dtype=np.int64)

    def percentile(self, rows: Rows, window: int, percent: int) -> NDArray[np.float64]:
        """The value that stands for the bucket of a percentile in the last `window` panes, float64 (k,); NaN without.

        It is the bucket of the smallest number that at least `percent` (1 to 99) percent of the numbers do not exceed.
        """
        assert self.newest is not None
        counts = self.values[rows][:, window_slots(self.newest, self.panes, window)].sum(axis=1, dtype=np.int64)
        upto = counts.cumsum(axis=1)
        total = upto[:, -1]
        rank = -(-percent * total // _PERCENT)
        return np.where(total > 0, _VALUES[(upto >= rank[:, None]).argmax(axis=1)], np.nan)

    def excerpt(self, rows: Rows) -> HistogramColumn:
        """A copy with only `rows`, renumbered from 0, to advance and read without changing this column."""
        copy = HistogramColumn(self.name, self.unit, self.panes, self.calendar)
        copy.newest, copy.values = self.newest, self.values[rows]
        return copy
