"""`share`: the share of events that pass a second filter, `of`, among those that pass `where`.

Formula: `share = |{e: where and of}| / |{e: where}|`, 0 to 1; missing without events.
Definition: docs/reference/policy/measures.md#statistics; a proportion, as `AVG(CASE WHEN of THEN 1 ELSE 0 END)` of SQL.

>>> measure = 'source = "support-tickets", stat = "share", window = "30d", of = { priority = ["urgent"] }'
>>> value_of(measure, days_ago(1, priority="urgent"), days_ago(2), days_ago(3), days_ago(4))
0.25
>>> value_of(measure)
nan
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import Rows
from stream.measures.base import AnyColumn, Need, pane_column, ratio_of_totals, read_total
from stream.policy.filters import both
from stream.policy.policy import Measure


class Share:
    """The share of the window's events that also pass `of`."""

    def needs(self, measure: Measure) -> list[Need]:
        """Count of the numerator, then of the denominator."""
        return [Need("count", None, both(measure.where, measure.of)), Need("count", None, measure.where)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """0 to 1, float64 (k,); NaN without events."""
        matching, events = (read_total(column, rows, measure.window.panes) for column in columns)
        return ratio_of_totals(matching, events)

    def read_before_window(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The share in the newest pane with events, float64 (k,), or NaN."""
        matching, events = map(pane_column, columns)
        ago = events.last_pane(rows, measure.window.panes, measure.reach)
        return np.where(ago < 0, np.nan, ratio_of_totals(matching.read_pane(rows, ago), events.read_pane(rows, ago)))
