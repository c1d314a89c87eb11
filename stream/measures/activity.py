"""`active`, `active_share`, `streak`: on how many days, or in how many weeks, there was an event.

The periods (`per`) are UTC days, or weeks from Monday to Sunday. Those of a window of `n` periods are the current one
and the `n - 1` before it if there was an event in the current one, else the `n` before it. So the value does not fall
when a new day begins.

Formula: `active = |{periods with an event}|`; `active_share = active / n`, 0 to 1; `streak` = the number of periods
with an event in a row, from the latest of them back. All are 0 without events.
Definition: docs/reference/policy/measures.md#activity; L28 of Facebook's growth accounting is `active` of `"28d"`.

>>> events = [days_ago(day) for day in (1, 2, 2, 5, 7)]
>>> value_of('source = "product-usage", stat = "active", window = "7d"', *events)
4.0
>>> value_of('source = "product-usage", stat = "active_share", window = "5d"', *events)
0.6
>>> value_of('source = "product-usage", stat = "streak", window = "7d"', *events)
2.0
>>> value_of('source = "product-usage", stat = "streak", per = "week", window = "28d"', *events)
2.0
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import Rows
from stream.measures.base import AnyColumn, Need, pane_column
from stream.policy.policy import Measure

DAYS_A_WEEK = 7
_MONDAY_OFFSET = 3
"""1970-01-01, the day of pane 0, is the third day after a Monday."""
_WEEK_HOURS = 168.0


class Activity:
    """The number of periods with an event, their share, or how many of them are in a row."""

    def __init__(self, how: Literal["active", "active_share", "streak"]) -> None:
        """`how` is the name of the statistic."""
        self.how = how

    def needs(self, measure: Measure) -> list[Need]:
        """A count of events: the column that `count` needs, too."""
        return [Need("count", None, measure.where)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """Periods, or 0 to 1 for the share, float64 (k,)."""
        column = pane_column(columns[0])
        assert column.newest is not None
        periods, in_window = column.filled(rows, measure.reach), measure.window.panes
        if measure.per_hours == _WEEK_HOURS:
            periods = _weeks(periods, (column.newest + _MONDAY_OFFSET) % DAYS_A_WEEK + 1, in_window)
            in_window //= DAYS_A_WEEK
        current, before = periods[:, 0], periods[:, 1:]
        if self.how == "streak":
            streak = current + np.cumprod(before, axis=1).sum(axis=1)
            return np.asarray(np.minimum(streak, in_window), dtype=np.float64)
        active = np.where(current, periods[:, :-1].sum(axis=1), before.sum(axis=1))
        return np.asarray(active / (in_window if self.how == "active_share" else 1), dtype=np.float64)


def _weeks(days: NDArray[np.bool_], days_of_current: int, window: int) -> NDArray[np.bool_]:
    """Whether each week has an active day, bool (k, weeks + 1), from days (k, n), all of them newest first."""
    current, before = days[:, :days_of_current], days[:, days_of_current : days_of_current + window]
    weeks = before.reshape(len(days), window // DAYS_A_WEEK, DAYS_A_WEEK).any(axis=2)
    return np.column_stack((current.any(axis=1), weeks))
