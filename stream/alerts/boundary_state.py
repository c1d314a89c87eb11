"""Boundary state of alerts: what rules with `for`, `clear`, `cooldown`, `max_per_day` or a history keep of accounts.

Owns how that state moves at a window boundary, where scores are exact, so that it never depends on how events were
batched. Beside the phase of each alert (`stream.accounts.alert_lifecycle`) some kinds of rules keep more: the scores of
`drop` rules, the band of `left` rules, the day on which `forecast` rules expect their band. Works on `AlertState`;
called by `stream.engine.scorer` at each boundary and by `stream.alerts.emission` between boundaries.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.accounts.alert_lifecycle import BOUNDARY, AlertInput, Phase
from stream.accounts.alert_state import NEVER, AlertState
from stream.alerts.conditions import holds
from stream.columns.columns import Rows
from stream.measures.base import AnyColumn
from stream.plan.rules import RulePlan
from stream.scoring.scoring import NO_BAND, Scored


def on_boundary(
    rows: Rows, scored: Scored, state: AlertState, *, columns: Sequence[AnyColumn], boundary_ms: int
) -> NDArray[np.bool_]:
    """Move the alerts of rows (k) past a window boundary (epoch ms) where these are `scored`.

    Returns which rows' state changed, (k,).
    """
    changed = np.zeros(len(rows), dtype=bool)
    for rule_plan in state.boundary_rules:
        bands = scored.scores[rule_plan.score].bands
        if rule_plan.rule.kind == "forecast":
            # A row in the band, or below it, has got there: its day is void until the next forecast.
            days = np.where(bands > rule_plan.band, state.kind_state[rows, rule_plan.boundary_index], 0)
            changed |= set_forecast_day(rule_plan, rows, days, state)
        condition = holds(rule_plan, rows, scored, state, columns, at_boundary=True)
        changed |= _move_phase(rule_plan, rows, condition, state, boundary_ms)
        if rule_plan.rule.kind == "left":
            inside = (bands == rule_plan.band).astype(np.int32)
            changed |= inside != state.kind_state[rows, rule_plan.boundary_index]
            state.kind_state[rows, rule_plan.boundary_index] = inside
    for memory, ring in state.past_scores.items():
        if ring.unit == "hour" or ring.calendar.is_midnight(boundary_ms):
            ring.advance(boundary_ms)
            score = state.boundary_rules[memory].score
            has_value = scored.scores[score].bands != NO_BAND
            values = scored.scores[score].values[has_value]
            ring.aggregate(rows[has_value], np.full(len(values), boundary_ms), values)
            changed[:] = True
    return changed


def _move_phase(
    rule_plan: RulePlan, rows: Rows, condition: NDArray[np.bool_], state: AlertState, boundary_ms: int
) -> NDArray[np.bool_]:
    """Move one rule past a boundary (epoch ms) where its `condition` (k,) holds or not; which rows changed, (k,)."""
    rule, column = rule_plan.rule, rule_plan.boundary_index
    phase, since = state.boundary_phase[rows, column], state.true_since[rows, column]
    today = rule_plan.calendar.pane_of(boundary_ms, "day")
    begun = np.where(condition, np.where(since == NEVER, boundary_ms, since), NEVER)
    fired_today = np.where(state.fired_day[rows, column] == today, state.fired_count[rows, column], 0)
    cooling = _cooling(rule_plan, state.boundary_ended[rows, column], boundary_ms)
    may_fire = condition & rule_plan.calendar.elapsed(begun, boundary_ms, rule.for_ms or 0) & ~cooling
    if rule.max_per_day is not None:
        may_fire &= fired_today < rule.max_per_day
    firing = phase == int(Phase.FIRING)
    holding = np.where(may_fire | firing, np.int8(AlertInput.FIRE), np.int8(AlertInput.WAIT))
    turns = np.where(condition, holding, np.int8(AlertInput.CLEAR))
    after = BOUNDARY.next(phase, turns)
    fires, ends = (after == int(Phase.FIRING)) & ~firing, firing & (after == int(Phase.IDLE))
    state.boundary_phase[rows, column], state.true_since[rows, column] = after, begun
    state.fired_day[rows[fires], column] = today
    state.fired_count[rows[fires], column] = fired_today[fires] + 1
    state.boundary_ended[rows[ends], column] = boundary_ms
    return np.asarray((after != phase) | (begun != since), dtype=np.bool_)


def _cooling(rule_plan: RulePlan, ended_ms: NDArray[np.int64], now_ms: int) -> NDArray[np.bool_]:
    """Whether the rule's `cooldown` since `ended_ms` (0 or less: never) is not over, same shape."""
    return np.asarray((ended_ms > 0) & ~rule_plan.calendar.elapsed(ended_ms, now_ms, rule_plan.rule.cooldown_ms or 0))


def in_cooldown(rule_plan: RulePlan, rows: Rows, state: AlertState, now_ms: int) -> NDArray[np.bool_]:
    """Whether `cooldown` forbids an alert to fire between boundaries, (k,): since its last end at one or in between."""
    at_boundary, published = state.boundary_ended[rows, rule_plan.boundary_index], state.ended[rows, rule_plan.index]
    return _cooling(rule_plan, np.maximum(at_boundary, published), now_ms)


def daily_limit_reached(rule_plan: RulePlan, rows: Rows, state: AlertState, now_ms: int) -> NDArray[np.bool_]:
    """Whether `max_per_day` forbids an alert to fire between boundaries, (k,)."""
    if rule_plan.rule.max_per_day is None:
        return np.zeros(len(rows), dtype=bool)
    calendar = rule_plan.calendar
    today = calendar.pane_of(now_ms, "day")
    fired_today = np.where(
        state.fired_day[rows, rule_plan.boundary_index] == today, state.fired_count[rows, rule_plan.boundary_index], 0
    )
    fired_since = calendar.panes_of(state.began[rows, rule_plan.index], "day") == today
    return np.asarray((fired_today >= rule_plan.rule.max_per_day) | fired_since)


def set_forecast_day(rule_plan: RulePlan, rows: Rows, days: NDArray[np.int32], state: AlertState) -> NDArray[np.bool_]:
    """Set the day (0: none) on which each row enters the band of a forecast rule; which rows changed, (k,)."""
    before = state.kind_state[rows, rule_plan.boundary_index]
    state.kind_state[rows, rule_plan.boundary_index] = days
    return np.asarray(days != before)
