"""Replay events through the engine and note every account's score at each day boundary.

Owns the days, the cutoffs among them, and that no score looks ahead: events, profiles too, are taken in order of time
and the engine stands at a boundary when its scores are read. Must not know outcomes. Called by `agents.backtest.run`.

A file does not tell when an event arrived, so every event is taken to have been known at its time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agents.backtest.score_reader import look, select_score
from agents.files.replay import DEDUP_IDS, STEP_EVENTS, TimedEvent, batches_of
from schemas.codecs import EARLIEST_MS
from schemas.events import PROFILE_SOURCE
from schemas.topics import DAY_MS
from stream.columns.columns import Rows
from stream.engine.engine import Engine, Mode
from stream.plan.plan import Plan
from stream.publishing.effects import DeadLetter

NOT_SCORED = -1

Costs = dict[str, float | None]
"""Points of the score that each measure leaves on the table, by name; None where it is missing."""


class TooShortError(ValueError):
    """Events that do not hold a single cutoff."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The day boundaries of a back-test, epoch milliseconds, ascending; every `every`th is a cutoff."""

    boundaries: NDArray[np.int64]
    every: int
    accounts: dict[str, int]
    """Each account with an event that counts, and its column."""

    @property
    def cutoffs(self) -> NDArray[np.int64]:
        """The cutoffs, epoch milliseconds."""
        return self.boundaries[:: self.every]

    def place(self, time_ms: int) -> int | None:
        """Number of the last boundary that is not after a moment; None when it lies outside the days of the grid."""
        place = int(np.searchsorted(self.boundaries, time_ms, side="right")) - 1
        return place if place >= 0 and time_ms < self.boundaries[-1] + DAY_MS else None


def lay_out(events: Sequence[TimedEvent], every: int, since_ms: int | None = None) -> Grid:
    """The grid from the first boundary after the first event, or from `since_ms`, to the last event.

    Raises TooShortError when no boundary lies there.
    """
    counting = [part for part in events if part.time_ms >= EARLIEST_MS and part.source != PROFILE_SOURCE]
    if not counting:
        raise TooShortError("the files hold no event that counts")
    first_ms = max(counting[0].time_ms, counting[0].time_ms if since_ms is None else since_ms)
    first, last = -(-first_ms // DAY_MS), counting[-1].time_ms // DAY_MS
    if first > last:
        raise TooShortError("the events do not span a day boundary; a back-test needs events of weeks at least")
    names = sorted({part.event.account_id for part in counting})
    boundaries = np.arange(first, last + 1, dtype=np.int64) * DAY_MS
    return Grid(boundaries, every, {name: at for at, name in enumerate(names)})


@dataclass(slots=True)
class Track:
    """Scores of one policy: one row a boundary (a cutoff for `points` and `last_ms`), one column an account."""

    scores: NDArray[np.float64]
    """NaN while an account has no event yet."""
    bands: NDArray[np.int8]
    points: NDArray[np.float32]
    """(cutoffs, accounts, measures), NaN where a measure is missing."""
    last_ms: NDArray[np.int64]
    """Time of the last event of any source at each cutoff; 0 before the first."""
    costs: dict[tuple[int, int], Costs] = field(default_factory=dict)
    """By (number of the boundary, account), for those that were asked for."""
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """What became of the events, by (source, outcome) as the engine counts them."""
    refused: list[DeadLetter] = field(default_factory=list)
    """Events that the engine refused, and why."""


def replay(
    events: Sequence[TimedEvent],
    plan: Plan,
    score: str,
    grid: Grid,
    asked: Mapping[int, Iterable[int]] | None = None,
) -> Track:
    """Take events, in order of time, through a fresh engine and read a score at every boundary of the grid.

    `asked` names, by number of a boundary, the accounts whose costs are kept.
    """
    selected = select_score(plan.policy, score)
    measures = tuple(measure.name for measure in selected.measures)
    count, boundaries = len(grid.accounts), len(grid.boundaries)
    track = Track(
        np.full((boundaries, count), np.nan),
        np.full((boundaries, count), NOT_SCORED, dtype=np.int8),
        np.full((len(grid.cutoffs), count, len(measures)), np.nan, dtype=np.float32),
        np.zeros((len(grid.cutoffs), count), dtype=np.int64),
    )
    engine = Engine(plan, dedup_ids=DEDUP_IDS)
    times = np.array([part.time_ms for part in events], dtype=np.int64)
    ends = np.searchsorted(times, grid.boundaries, side="right").tolist()
    offsets = Counter[str]()
    columns = _Columns(engine, grid)
    start = 0
    for at, (boundary, end) in enumerate(zip(grid.boundaries.tolist(), ends, strict=True)):
        for first in range(start, end, STEP_EVENTS):
            part = batches_of(events[first : min(first + STEP_EVENTS, end)], offsets)
            effects = engine.step(part, Mode.CONFLATED, None)
            track.outcomes.update(effects.outcomes)
            track.refused += effects.dead_letters
        start = end
        engine.tick(boundary)
        rows, places = columns.alive()
        if not len(rows):
            continue
        seen = look(engine, rows, selected)
        track.scores[at, places], track.bands[at, places] = seen.scores, seen.bands
        if at % grid.every == 0:
            track.points[at // grid.every, places] = seen.points
            track.last_ms[at // grid.every, places] = engine.accounts.last_ms[rows]
        for account in (asked or {}).get(at, ()):
            for found in np.flatnonzero(places == account).tolist():
                costs = [None if np.isnan(cost) else float(cost) for cost in seen.costs[found]]
                track.costs[at, account] = dict(zip(measures, costs, strict=True))
    return track


class _Columns:
    """Which column of the grid each row of an engine is."""

    def __init__(self, engine: Engine, grid: Grid) -> None:
        self._accounts = engine.accounts
        self._grid = grid
        self._places = np.zeros(0, dtype=np.int64)

    def alive(self) -> tuple[Rows, NDArray[np.int64]]:
        """Rows that have an event, and their columns."""
        names = self._accounts.index.names
        fresh = [self._grid.accounts.get(name, NOT_SCORED) for name in names[len(self._places) :]]
        if fresh:
            self._places = np.concatenate([self._places, np.array(fresh, dtype=np.int64)])
        rows = self._accounts.alive()
        return rows, self._places[rows]
