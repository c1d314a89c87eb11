"""Replay events through the engine and read every account's score at the end of each day.

No score looks ahead: `agents.files.playback` has applied nothing that is later than the end of the day. Does not read
outcomes. Called by `agents.backtest.run` and `agents.backtest.fitted_policy`.

A file does not contain the time at which an event arrived, so each event counts as known at its own time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.files.playback import BadLine, Playback
from agents.files.timeline import TimedEvent
from agents.process.progress import Progress, unseen
from schemas.events import PROFILE_SOURCE
from stream.columns.calendar import UTC_DAYS, Calendar
from stream.columns.columns import Rows
from stream.engine.engine import Engine
from stream.explain.selector import SelectedScore, reading
from stream.plan.plan import Plan
from stream.publishing.effects import Effects

NOT_SCORED = -1
FULL_POINTS = 100.0

Costs = dict[str, float | None]
"""Points of the score that each measure costs an account, by name; None where the measure is missing."""


class TooShortError(ValueError):
    """The events span no cutoff."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The ends of the days of a back-test, epoch milliseconds, ascending; every `every`th is a cutoff."""

    boundaries: NDArray[np.int64]
    every: int
    accounts: dict[str, int]
    """Each account with a usable event, and its column."""
    end_ms: int
    """When the day after the last boundary ends; it may have 23 or 25 hours."""

    @property
    def cutoffs(self) -> NDArray[np.int64]:
        """The cutoffs, epoch milliseconds."""
        return self.boundaries[:: self.every]

    def boundary_before(self, time_ms: int) -> int | None:
        """Number of the last boundary at or before a time; None if the time is outside the days of the grid."""
        number = int(np.searchsorted(self.boundaries, time_ms, side="right")) - 1
        return number if number >= 0 and time_ms < self.end_ms else None


def make_grid(
    events: Sequence[TimedEvent], every: int, since_ms: int | None = None, calendar: Calendar = UTC_DAYS
) -> Grid:
    """The grid from the end of the day of the first event, or of `since_ms`, to the last one before the last event.

    Profiles do not count. Raises TooShortError if no day ends in that period.
    """
    usable = [event for event in events if event.source != PROFILE_SOURCE]
    if not usable:
        raise TooShortError("the files contain no usable event")
    first_ms = max(usable[0].time_ms, usable[0].time_ms if since_ms is None else since_ms)
    last_ms = usable[-1].time_ms
    midnights = calendar.midnights_between(first_ms, last_ms + 1)
    boundaries = np.unique(np.array(midnights, dtype=np.int64) - 1)
    if not len(boundaries):
        raise TooShortError("no day ends between the first event (or --since) and the last event")
    names = sorted({name for timed in usable if (name := timed.event.account_id.strip())})
    accounts = {name: column for column, name in enumerate(names)}
    return Grid(boundaries, every, accounts, calendar.day_end(int(boundaries[-1]) + 1) + 1)


@dataclass(slots=True)
class Track:
    """Scores of one policy: a row for each boundary (cutoff for `points` and `last_ms`), a column for each account."""

    scores: NDArray[np.float64]
    """NaN before the first event of the account."""
    bands: NDArray[np.int8]
    points: NDArray[np.float32]
    """(cutoffs, accounts, measures), NaN where a measure is missing."""
    last_ms: NDArray[np.int64]
    """Time of the last event of any source at each cutoff; 0 before the first."""
    costs: dict[tuple[int, int], Costs] = field(default_factory=dict)
    """By (number of the boundary, account), for the reviewed accounts."""
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Events by (source, outcome), as the engine counts them."""
    refused: list[BadLine] = field(default_factory=list)
    """Lines that the engine has refused, and why."""


def replay(
    events: Sequence[TimedEvent],
    plan: Plan,
    score: SelectedScore,
    grid: Grid,
    reviewed: Mapping[int, Iterable[int]] | None = None,
    *,
    progress: Progress = unseen,
) -> Track:
    """Apply events, in order of time, to a new engine and read a score at every boundary of the grid.

    `reviewed` maps the number of a boundary to the accounts whose costs are recorded there.
    """
    measures = tuple(measure.name for measure in score.measures)
    shape, at_cutoffs = (len(grid.boundaries), len(grid.accounts)), (len(grid.cutoffs), len(grid.accounts))
    track = Track(
        np.full(shape, np.nan),
        np.full(shape, NOT_SCORED, dtype=np.int8),
        np.full((*at_cutoffs, len(measures)), np.nan, dtype=np.float32),
        np.zeros(at_cutoffs, dtype=np.int64),
    )

    def collect(effects: Effects) -> None:
        track.outcomes.update(effects.outcomes)

    playback = Playback(plan, events, collect)
    engine = playback.engine
    columns = _Columns(engine, grid)
    for number, boundary in enumerate(grid.boundaries.tolist()):
        playback.advance_to(boundary)
        progress("days", number + 1, len(grid.boundaries))
        rows, accounts = columns.scored()
        if not len(rows):
            continue
        current = read_scores(engine, rows, score)
        track.scores[number, accounts], track.bands[number, accounts] = current.scores, current.bands
        if number % grid.every == 0:
            track.points[number // grid.every, accounts] = current.points
            track.last_ms[number // grid.every, accounts] = engine.accounts.last_ms[rows]
        for account in (reviewed or {}).get(number, ()):
            for row in np.flatnonzero(accounts == account).tolist():
                costs = [None if np.isnan(cost) else float(cost) for cost in current.costs[row]]
                track.costs[number, account] = dict(zip(measures, costs, strict=True))
    track.refused += playback.bad
    return track


class CurrentScores(NamedTuple):
    """A score of k accounts: scores and bands (k,), points and costs by measure (k, measures).

    The cost of a measure is the points of the score that it falls short of its full weight; in an additive score, the
    points that it subtracts, and `points` are then the measure's values. Both are NaN where a measure is missing.
    """

    scores: NDArray[np.float64]
    bands: NDArray[np.int8]
    points: NDArray[np.float64]
    costs: NDArray[np.float64]


def read_scores(engine: Engine, rows: Rows, score: SelectedScore) -> CurrentScores:
    """The score of these rows as of now."""
    scored = engine.score(rows)
    current = reading(engine.plan, score, scored)
    contributions = current.contributions[:, : len(score.measures)]
    if score.scale is not None:
        return CurrentScores(current.scores, current.bands, current.values, -contributions)
    full = scored.scores[score.number].weights * FULL_POINTS
    costs = np.where(np.isnan(current.points), np.nan, full - contributions)
    return CurrentScores(current.scores, current.bands, current.points, costs)


class _Columns:
    """Maps the rows of an engine to the columns of the grid."""

    def __init__(self, engine: Engine, grid: Grid) -> None:
        self._accounts = engine.accounts
        self._grid = grid
        self._columns = np.zeros(0, dtype=np.int64)

    def scored(self) -> tuple[Rows, NDArray[np.int64]]:
        """Rows that have an event, and their columns."""
        names = self._accounts.index.names
        new = [self._grid.accounts.get(name, NOT_SCORED) for name in names[len(self._columns) :]]
        if new:
            self._columns = np.concatenate([self._columns, np.array(new, dtype=np.int64)])
        rows = self._accounts.alive()
        return rows, self._columns[rows]
