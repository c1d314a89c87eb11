"""Measure values: the value of every measure of a plan, read from the columns of many accounts at once.

Owns what a measure consists of: its statistic over the window, a comparison with the past, or an older value where
`missing = "hold"` allows it. Comparison among peers comes after it, in `stream.scoring.peers`. Pure; called by
`stream.engine.scorer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import Rows
from stream.measures import STATS, FallbackStat
from stream.measures.base import AnyColumn, pane_column
from stream.measures.comparison import change_in_percent, percentile_in_past, z_in_past
from stream.plan.plan import MeasurePlan, Plan

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


def measure_values(plan: Plan, columns: Sequence[AnyColumn], rows: Rows) -> Matrix:
    """The value of each of the m measures for rows (k,), float64 (k, m); NaN where a measure is missing."""
    values = np.empty((len(rows), len(plan.measures)))
    for index, measure_plan in enumerate(plan.measures):
        values[:, index] = _value(measure_plan, [columns[column] for column in measure_plan.columns], rows)
    return values


def _value(measure_plan: MeasurePlan, columns: Sequence[AnyColumn], rows: Rows) -> Vector:
    measure = measure_plan.measure
    if measure.history is not None:
        totals = pane_column(columns[0]).read_blocks(rows, measure.window.panes, measure.blocks, measure.skip)
        return percentile_in_past(totals) if measure.compare == "percentile" else z_in_past(totals)
    stat = STATS[measure.stat]
    values = stat.read(measure, columns, rows)
    if measure_plan.with_previous_window is not None:
        return change_in_percent(values, stat.read(measure_plan.with_previous_window, columns, rows))
    if measure.stale_after is not None:
        missing = np.flatnonzero(np.isnan(values))
        if missing.size:
            values[missing] = cast("FallbackStat", stat).read_before_window(measure, columns, rows[missing])
    return values
