"""What becomes of scores when nothing happens: no event comes, and panes leave their windows one by one.

Owns the way ahead: which moments count, the score at each, and the first change of band. It is exact, not a guess: the
panes say when every event leaves; peers are taken to stay as they are. Pure; called by `vitals explain`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from msgspec import Struct

from schemas.outputs import FactorChange
from stream.columns.columns import Rows
from stream.columns.panes import UNIT_MS
from stream.engine.engine import Engine
from stream.explain.selector import Reading, SelectedScore, reading
from stream.plan.plan import Plan
from stream.policy.band_index import BAND_DECIMALS

HORIZON_MS = 90 * UNIT_MS["day"]


class Step(Struct):
    """From `at` (epoch ms) on, the score and its band are these."""

    at: int
    score: float
    band: str


class Turn(Struct):
    """The first change of band: when, into which, at which score, and what each measure loses or gains until then."""

    at: int
    band: str
    score: float
    factors: list[FactorChange]


class Forecast(Struct):
    """One account with no more events.

    `line` begins with now and has a step for each moment at which the score becomes another; `until` (epoch ms) is how
    far it was looked, or when its last event has left every window; `final` tells that this is so, and that nothing at
    all changes after it.
    """

    until: int
    final: bool
    turn: Turn | None
    line: list[Step]


def boundaries_ahead(plan: Plan, as_of_ms: int, horizon_ms: int) -> list[int]:
    """Moments (epoch ms, ascending) after `as_of_ms`, up to the horizon, at which a score can change by itself.

    They are the borders of each unit in use, as long as its longest window still holds a pane of `as_of_ms` or before,
    every day's where days alone change scores, and all where bands depend on those held at borders before.
    """
    found: set[int] = set()
    if plan.has_sticky_bands:
        first = (as_of_ms // plan.boundary_ms + 1) * plan.boundary_ms
        return list(range(first, as_of_ms + horizon_ms + 1, plan.boundary_ms))
    if plan.changes_by_calendar:
        day = UNIT_MS["day"]
        found.update(range((as_of_ms // day + 1) * day, as_of_ms + horizon_ms + 1, day))
    for unit, panes in plan.longest_windows.items():
        step = UNIT_MS[unit]
        pane = as_of_ms // step
        last = min(pane + panes, (as_of_ms + horizon_ms) // step)
        found.update(range((pane + 1) * step, last * step + 1, step))
    return sorted(found)


def forecast_scores(
    engine: Engine, rows: Rows, selected: SelectedScore, horizon_ms: int = HORIZON_MS
) -> Iterator[tuple[int, Reading]]:
    """The moment and the scores of rows (k) now, then at each of `boundaries_ahead`, as if no event came any more."""
    if engine.as_of is None:
        return
    plan = engine.plan
    yield engine.as_of, reading(plan, selected, engine.score(rows))
    for boundary, scored in engine.ahead(rows, boundaries_ahead(plan, engine.as_of, horizon_ms)):
        yield boundary, reading(plan, selected, scored)


def forecast(engine: Engine, rows: Rows, selected: SelectedScore, horizon_ms: int = HORIZON_MS) -> list[Forecast]:
    """The forecast of each row, in order; `horizon_ms` counts from the engine's `as_of`."""
    if engine.as_of is None or not len(rows):
        return []
    horizon = engine.as_of + horizon_ms
    found = []
    for last_ms in engine.accounts.last_ms[rows].tolist():
        spent = max(engine.as_of, _spent(engine.plan, last_ms))
        found.append(
            Forecast(
                min(spent, horizon),
                spent <= horizon and not (engine.plan.changes_by_calendar or engine.plan.has_sticky_bands),
                None,
                [],
            )
        )
    ahead = forecast_scores(engine, rows, selected, horizon_ms)
    at_ms, now = next(ahead)
    for at, one in enumerate(found):
        one.line.append(_step(at_ms, now, at, selected))
    before = now
    for boundary, scored in ahead:
        # Smaller steps come from the order in which floats are added.
        moved = np.round(scored.scores, BAND_DECIMALS) != np.round(before.scores, BAND_DECIMALS)
        moved |= scored.bands != before.bands
        for at in np.flatnonzero(moved).tolist():
            found[at].line.append(_step(boundary, scored, at, selected))
        for at in np.flatnonzero(moved & (scored.bands != now.bands)).tolist():
            if found[at].turn is None:
                found[at].turn = _turn(boundary, now, scored, at, selected)
        before = scored
    return found


def _spent(plan: Plan, last_ms: int) -> int:
    """When the last event has left every window, epoch ms."""
    return max((last_ms // UNIT_MS[unit] + panes) * UNIT_MS[unit] for unit, panes in plan.longest_windows.items())


def _step(at_ms: int, scored: Reading, at: int, selected: SelectedScore) -> Step:
    return Step(at_ms, float(scored.scores[at]), selected.bands[int(scored.bands[at])].name)


def _turn(boundary: int, now: Reading, then: Reading, at: int, selected: SelectedScore) -> Turn:
    pairs = zip(selected.factors, now.contributions[at].tolist(), then.contributions[at].tolist(), strict=True)
    factors = [FactorChange(name, before, after, after - before) for name, before, after in pairs]
    return Turn(boundary, selected.bands[int(then.bands[at])].name, float(then.scores[at]), factors)
