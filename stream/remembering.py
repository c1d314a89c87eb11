"""What alert rules remember from border to border (see `stream.episodes` on what is held).

Owns how the held state of alerts moves at a border, and what kinds of rules keep beside it: scores of drops, bands that
were left, days on which bands will turn. Borders are where scores are exact, so nothing here depends on batches. Works
on `AlertState`; called by `stream.engine` at each border.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from stream.alert_state import NEVER, AlertState
from stream.columns import Rows
from stream.conditions import holds
from stream.episodes import Phase, Turn, follow
from stream.measures.base import AnyColumn
from stream.panes import UNIT_MS
from stream.plan import Plan
from stream.rules import RulePlan
from stream.scoring import Scored

DAY_MS = UNIT_MS["day"]
LookAhead = Callable[[Rows, int], Iterable[tuple[int, Scored]]]
"""Scores of rows at the UTC midnights ahead, up to so many days, as if no event came: (epoch ms, scores)."""


def pass_border(
    plan: Plan,
    rows: Rows,
    scored: Scored,
    state: AlertState,
    *,
    columns: Sequence[AnyColumn],
    border_ms: int,
    look_ahead: LookAhead,
) -> NDArray[np.bool_]:
    """Let the alerts of rows (k) pass a border (epoch ms) where they have been `scored`; whose memory changed, (k,)."""
    changed = np.zeros(len(rows), dtype=bool)
    midnight = border_ms % DAY_MS == 0
    for part in state.memories:
        bands = scored.scores[part.score].bands
        if part.rule.kind == "forecast":
            changed |= _foresee(part, rows, bands, state, look_ahead if midnight else None)
        found = holds(part, rows, scored, state, columns, at_border=True)
        changed |= _pass(part, rows, found, state, border=border_ms // plan.border_ms, border_ms=plan.border_ms)
        if part.rule.kind == "left":
            inside = (bands == part.band).astype(np.int32)
            changed |= inside != state.mark[rows, part.memory]
            state.mark[rows, part.memory] = inside
    for memory, ring in state.peaks.items():
        if border_ms % UNIT_MS[ring.unit] == 0:
            ring.advance(border_ms)
            at = state.memories[memory].score
            ring.fold(rows, np.full(len(rows), border_ms), scored.scores[at].values)
            changed[:] = True
    return changed


def _pass(
    part: RulePlan, rows: Rows, found: NDArray[np.bool_], state: AlertState, *, border: int, border_ms: int
) -> NDArray[np.bool_]:
    """One rule at border number `border`."""
    rule, at = part.rule, part.memory
    held, since, today = state.held[rows, at], state.since[rows, at], border * border_ms // DAY_MS
    begun = np.where(found, np.where(since == NEVER, border, since), NEVER)
    fired = np.where(state.day[rows, at] == today, state.fired[rows, at], 0)
    due = found & ((border - begun).astype(np.int64) * border_ms >= (rule.for_ms or 0))
    due &= ~cooling(part, rows, state, border * border_ms, border_ms)
    if rule.max_per_day is not None:
        due &= fired < rule.max_per_day
    firing = held == Phase.FIRING
    turns = np.where(found, np.where(due | firing, Turn.DUE, Turn.HOLDS), Turn.ENDS).astype(np.int8)
    after = follow(held, turns)
    fires, ends = (after == Phase.FIRING) & ~firing, firing & (after == Phase.IDLE)
    state.held[rows, at], state.since[rows, at] = after, begun
    state.day[rows[fires], at] = today
    state.fired[rows[fires], at] = fired[fires] + 1
    state.quiet[rows[ends], at] = border
    return np.asarray((after != held) | (begun != since), dtype=np.bool_)


def cooling(part: RulePlan, rows: Rows, state: AlertState, now_ms: int, border_ms: int) -> NDArray[np.bool_]:
    """Whether a rule may not fire yet, since it ended not long ago, (k,)."""
    if part.rule.cooldown_ms is None:
        return np.zeros(len(rows), dtype=bool)
    quiet = state.quiet[rows, part.memory].astype(np.int64)
    return np.asarray((quiet != NEVER) & (now_ms < quiet * border_ms + part.rule.cooldown_ms))


def spent(part: RulePlan, rows: Rows, state: AlertState, now_ms: int) -> NDArray[np.bool_]:
    """Whether a rule may not fire between borders, since it has fired on this UTC day as often as it may, (k,)."""
    if part.rule.max_per_day is None:
        return np.zeros(len(rows), dtype=bool)
    today = now_ms // DAY_MS
    fired = np.where(state.day[rows, part.memory] == today, state.fired[rows, part.memory], 0)
    return np.asarray((fired >= part.rule.max_per_day) | (state.began[rows, part.place] // DAY_MS == today))


def _foresee(
    part: RulePlan,
    rows: Rows,
    bands: NDArray[np.int8],
    state: AlertState,
    look_ahead: LookAhead | None,
) -> NDArray[np.bool_]:
    """Keep the day on which each row will turn into the rule's band, or 0; without `look_ahead` only forget."""
    before = state.mark[rows, part.memory]
    above = bands > part.band
    days = np.where(above, before, 0)
    if look_ahead is not None:
        assert part.rule.within is not None
        days = np.zeros(len(rows), dtype=np.int32)
        ahead = np.flatnonzero(above)
        if ahead.size:
            for at_ms, scored in look_ahead(rows[ahead], part.rule.within.panes):
                turns = (scored.scores[part.score].bands <= part.band) & (days[ahead] == 0)
                days[ahead[turns]] = at_ms // DAY_MS
    state.mark[rows, part.memory] = days
    return np.asarray(days != before)
