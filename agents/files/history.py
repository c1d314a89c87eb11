"""Scores by day, for plotting: `vitals score --history`.

Owns which moments are told and the form of a line. The scores are the engine's; every border is exact. Called by the
command.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from msgspec import Struct

from agents.files.replay import Replay, Watch, replay_files
from stream.columns.panes import UNIT_MS, boundary_number
from stream.engine.engine import Engine
from stream.explain.selector import SelectedScore, reading
from stream.plan.plan import Plan

DAY_MS = UNIT_MS["day"]


class DayScore(Struct):
    """An account's score at the end of a UTC day; `as_of` (epoch ms) is that end, or the last moment of the files."""

    account_id: str
    day: str
    as_of: int
    score: float
    band: str


def score_history(
    paths: Sequence[Path],
    plan: Plan,
    selected: SelectedScore,
    *,
    as_of_ms: int | None = None,
    account: str | None = None,
) -> tuple[list[DayScore], Replay]:
    """Each day's end from the first event on, then the last moment; of all accounts with an event by then, or of one.

    Raises OSError naming the file when one can not be read.
    """
    days: list[DayScore] = []

    def look(moment: int, engine: Engine) -> None:
        days.extend(_scores(engine, selected, moment, account))

    replay = replay_files(paths, plan, as_of_ms, Watch(day_ends, look))
    end_ms = replay.engine.as_of
    if end_ms is not None and end_ms % DAY_MS:
        look(end_ms, replay.engine)
    return days, replay


def day_ends(first_ms: int, last_ms: int) -> range:
    """The end of every UTC day from the first event's to the last one's that is over, as epoch ms."""
    return range(boundary_number(first_ms, "day") * DAY_MS, last_ms // DAY_MS * DAY_MS + 1, DAY_MS)


def _scores(engine: Engine, selected: SelectedScore, as_of_ms: int, account: str | None) -> Iterator[DayScore]:
    names = engine.accounts.index.names
    rows = sorted(engine.accounts.alive().tolist(), key=names.__getitem__)
    if account is not None:
        rows = [row for row in rows if names[row] == account]
    if not rows:
        return
    scored = reading(engine.plan, selected, engine.score(np.array(rows, dtype=np.int64)))
    # The end of a day is the first moment of the next: the day it ends is the one before.
    day = datetime.fromtimestamp((as_of_ms - 1) // 1000, UTC).date().isoformat()
    for row, score, band in zip(rows, scored.scores.tolist(), scored.bands.tolist(), strict=True):
        yield DayScore(names[row], day, as_of_ms, score, selected.bands[band].name)
