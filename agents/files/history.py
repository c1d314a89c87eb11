"""Scores by day, for plotting: `vitals score --history`.

Owns the times that are printed and the fields of a line; the scores are the engine's at these times, those of
`--as-of`. Called by `agents.cli.score`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import partial
from itertools import repeat

import numpy as np
from msgspec import Struct

from agents.files.formats import Input
from agents.files.replay import SINCE_2000, Reading, Replay, Watch, replay_files
from stream.columns.calendar import Calendar
from stream.engine.engine import Engine, Mode
from stream.explain.selector import SelectedScore, reading
from stream.plan.plan import Plan
from stream.publishing.decimals import rounded
from stream.scoring.scoring import NO_BAND

_FIRST_DATE = date(1970, 1, 1)


class DayScore(Struct, gc=False):
    """An account's score at the end of a day; `as_of` (epoch ms) is its last millisecond, or the last moment."""

    account_id: str
    day: str
    as_of: int
    score: float
    band: str


def score_history(
    paths: Sequence[Input],
    plan: Plan,
    selected: SelectedScore,
    *,
    as_of_ms: int | None = None,
    account: str | None = None,
    reading: Reading = SINCE_2000,
) -> tuple[list[DayScore], Replay]:
    """The scores at each day's end from the first event on, and at the end, of all accounts or of one.

    An account has scores from its first event on, except on days on which it has ended
    or has no data. Raises OSError with the file's name when one cannot be read.
    """
    days: list[DayScore] = []

    def look(moment: int, engine: Engine) -> None:
        days.extend(_scores(engine, selected, moment, account))

    watch = Watch(partial(moments, plan.calendar), look)
    replay = replay_files(paths, plan, as_of_ms, watch, reading=reading, mode=Mode.CONFLATED)
    return days, replay


def moments(calendar: Calendar, first_ms: int, last_ms: int) -> Iterator[int]:
    """The last millisecond (epoch ms) of each day from that of the first event on, and the last moment."""
    yield from sorted({midnight - 1 for midnight in calendar.midnights_between(first_ms, last_ms)})
    yield last_ms


def day_of(calendar: Calendar, moment_ms: int) -> str:
    """The date of a moment (epoch ms) in the zone of the policy, such as 2026-03-27."""
    return (_FIRST_DATE + timedelta(days=calendar.pane_of(moment_ms, "day"))).isoformat()


def _scores(engine: Engine, selected: SelectedScore, as_of_ms: int, account: str | None) -> Iterator[DayScore]:
    names = engine.accounts.index.names
    rows = sorted(engine.accounts.alive().tolist(), key=names.__getitem__)
    if account is not None:
        rows = [row for row in rows if names[row] == account]
    if not rows:
        return
    scored = reading(engine.plan, selected, engine.score(np.array(rows, dtype=np.int64)))
    day, bands = day_of(engine.plan.calendar, as_of_ms), [band.name for band in selected.bands]
    shown = np.flatnonzero(scored.bands != NO_BAND)
    yield from map(
        DayScore,
        [names[rows[position]] for position in shown.tolist()],
        repeat(day),
        repeat(as_of_ms),
        rounded(scored.scores[shown]).tolist(),
        map(bands.__getitem__, scored.bands[shown].tolist()),
    )
