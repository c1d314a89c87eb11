"""`nps`: the net promoter score of a number field on the scale from 0 to 10.

Formula: `nps = 100 * (|{e: e.field >= 9}| - |{e: e.field < 7}|) / |{e: e has field}|`, -100 to 100; missing without
such events. Definition: docs/reference/policy/measures.md#statistics; Reichheld, "The One Number You
Need to Grow", 2003.

>>> measure = 'source = "surveys", stat = "nps", field = "score", where = { kind = ["nps"] }, window = "90d"'
>>> value_of(measure, days_ago(1, score=10), days_ago(2, score=9), days_ago(3, score=8), days_ago(4, score=6))
25.0
>>> value_of(measure)
nan
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import Rows
from stream.measures.base import AnyColumn, Need, pane_column, ratio_of_totals, read_total
from stream.policy.filters import Condition, both
from stream.policy.policy import Measure

PROMOTERS_FROM = 9.0
DETRACTORS_BELOW = 7.0
_PERCENT = 100.0


class Nps:
    """Percent of promoters minus percent of detractors, over the events that have the field."""

    def needs(self, measure: Measure) -> list[Need]:
        """Count of promoters, of detractors, and of all events that have the field."""
        field = cast("str", measure.field)
        promoter: Condition = (field, "from", PROMOTERS_FROM)
        detractor: Condition = (field, "below", DETRACTORS_BELOW)
        extremes = [Need("count", None, both(measure.where, (condition,))) for condition in (promoter, detractor)]
        return [*extremes, Need("count", field, measure.where)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """-100 to 100, float64 (k,); NaN without events."""
        promoters, detractors, events = (read_total(column, rows, measure.window.panes) for column in columns)
        return ratio_of_totals(_PERCENT * (promoters - detractors), events)

    def read_before_window(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The net promoter score of the newest pane with events, float64 (k,), or NaN."""
        rings = [pane_column(column) for column in columns]
        ago = rings[2].last_pane(rows, measure.window.panes, measure.reach)
        promoters, detractors, events = (ring.read_pane(rows, ago) for ring in rings)
        return np.where(ago < 0, np.nan, ratio_of_totals(_PERCENT * (promoters - detractors), events))
