"""Read the events and outcomes of a back-test, and lay the grid of days over them.

Decides which events and churns count for the period of the back-test. Called by `agents.backtest.run`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.backtest.outcomes import Outcomes, read_outcomes
from agents.backtest.replay import Grid, make_grid
from agents.backtest.study import KnownChurn, known_churn
from agents.files.formats import Input
from agents.files.playback import BadLine
from agents.files.replay import SINCE_2000, Reading, read_events
from agents.files.timeline import Timeline
from schemas.properties import united
from schemas.sources import united_sources
from stream.plan.plan import Plan


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything read from files, before any figure."""

    events: Timeline
    grid: Grid
    outcomes: Outcomes
    known: KnownChurn
    bad: list[BadLine]
    """Lines and rows that cannot be used."""


def read_inputs(
    files: Sequence[Input],
    outcomes_file: Input,
    every: int,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    reading: Reading = SINCE_2000,
    plans: Sequence[Plan],
) -> Inputs:
    """Events and outcomes up to `until_ms` (None: the last of them), with cutoffs every `every` days from `since_ms`.

    Days are those of the first of `plans`; the events are what all of them read.

    Raises OSError for a file that cannot be read, OutcomesError, SourcesError and TooShortError.
    """
    bad: list[BadLine] = []
    outcomes = read_outcomes(outcomes_file)
    properties = united(plan.properties for plan in plans)
    sources = united_sources(plan.sources for plan in plans)
    events = read_events(files, bad, reading, properties, sources)
    if until_ms is not None:
        events = events[: events.count_until(until_ms)]
    grid = make_grid(events, every, since_ms, plans[0].calendar)
    if until_ms is None:
        until_ms = max(events[-1].time_ms, outcomes.last_ms or 0)
    return Inputs(events, grid, outcomes, known_churn(grid, outcomes, until_ms), [*bad, *outcomes.bad])
