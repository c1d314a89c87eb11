"""Forecast scores if no event comes: panes leave their windows one by one.

Owns which moments count, the score at each, and the first change of band. The forecast is exact, not statistical: panes
say when every event leaves its window. Peer tables are assumed to stay as they are. Pure; called by `vitals explain`
(`agents.cli.files`).
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
from stream.scoring.scoring import NO_BAND

HORIZON_MS = 90 * UNIT_MS["day"]


class Step(Struct):
    """From `at` (epoch ms) on, the score and its band are these."""

    at: int
    score: float
    band: str


class Turn(Struct):
    """The first change of band: when (epoch ms), into which, the score then, and the change of each contribution."""

    at: int
    band: str
    score: float
    factors: list[FactorChange]


class Forecast(Struct):
    """The forecast of one account.

    `line` begins with now and has a step for each moment at which the score changes. `until` (epoch ms) is where the
    forecast ends: at the horizon, or when the account's last event has left every window; `final` says that it is the
    latter, and that nothing changes after it. `no_data_at` (epoch ms) is when the account has no data any more, if that
    is within the horizon; the forecast ends there.
    """

    until: int
    final: bool
    turn: Turn | None
    line: list[Step]
    no_data_at: int | None = None


def boundaries_ahead(plan: Plan, as_of_ms: int, horizon_ms: int) -> list[int]:
    """Moments (epoch ms, ascending) after `as_of_ms`, up to the horizon, at which a score can change by itself.

    They are the pane boundaries of each unit in use, as long as its longest window still has a pane of `as_of_ms` or
    before; every midnight where days alone change scores; and every window boundary where bands have hysteresis.
    """
    calendar, horizon_at_ms = plan.calendar, as_of_ms + horizon_ms
    if plan.has_sticky_bands:
        return plan.boundaries_between(as_of_ms, horizon_at_ms)
    midnights = calendar.midnights_between(as_of_ms, horizon_at_ms)
    boundaries = set(midnights if plan.changes_by_calendar else midnights[: plan.dormant_days])
    for unit, panes in plan.longest_windows.items():
        pane = calendar.pane_of(as_of_ms, unit)
        last = min(pane + panes, calendar.pane_of(horizon_at_ms, unit))
        boundaries.update(calendar.starts_ms(np.arange(pane + 1, last + 1, dtype=np.int64), unit).tolist())
    return sorted(boundaries)


def forecast_scores(
    engine: Engine, rows: Rows, selected: SelectedScore, horizon_ms: int = HORIZON_MS
) -> Iterator[tuple[int, Reading]]:
    """The moment (epoch ms) and the scores of rows (k): now, then at each of `boundaries_ahead`, if no event comes."""
    if engine.as_of is None:
        return
    plan = engine.plan
    yield engine.as_of, reading(plan, selected, engine.score(rows))
    for boundary, scored in engine.forecast(rows, boundaries_ahead(plan, engine.as_of, horizon_ms)):
        yield boundary, reading(plan, selected, scored)


def forecast(engine: Engine, rows: Rows, selected: SelectedScore, horizon_ms: int = HORIZON_MS) -> list[Forecast]:
    """The forecast of each row, in order; `horizon_ms` counts from the engine's `as_of`."""
    if engine.as_of is None or not len(rows):
        return []
    horizon = engine.as_of + horizon_ms
    forecasts = []
    for last_ms in engine.accounts.last_ms[rows].tolist():
        empty_ms = max(engine.as_of, _windows_empty_at(engine.plan, last_ms))
        final = empty_ms <= horizon and not (engine.plan.changes_by_calendar or engine.plan.has_sticky_bands)
        forecasts.append(Forecast(min(empty_ms, horizon), final, None, []))
    moments = forecast_scores(engine, rows, selected, horizon_ms)
    now_ms, now = next(moments)
    for account, result in enumerate(forecasts):
        if now.bands[account] != NO_BAND:
            result.line.append(_step(now_ms, now, account, selected))
    before = now
    for boundary, scored in moments:
        gone = (scored.bands == NO_BAND) & (before.bands != NO_BAND)
        gone &= [forecast.no_data_at is None for forecast in forecasts]
        for account in np.flatnonzero(gone).tolist():
            forecasts[account].until = forecasts[account].no_data_at = boundary
            forecasts[account].final = False
        # Smaller steps come from the order in which floats are added.
        moved = np.round(scored.scores, BAND_DECIMALS) != np.round(before.scores, BAND_DECIMALS)
        moved |= scored.bands != before.bands
        moved &= (scored.bands != NO_BAND) & [forecast.no_data_at is None for forecast in forecasts]
        for account in np.flatnonzero(moved).tolist():
            forecasts[account].line.append(_step(boundary, scored, account, selected))
        for account in np.flatnonzero(moved & (scored.bands != now.bands)).tolist():
            if forecasts[account].turn is None:
                forecasts[account].turn = _turn(boundary, now, scored, account, selected)
        before = scored
    return forecasts


def _windows_empty_at(plan: Plan, last_ms: int) -> int:
    """When (epoch ms) an account's last event has left every window."""
    calendar = plan.calendar
    return max(
        calendar.start_ms(calendar.pane_of(last_ms, unit) + panes, unit) for unit, panes in plan.longest_windows.items()
    )


def _step(at_ms: int, scored: Reading, account: int, selected: SelectedScore) -> Step:
    return Step(at_ms, float(scored.scores[account]), selected.bands[int(scored.bands[account])].name)


def _turn(boundary: int, now: Reading, then: Reading, account: int, selected: SelectedScore) -> Turn:
    contributions = zip(now.contributions[account].tolist(), then.contributions[account].tolist(), strict=True)
    pairs = zip(selected.factors, contributions, strict=True)
    factors = [FactorChange(name, before, after, after - before) for name, (before, after) in pairs]
    return Turn(boundary, selected.bands[int(then.bands[account])].name, float(then.scores[account]), factors)
