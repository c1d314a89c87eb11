"""What alert rules remember from border to border (see `stream.accounts.alert_lifecycle` on what is held).

Owns how the held state of alerts moves at a border, and what kinds of rules keep beside it: scores of drops, bands that
were left, days on which bands will turn. Borders are where scores are exact, so nothing here depends on batches. Works
on `AlertState`; called by `stream.engine.scorer` at each border.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.accounts.alert_lifecycle import BOUNDARY, AlertInput, Phase
from stream.accounts.alert_state import NEVER, AlertState
from stream.alerts.conditions import holds
from stream.columns.columns import Rows
from stream.columns.panes import UNIT_MS
from stream.measures.base import AnyColumn
from stream.plan.rules import RulePlan
from stream.scoring.scoring import Scored

DAY_MS = UNIT_MS["day"]


def on_boundary(
    rows: Rows, scored: Scored, state: AlertState, *, columns: Sequence[AnyColumn], boundary_ms: int
) -> NDArray[np.bool_]:
    """Let the alerts of rows (k) pass a border (epoch ms) where they have been `scored`; whose memory changed, (k,)."""
    changed = np.zeros(len(rows), dtype=bool)
    for part in state.boundary_rules:
        bands = scored.scores[part.score].bands
        if part.rule.kind == "forecast":
            # Who is in the band, or below it, has turned: what was foreseen is over until somebody looks again.
            changed |= foresee(
                part, rows, np.where(bands > part.band, state.kind_state[rows, part.boundary_index], 0), state
            )
        found = holds(part, rows, scored, state, columns, at_boundary=True)
        changed |= _pass(part, rows, found, state, boundary_ms)
        if part.rule.kind == "left":
            inside = (bands == part.band).astype(np.int32)
            changed |= inside != state.kind_state[rows, part.boundary_index]
            state.kind_state[rows, part.boundary_index] = inside
    for memory, ring in state.past_scores.items():
        if boundary_ms % UNIT_MS[ring.unit] == 0:
            ring.advance(boundary_ms)
            at = state.boundary_rules[memory].score
            ring.aggregate(rows, np.full(len(rows), boundary_ms), scored.scores[at].values)
            changed[:] = True
    return changed


def _pass(
    part: RulePlan, rows: Rows, found: NDArray[np.bool_], state: AlertState, boundary_ms: int
) -> NDArray[np.bool_]:
    """One rule at a border (epoch ms)."""
    rule, at = part.rule, part.boundary_index
    held, since, today = state.boundary_phase[rows, at], state.true_since[rows, at], boundary_ms // DAY_MS
    begun = np.where(found, np.where(since == NEVER, boundary_ms, since), NEVER)
    fired = np.where(state.fired_day[rows, at] == today, state.fired_count[rows, at], 0)
    due = (
        found
        & (boundary_ms - begun >= (rule.for_ms or 0))
        & ~_cooling(part, state.boundary_ended[rows, at], boundary_ms)
    )
    if rule.max_per_day is not None:
        due &= fired < rule.max_per_day
    firing = held == Phase.FIRING
    turns = np.where(found, np.where(due | firing, AlertInput.FIRE, AlertInput.WAIT), AlertInput.CLEAR).astype(np.int8)
    after = BOUNDARY.next(held, turns)
    fires, ends = (after == Phase.FIRING) & ~firing, firing & (after == Phase.IDLE)
    state.boundary_phase[rows, at], state.true_since[rows, at] = after, begun
    state.fired_day[rows[fires], at] = today
    state.fired_count[rows[fires], at] = fired[fires] + 1
    state.boundary_ended[rows[ends], at] = boundary_ms
    return np.asarray((after != held) | (begun != since), dtype=np.bool_)


def _cooling(part: RulePlan, ended_ms: NDArray[np.int64], now_ms: int) -> NDArray[np.bool_]:
    """Whether a rule ended so lately (`ended_ms`, 0 or less: never) that it may not fire yet, same shape."""
    return np.asarray((ended_ms > 0) & (now_ms < ended_ms + (part.rule.cooldown_ms or 0)))


def cooling(part: RulePlan, rows: Rows, state: AlertState, now_ms: int) -> NDArray[np.bool_]:
    """Whether a rule may not fire between borders, since it ended not long ago, as held or as told, (k,)."""
    held, told = state.boundary_ended[rows, part.boundary_index], state.ended[rows, part.index]
    return _cooling(part, np.maximum(held, told), now_ms)


def spent(part: RulePlan, rows: Rows, state: AlertState, now_ms: int) -> NDArray[np.bool_]:
    """Whether a rule may not fire between borders, since it has fired on this UTC day as often as it may, (k,)."""
    if part.rule.max_per_day is None:
        return np.zeros(len(rows), dtype=bool)
    today = now_ms // DAY_MS
    fired = np.where(
        state.fired_day[rows, part.boundary_index] == today, state.fired_count[rows, part.boundary_index], 0
    )
    return np.asarray((fired >= part.rule.max_per_day) | (state.began[rows, part.index] // DAY_MS == today))


def foresee(part: RulePlan, rows: Rows, days: NDArray[np.int32], state: AlertState) -> NDArray[np.bool_]:
    """Keep the day (UTC, 0: none) on which each row will turn into a forecast's band; whose is another now, (k,)."""
    before = state.kind_state[rows, part.boundary_index]
    state.kind_state[rows, part.boundary_index] = days
    return np.asarray(days != before)
