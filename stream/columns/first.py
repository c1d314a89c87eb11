"""The first event of each row, by time: a column for `days_to_first`.

Called by `stream.ingest.aggregation` (aggregate), `stream.measures.days_to_first` (read) and
`stream.accounts.row_codec` (save, load). Late events may only make it earlier.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import NEVER, LatestColumn, Rows


class FirstColumn(LatestColumn):
    """The time (epoch ms) of the first event of each row; where there is none, `NEVER`."""

    def fields(self) -> list[tuple[str, np.dtype[Any], tuple[int, ...]]]:
        """One changelog field: the time."""
        return [(self.name + "/time", np.dtype(np.int64), ())]

    def aggregate(self, rows: Rows, times: NDArray[np.int64], amounts: NDArray[np.float64] | None) -> None:
        """Keep the earliest time of each row; rows and times (epoch ms) are (k,)."""
        del amounts
        order = np.lexsort((times, rows))
        first = np.append(True, rows[order][1:] != rows[order][:-1])[: len(rows)]
        rows, times = rows[order][first], times[order][first]
        earlier = (self.times[rows] == NEVER) | (times < self.times[rows])
        self.times[rows[earlier]] = times[earlier]

    def days(self, rows: Rows) -> NDArray[np.float64]:
        """The day of the first event, counted from 1970, float64 (k,); NaN without."""
        times = self.times[rows]
        return np.where(times == NEVER, np.nan, self.calendar.panes_of(times, "day"))

    def load(self, rows: Rows, record: NDArray[np.void], as_of_ms: NDArray[np.int64]) -> None:
        """Fill rows from the saved times of `record` (k,)."""
        del as_of_ms
        if self.name + "/time" in (record.dtype.names or ()):
            self.times[rows] = record[self.name + "/time"]

    def save(self, rows: Rows, record: NDArray[np.void]) -> None:
        """Copy the times of rows into the field of `record` (k,)."""
        record[self.name + "/time"] = self.times[rows]
