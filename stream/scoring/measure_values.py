"""Measure values: the value of every measure of a plan, read from the columns of many accounts at once.

Owns what a measure consists of: its statistic over the window, a comparison with the past, or an older value where
`missing = "hold"` allows it; and arithmetic over other measures. Comparison among peers comes after it, in
`stream.scoring.peers`. Pure; called by `stream.engine.scorer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import MILLIONTHS, Rows
from stream.columns.facts import FactColumn
from stream.measures import FallbackStat, formula
from stream.measures.base import AnyColumn, pane_column
from stream.measures.comparison import change_in_percent, percentile_in_past, z_in_past
from stream.plan.derived import MeasurePlan
from stream.plan.plan import Plan
from stream.plan.segments import in_range

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


def measure_values(
    plan: Plan, columns: Sequence[AnyColumn], rows: Rows, selected: Sequence[int] | None = None
) -> Matrix:
    """The values for rows (k,), float64 (k, m + q), of the m measures and the q profile inputs; NaN where missing.

    Of `selected` measures (indexes) only, the others NaN; None: of all.
    """
    plans = plan.value_plans
    values = np.empty((len(plans), len(rows))).T  # the values of one measure lie side by side
    if selected is not None:
        values[:] = np.nan
    derived = _Derived(columns, rows)
    for index in range(len(plans)) if selected is None else selected:
        measure_plan = plans[index]
        if measure_plan.is_plain:
            own = [columns[column] for column in measure_plan.columns]
            values[:, index] = measure_plan.stat.read(measure_plan.measure, own, rows)
        elif measure_plan.inputs:
            values[:, index] = derived.value(measure_plan)
        else:
            values[:, index] = _value(measure_plan, columns, rows)
    return values


class _Derived:
    """Derived measures of rows (k,): arithmetic over inputs, each of which is read once."""

    def __init__(self, columns: Sequence[AnyColumn], rows: Rows) -> None:
        self._columns, self._rows = columns, rows
        self._values: dict[int, Vector] = {}  # by `id`: plans are as long-lived as the plan of the policy
        self._pairs: dict[int, tuple[Vector, Vector]] = {}

    def value(self, plan: MeasurePlan) -> Vector:
        """The value of a measure, float64 (k,); NaN where it is missing."""
        if id(plan) not in self._values:
            self._values[id(plan)] = self._compute(plan)
        return self._values[id(plan)]

    def _compute(self, plan: MeasurePlan) -> Vector:
        if plan.measure.formula is None:
            return _value(plan, self._columns, self._rows)
        if plan.measure.compare is not None:
            return formula.change_in_percent(*self._pair(plan))
        value = formula.evaluate(plan.measure.formula, {name: self.value(each) for name, each in plan.inputs})
        return _where_it_applies(plan, self._columns, self._rows, value)

    def _pair(self, plan: MeasurePlan) -> tuple[Vector, Vector]:
        """The value over the window and over the previous one, each float64 (k,), before they are compared."""
        if id(plan) not in self._pairs:
            now, before = self._compute_pair(plan)
            now = _where_it_applies(plan, self._columns, self._rows, now)
            self._pairs[id(plan)] = now, before
        return self._pairs[id(plan)]

    def _compute_pair(self, plan: MeasurePlan) -> tuple[Vector, Vector]:
        measure = plan.measure
        if measure.formula is not None:
            pairs = {name: self._pair(each) for name, each in plan.inputs}
            now, before = ({name: pair[side] for name, pair in pairs.items()} for side in (0, 1))
            return formula.evaluate(measure.formula, now), formula.evaluate(measure.formula, before)
        stat, columns = plan.stat, [self._columns[column] for column in plan.columns]
        value = stat.read(measure, columns, self._rows)
        if plan.with_previous_window is None:
            return value, value  # of the profile, which has no history
        both = stat.read(plan.with_previous_window, columns, self._rows)
        return value, (np.rint(both * MILLIONTHS) - np.rint(value * MILLIONTHS)) / MILLIONTHS


def _value(measure_plan: MeasurePlan, columns: Sequence[AnyColumn], rows: Rows) -> Vector:
    own = [columns[column] for column in measure_plan.columns]
    return _where_it_applies(measure_plan, columns, rows, _value_of_all(measure_plan, own, rows))


def _where_it_applies(plan: MeasurePlan, columns: Sequence[AnyColumn], rows: Rows, values: Vector) -> Vector:
    """The values (k,) of accounts that the measure's `when` holds for; NaN for the others."""
    for index, bound in plan.applies:
        column = columns[index]
        assert isinstance(column, FactColumn)
        assert column.newest is not None
        numbers = column.values[rows]
        holds = ~np.isnan(numbers) if bound is None else in_range(bound, numbers, column.newest)
        values = np.where(holds, values, np.nan)
    return values


def _value_of_all(measure_plan: MeasurePlan, columns: Sequence[AnyColumn], rows: Rows) -> Vector:
    """The values of all accounts, whatever the measure's `when` says; `columns` are the measure's own."""
    measure = measure_plan.measure
    if measure.history is not None:
        totals = pane_column(columns[0]).read_blocks(rows, measure.window.panes, measure.blocks, measure.skip)
        return percentile_in_past(totals) if measure.compare == "percentile" else z_in_past(totals)
    stat = measure_plan.stat
    values = stat.read(measure, columns, rows)
    if measure_plan.with_previous_window is not None:
        return change_in_percent(values, stat.read(measure_plan.with_previous_window, columns, rows))
    if measure.stale_after is not None:
        missing = np.flatnonzero(np.isnan(values))
        if missing.size:
            values[missing] = cast("FallbackStat", stat).read_before_window(measure, columns, rows[missing])
    return values
