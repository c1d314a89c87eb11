"""Silent accounts: what measures were at the account's last event, and the worse of then and now.

Owns the rule of docs/reference/policy/status.md#while-an-account-is-silent. From the second day without an event on,
a measure counts as at the midnight that ended the day of the account's last event, if it has more points now, or is
missing now. Nothing is stored for this: columns keep the panes of those windows (`stream.plan.silence`). Pure; called
by `stream.engine.scorer` and `stream.scoring.scoring`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import PaneColumn, Rows
from stream.columns.facts import FactColumn
from stream.columns.things import Things
from stream.measures.base import AnyColumn
from stream.plan.plan import Plan
from stream.scoring.measure_values import measure_values

Matrix = NDArray[np.float64]


class AtLastEvent(NamedTuple):
    """Measure values of silent accounts at the end of the day of their last event.

    `indexes` (j,) say which of k accounts they are of, `values` (j, m + q) are as those of `measure_values`; NaN for
    measures that silence cannot improve.
    """

    indexes: NDArray[np.int64]
    values: Matrix


def at_last_event(
    plan: Plan, columns: Sequence[AnyColumn], rows: Rows, life_ms: NDArray[np.int64], as_of_ms: int
) -> AtLastEvent | None:
    """The values of the silent accounts among rows (k,), whose last events are `life_ms` (k,); None if none is silent.

    An account without an event for `dormant_days` has no data, and is left out.
    """
    if not plan.improved_by_silence:
        return None
    calendar, today = plan.calendar, plan.calendar.pane_of(as_of_ms, "day")
    first, end = (calendar.start_ms(day, "day") for day in (today - plan.dormant_days + 1, today - 1))
    indexes = (life_ms < end).nonzero()[0]
    if len(indexes):
        indexes = indexes[life_ms[indexes] >= first]
    if not len(indexes):
        return None
    days = calendar.panes_of(life_ms[indexes], "day")
    values = np.empty((len(indexes), len(plan.measures) + len(plan.profile_inputs)))
    for day in np.unique(days).tolist():
        inside = np.flatnonzero(days == day)
        columns_then = _as_of(columns, plan.silence_columns, calendar.start_ms(day + 1, "day"))
        values[inside] = measure_values(plan, columns_then, rows[indexes[inside]], plan.improved_by_silence)
    return AtLastEvent(indexes, values)


def _as_of(columns: Sequence[AnyColumn], selected: Sequence[int], as_of_ms: int) -> list[AnyColumn]:
    """The columns, to be read only; the selected ones are as of an earlier moment, with no event after it."""
    result = list(columns)
    for index in selected:
        column = columns[index]
        if isinstance(column, Things):
            column.find_open()
        assert not isinstance(column, FactColumn)
        assert column.newest is not None
        newest = min(column.newest, column.calendar.pane_of(as_of_ms, column.unit))
        if isinstance(column, PaneColumn):
            result[index] = column.at(newest)
            continue
        earlier = copy.copy(column)
        earlier.newest = newest
        result[index] = earlier
    return result


def with_worse(
    plan: Plan, now: tuple[Matrix, Matrix], then: tuple[Matrix, Matrix], indexes: NDArray[np.int64]
) -> tuple[Matrix, Matrix, NDArray[np.bool_]]:
    """Values (k, m or more) and points (k, m) with those of then (j, ...) where they are worse, for `indexes` (j,).

    The last array (k, m) says which.
    """
    values, points = (matrix.copy() for matrix in now)
    values_then, points_then = then
    takes = np.zeros(points_then.shape, dtype=np.bool_)
    for measure in plan.improved_by_silence:
        sign = plan.impact_signs.get(measure)
        if sign is None:
            takes[:, measure] = _is_worse(points[indexes, measure], points_then[:, measure])
        elif sign:
            takes[:, measure] = _is_worse(sign * values[indexes, measure], sign * values_then[:, measure])
    for measure, read in plan.read_for_others:
        takes[:, read] |= takes[:, measure]
    width = points.shape[1]
    values[indexes, :width] = np.where(takes, values_then[:, :width], values[indexes, :width])
    points[indexes] = np.where(takes, points_then, points[indexes])
    held = np.zeros(points.shape, dtype=np.bool_)
    held[indexes] = takes
    return values, points, held


def _is_worse(now: NDArray[np.float64], then: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where then was worse than now (k,), or only one of the two is missing."""
    return np.asarray((then < now) | (np.isnan(now) != np.isnan(then)), dtype=np.bool_)
