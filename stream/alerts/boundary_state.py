"""What alert rules remember from border to border (see `stream.accounts.alert_lifecycle` on what is held).

Owns how the held state of alerts moves at a border, and what kinds of rules keep beside it: scores of drops, bands that
were left, days on which bands will turn. Borders are where scores are exact, so nothing here depends on batches. Works
on `AlertState`; called by `stream.engine.scorer` at each border.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.accounts.alert_lifecycle import Phase, Turn, follow
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
    for part in state.memories:
        bands = scored.scores[part.score].bands
        if part.rule.kind == "forecast":
            # Who is in the band, or below it, has turned: what was foreseen is over until somebody looks again.
            changed |= set_forecast_day(
                part, rows, np.where(bands > part.band, state.mark[rows, part.memory], 0), state
            )
        found = holds(part, rows, scored, state, columns, at_boundary=True)
        changed |= _pass(part, rows, found, state, boundary_ms)
        if part.rule.kind == "left":
            inside = (bands == part.band).astype(np.int32)
            changed |= inside != state.mark[rows, part.memory]
            state.mark[rows, part.memory] = inside
    for memory, ring in state.peaks.items():
        if boundary_ms % UNIT_MS[ring.unit] == 0:
            ring.advance(boundary_ms)
            at = state.memories[memory].score
            ring.aggregate(rows, np.full(len(rows), boundary_ms), scored.scores[at].values)
            changed[:] = True
    return changed


def _pass(
    part: RulePlan, rows: Rows, found: NDArray[np.bool_], state: AlertState, boundary_ms: int
) -> NDArray[np.bool_]:
    """One rule at a border (epoch ms)."""
    rule, at = part.rule, part.memory
    held, since, today = state.held[rows, at], state.since[rows, at], boundary_ms // DAY_MS
    begun = np.where(found, np.where(since == NEVER, boundary_ms, since), NEVER)
    fired = np.where(state.day[rows, at] == today, state.fired[rows, at], 0)
    due = found & (boundary_ms - begun >= (rule.for_ms or 0)) & ~_cooling(part, state.quiet[rows, at], boundary_ms)
    if rule.max_per_day is not None:
        due &= fired < rule.max_per_day
    firing = held == Phase.FIRING
    turns = np.where(found, np.where(due | firing, Turn.DUE, Turn.HOLDS), Turn.ENDS).astype(np.int8)
    after = follow(held, turns)
    fires, ends = (after == Phase.FIRING) & ~firing, firing & (after == Phase.IDLE)
    state.held[rows, at], state.since[rows, at] = after, begun
    state.day[rows[fires], at] = today
    state.fired[rows[fires], at] = fired[fires] + 1
    state.quiet[rows[ends], at] = boundary_ms
    return np.asarray((after != held) | (begun != since), dtype=np.bool_)


def _cooling(part: RulePlan, ended_ms: NDArray[np.int64], now_ms: int) -> NDArray[np.bool_]:
    """Whether a rule ended so lately (`ended_ms`, 0 or less: never) that it may not fire yet, same shape."""
    return np.asarray((ended_ms > 0) & (now_ms < ended_ms + (part.rule.cooldown_ms or 0)))


def cooling(part: RulePlan, rows: Rows, state: AlertState, now_ms: int) -> NDArray[np.bool_]:
    """Whether a rule may not fire between borders, since it ended not long ago, as held or as told, (k,)."""
    held, told = state.quiet[rows, part.memory], state.ended[rows, part.place]
    return _cooling(part, np.maximum(held, told), now_ms)


def spent(part: RulePlan, rows: Rows, state: AlertState, now_ms: int) -> NDArray[np.bool_]:
    """Whether a rule may not fire between borders, since it has fired on this UTC day as often as it may, (k,)."""
    if part.rule.max_per_day is None:
        return np.zeros(len(rows), dtype=bool)
    today = now_ms // DAY_MS
    fired = np.where(state.day[rows, part.memory] == today, state.fired[rows, part.memory], 0)
    return np.asarray((fired >= part.rule.max_per_day) | (state.began[rows, part.place] // DAY_MS == today))


def set_forecast_day(part: RulePlan, rows: Rows, days: NDArray[np.int32], state: AlertState) -> NDArray[np.bool_]:
    """Keep the day (UTC, 0: none) on which each row will turn into a forecast's band; whose is another now, (k,)."""
    before = state.mark[rows, part.memory]
    state.mark[rows, part.memory] = days
    return np.asarray(days != before)
