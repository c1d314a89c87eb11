"""What the alert rules look at: whether each condition holds for accounts that have just been scored.

Owns the conditions of docs/reference/policy/alerts.md. Reads `AlertState`, changes nothing. Pure; called by
`stream.alerts.emission` and `stream.alerts.boundary_state`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.accounts.alert_lifecycle import Phase, is_open
from stream.accounts.alert_state import AlertState
from stream.columns.columns import NEVER, LatestColumn, Rows
from stream.columns.panes import UNIT_MS
from stream.measures.base import AnyColumn
from stream.plan.rules import RulePlan
from stream.policy.band_index import BAND_DECIMALS
from stream.scoring.scoring import Scored

Flags = NDArray[np.bool_]


def holds(
    part: RulePlan, rows: Rows, scored: Scored, state: AlertState, columns: Sequence[AnyColumn], *, at_boundary: bool
) -> Flags:
    """Whether a rule's condition holds, (k,).

    At a border `clear` is for those that are held as firing, between borders also for those told.
    """
    rule = part.rule
    one = scored.scores[part.score]
    if rule.kind == "below":
        found = np.round(one.values, BAND_DECIMALS) < _level(part, rows, state, at_boundary=at_boundary)
    elif rule.kind == "band":
        found = one.bands == part.band
    elif rule.kind == "left":
        held = state.boundary_phase[rows, part.boundary_index]
        found = (one.bands != part.band) & ((state.kind_state[rows, part.boundary_index] > 0) | (held != Phase.IDLE))
    elif rule.kind == "drop":
        fallen = np.round(fall(part, rows, scored, state), BAND_DECIMALS)
        found = fallen >= _level(part, rows, state, at_boundary=at_boundary)
    elif rule.kind == "measure":
        points = np.round(scored.points[:, part.measure], BAND_DECIMALS)
        found = points < _level(part, rows, state, at_boundary=at_boundary)  # no points, NaN, are not below anything
    elif rule.kind == "forecast":
        found = (state.kind_state[rows, part.boundary_index] > 0) & (one.bands > part.band)
    else:
        assert rule.within is not None
        found = silent_days(part, rows, columns) >= rule.within.panes
    if part.segments:
        assert scored.segments is not None, "segments are the policy's"
        found = found & np.isin(scored.segments, part.segments)
    return np.asarray(found, dtype=np.bool_)


def fall(part: RulePlan, rows: Rows, scored: Scored, state: AlertState) -> NDArray[np.float64]:
    """How far the score is below its largest at the borders in the window, (k,); -inf where none was passed."""
    ring = state.past_scores[part.boundary_index]
    if ring.newest is None:
        return np.full(len(rows), -np.inf)
    return ring.read(rows, ring.panes) - scored.scores[part.score].values


def silent_days(part: RulePlan, rows: Rows, columns: Sequence[AnyColumn]) -> NDArray[np.int64]:
    """UTC days from the latest event of the rule's source to the source's clock, (k,); -1 where there was none."""
    column = columns[part.column]
    assert isinstance(column, LatestColumn)
    assert column.newest is not None
    times = column.times[rows]
    return np.where(times == NEVER, -1, column.newest - times // UNIT_MS["day"])


def _level(part: RulePlan, rows: Rows, state: AlertState, *, at_boundary: bool) -> NDArray[np.float64] | float:
    rule = part.rule
    assert rule.level is not None
    if rule.clear is None:
        return rule.level
    firing = state.boundary_phase[rows, part.boundary_index] == Phase.FIRING
    if not at_boundary:
        firing |= is_open(state.phase[rows, part.index])
    return np.where(firing, rule.clear, rule.level)
