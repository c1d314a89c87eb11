"""Read the events and outcomes of a back-test, and lay the grid of days over them.

Decides which events and churns count for the period of the back-test. Called by `agents.backtest.run`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.backtest.outcomes import Outcomes, read_outcomes
from agents.backtest.replay import Grid, make_grid
from agents.backtest.study import KnownChurn, known_churn
from agents.files.playback import BadLine, TimedEvent
from agents.files.replay import SINCE_2000, Limits, read_events


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything read from files, before any figure."""

    events: list[TimedEvent]
    grid: Grid
    outcomes: Outcomes
    known: KnownChurn
    bad: list[BadLine]
    """Lines and rows that cannot be used."""


def read_inputs(
    files: Sequence[Path],
    outcomes_file: Path,
    every: int,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    limits: Limits = SINCE_2000,
) -> Inputs:
    """Events and outcomes up to `until_ms` (None: the last of them), with cutoffs every `every` days from `since_ms`.

    Raises OSError for a file that cannot be read, OutcomesError and TooShortError.
    """
    bad: list[BadLine] = []
    outcomes = read_outcomes(outcomes_file)
    events = read_events(files, bad, limits)
    if until_ms is not None:
        events = [event for event in events if event.time_ms <= until_ms]
    grid = make_grid(events, every, since_ms)
    if until_ms is None:
        until_ms = max(events[-1].time_ms, outcomes.last_ms or 0)
    return Inputs(events, grid, outcomes, known_churn(grid, outcomes, until_ms), [*bad, *outcomes.bad])
