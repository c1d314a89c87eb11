"""Conditions of alert rules: whether each holds for accounts that have just been scored.

Owns the conditions of docs/reference/policy/alerts.md, one function for each kind of rule. Reads `AlertState` and
changes nothing. Pure; called by `stream.alerts.emission` and `stream.alerts.boundary_state`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.accounts.alert_lifecycle import Phase, is_open
from stream.accounts.alert_state import AlertState
from stream.accounts.status import Status
from stream.columns.columns import NEVER, LatestColumn, Rows
from stream.measures.base import AnyColumn
from stream.plan.rules import RulePlan
from stream.policy.band_index import BAND_DECIMALS
from stream.scoring.scoring import NO_BAND, Scored

Flags = NDArray[np.bool_]


class _Inputs(NamedTuple):
    """What a condition reads: the scores of rows (k), what is kept of their alerts, the columns of all rows."""

    rows: Rows
    scored: Scored
    state: AlertState
    columns: Sequence[AnyColumn]
    at_boundary: bool


def holds(
    rule_plan: RulePlan,
    rows: Rows,
    scored: Scored,
    state: AlertState,
    columns: Sequence[AnyColumn],
    *,
    at_boundary: bool,
) -> Flags:
    """Whether a rule's condition holds, (k,).

    At a window boundary `clear` applies to alerts that were firing at the boundary before, between boundaries also to
    those that are open. Of an account that is new or has no data only a `silent` rule can hold: all others are about
    its score. Of one that has ended none can.
    """
    inputs = _Inputs(rows, scored, state, columns, at_boundary)
    condition = _CONDITIONS[rule_plan.rule.kind](rule_plan, inputs)
    if rule_plan.segments:
        assert scored.segments is not None, "segments are the policy's"
        condition = condition & np.isin(scored.segments, rule_plan.segments)
    if rule_plan.rule.kind == "silent":
        condition = condition & (scored.status != int(Status.ENDED))
    else:
        has_score = scored.scores[rule_plan.score].bands != NO_BAND
        condition = condition & (scored.status == int(Status.ACTIVE)) & has_score
    return np.asarray(condition, dtype=np.bool_)


def _in_band(rule_plan: RulePlan, inputs: _Inputs) -> Flags:
    condition: Flags = inputs.scored.scores[rule_plan.score].bands == rule_plan.band
    return condition


def _left_band(rule_plan: RulePlan, inputs: _Inputs) -> Flags:
    rows, state = inputs.rows, inputs.state
    was_inside = state.kind_state[rows, rule_plan.boundary_index] > 0
    began = state.boundary_phase[rows, rule_plan.boundary_index] != int(Phase.IDLE)
    condition: Flags = ~_in_band(rule_plan, inputs) & (was_inside | began)
    return condition


def _below_level(rule_plan: RulePlan, inputs: _Inputs) -> Flags:
    return np.round(inputs.scored.scores[rule_plan.score].values, BAND_DECIMALS) < _level(rule_plan, inputs)


def _dropped(rule_plan: RulePlan, inputs: _Inputs) -> Flags:
    fallen = np.round(fall(rule_plan, inputs.rows, inputs.scored, inputs.state), BAND_DECIMALS)
    return fallen >= _level(rule_plan, inputs)


def _measure_below_level(rule_plan: RulePlan, inputs: _Inputs) -> Flags:
    points = np.round(inputs.scored.points[:, rule_plan.measure], BAND_DECIMALS)
    return points < _level(rule_plan, inputs)  # missing points are NaN and not below anything


def _forecast_to_enter(rule_plan: RulePlan, inputs: _Inputs) -> Flags:
    has_day = inputs.state.kind_state[inputs.rows, rule_plan.boundary_index] > 0
    condition: Flags = has_day & (inputs.scored.scores[rule_plan.score].bands > rule_plan.band)
    return condition


def _silent(rule_plan: RulePlan, inputs: _Inputs) -> Flags:
    assert rule_plan.rule.within is not None
    return silent_days(rule_plan, inputs.rows, inputs.columns) >= rule_plan.rule.within.panes


_CONDITIONS: Mapping[str, Callable[[RulePlan, _Inputs], Flags]] = MappingProxyType(
    {
        "band": _in_band,
        "left": _left_band,
        "below": _below_level,
        "drop": _dropped,
        "measure": _measure_below_level,
        "forecast": _forecast_to_enter,
        "silent": _silent,
    }
)
"""By kind of rule, see `stream.policy.alerts`."""


def fall(rule_plan: RulePlan, rows: Rows, scored: Scored, state: AlertState) -> NDArray[np.float64]:
    """Points that the score is below its largest at the boundaries in the window, (k,); -inf before the first one."""
    ring = state.past_scores[rule_plan.boundary_index]
    if ring.newest is None:
        return np.full(len(rows), -np.inf)
    return ring.read(rows, ring.panes) - scored.scores[rule_plan.score].values


def silent_days(rule_plan: RulePlan, rows: Rows, columns: Sequence[AnyColumn]) -> NDArray[np.int64]:
    """Days from the latest event of the rule's source to the source's clock, (k,); -1 without an event.

    The days, or the business days, of the policy's calendar.
    """
    column = columns[rule_plan.column]
    assert isinstance(column, LatestColumn)
    assert column.newest is not None
    times = column.times[rows]
    calendar, within = rule_plan.calendar, rule_plan.rule.within
    days = np.where(times == NEVER, column.newest, calendar.panes_of(times, "day"))
    in_business = within is not None and within.unit == "business day"
    counted = calendar.business_days(days, column.newest) if in_business else column.newest - days
    return np.where(times == NEVER, -1, counted)


def _level(rule_plan: RulePlan, inputs: _Inputs) -> NDArray[np.float64] | float:
    """The level that the condition compares with: `clear` where the alert fires, (k,) or one for all."""
    rule, rows, state = rule_plan.rule, inputs.rows, inputs.state
    assert rule.level is not None
    if rule.clear is None:
        return rule.level
    firing = state.boundary_phase[rows, rule_plan.boundary_index] == int(Phase.FIRING)
    if not inputs.at_boundary:
        firing |= is_open(state.phase[rows, rule_plan.index])
    return np.where(firing, rule.clear, rule.level)
