"""Where cutoffs lie, and what counts exactly at a cutoff: churn, events, and scores that differ in the last bit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from agents.backtest import figures
from agents.backtest.outcomes import read_outcomes
from agents.backtest.replay import TooShortError, make_grid, replay
from agents.backtest.study import Samples, known_churn
from agents.files.history import score_history
from agents.files.replay import read_events
from stream.columns.calendar import Calendar
from stream.explain.selector import select_score
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy

if TYPE_CHECKING:
    from pathlib import Path

DAY_MS = 86_400_000
HOUR_MS = DAY_MS // 24
START_MS = 20_000 * DAY_MS
POLICY = """
name = "small"
[measures.taking_part]
source = "engagement"
stat = "count"
window = "7d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 4 }
weight = 1
[scores.health]
min_change = 1
bands = [{ name = "fine", from = 50 }, { name = "poor", from = 0, alert = "warning" }]
"""
PLAN = compile_plan(parse_policy(POLICY))


def end(day: int) -> int:
    """The last millisecond of a day."""
    return START_MS + (day + 1) * DAY_MS - 1


def events_at(folder: Path, *times_ms: int, account: str = "a") -> Path:
    path = folder / "engagement.jsonl"
    lines = [
        json.dumps({"id": f"{account}{number}", "account_id": account, "time": time_ms, "kind": "x"})
        for number, time_ms in enumerate(times_ms)
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("first_ms", "last_ms", "days"),
    [
        (START_MS, START_MS + 2 * DAY_MS, [0, 1]),
        (START_MS + DAY_MS - 1, end(2), [0, 1, 2]),
        (START_MS, end(2) - 1, [0, 1]),
        (START_MS + 5, end(0), [0]),
    ],
)
def test_cutoffs_are_the_ends_of_days_and_none_is_after_the_last_event(
    tmp_path: Path, first_ms: int, last_ms: int, days: list[int]
) -> None:
    grid = make_grid(read_events([events_at(tmp_path, first_ms, last_ms)], []), 1)
    assert grid.cutoffs.tolist() == [end(day) for day in days]


def test_a_first_cutoff_after_the_last_event_is_too_short(tmp_path: Path) -> None:
    events = read_events([events_at(tmp_path, START_MS, START_MS + 9 * DAY_MS)], [])
    assert make_grid(events, 1, START_MS + 8 * DAY_MS).cutoffs.tolist() == [end(8)]
    with pytest.raises(TooShortError, match="no day ends between"):
        make_grid(events, 1, START_MS + 9 * DAY_MS)


@pytest.mark.parametrize(
    ("churned_at", "labels"),
    [
        # A date is its beginning: the cutoff of the day before is the last with this account.
        ("2024-10-12", [(0, False), (7, True)]),
        # Exactly at the cutoff of day 7: the account has churned.
        ("2024-10-11T23:59:59.999Z", [(0, True)]),
        # A millisecond later it is a sample of that cutoff.
        ("2024-10-12T00:00:00Z", [(0, False), (7, True)]),
        # Exactly one lead time after the cutoff of day 7, which counts, and a millisecond later.
        ("2024-10-18T23:59:59.999Z", [(0, False), (7, True)]),
        ("2024-10-19T00:00:00Z", [(0, False), (7, False), (14, True)]),
    ],
)
def test_a_churn_at_a_cutoff_is_over(tmp_path: Path, churned_at: str, labels: list[tuple[int, bool]]) -> None:
    events = read_events([events_at(tmp_path, *(START_MS + day * DAY_MS for day in range(30)))], [])
    grid = make_grid(events, 7)
    (tmp_path / "outcomes.csv").write_text(f"account_id,churned_at\na,{churned_at}\n", encoding="utf-8")
    known = known_churn(grid, read_outcomes(tmp_path / "outcomes.csv"), events[-1].time_ms)
    samples = Samples(grid, known, 7, np.ones((len(grid.cutoffs), 1), dtype=bool))
    assert list(zip((samples.cutoff * 7).tolist(), samples.churned.tolist(), strict=True)) == labels


def test_the_score_at_a_cutoff_is_that_of_the_history(tmp_path: Path) -> None:
    # Four events, one a day: 25 more points each day, all of it at the end of day 3, none of it lost at midnight.
    path = events_at(tmp_path, *(START_MS + day * DAY_MS for day in range(4)), end(8))
    events, score = read_events([path], []), select_score(PLAN.policy)
    track = replay(events, PLAN, score, make_grid(events, 1))
    assert track.scores[:, 0].tolist() == [25, 50, 75, 100, 100, 100, 100, 75, 75]
    days, _ = score_history([path], PLAN, score)
    assert [day.score for day in days] == track.scores[:, 0].tolist()


def test_scores_that_differ_in_the_last_bit_are_equal() -> None:
    lower = np.nextafter(70.0, 0)
    assert figures.auc(np.array([70.0, lower]), np.array([True, False])) == 0.5
    assert figures.auc(np.array([70.0, 69.999999]), np.array([True, False])) == 0.0
    draws = figures.resampled_aucs([np.array([70.0, lower, lower])], np.array([True, False, True]), np.arange(3), 20)
    assert set(draws[~np.isnan(draws)].tolist()) == {0.5}
    assert [count.samples for count in figures.calibration(np.array([lower]), np.array([True]))][6:8] == [0, 1]
    deciles = figures.lift_by_decile(np.array([70.0, lower]), np.array([True, False]))
    assert [decile.rate for decile in deciles] == pytest.approx([0.5] * 10)


def test_cutoffs_are_ends_of_the_days_of_the_time_zone(tmp_path: Path) -> None:
    """2024-11-03 has 25 hours in New York: it begins at 04:00 UTC, and the day after it at 05:00 UTC."""
    calendar = Calendar(timezone="America/New_York")
    sunday = START_MS + 30 * DAY_MS  # 2024-11-03T00:00Z
    events = read_events([events_at(tmp_path, sunday + 4 * HOUR_MS - 1, sunday + 40 * HOUR_MS)], [])
    grid = make_grid(events, 1, None, calendar)
    assert grid.cutoffs.tolist() == [sunday + 4 * HOUR_MS - 1, sunday + 29 * HOUR_MS - 1]


def test_the_last_day_of_the_grid_may_have_25_hours(tmp_path: Path) -> None:
    """2024-11-03 has 25 hours in New York: its last hour is 24 hours after the last cutoff."""
    calendar = Calendar(timezone="America/New_York")
    midnight = START_MS + 30 * DAY_MS + 4 * HOUR_MS
    in_its_last_hour = midnight + 24 * HOUR_MS + HOUR_MS // 2
    events = read_events([events_at(tmp_path, midnight - DAY_MS, in_its_last_hour)], [])
    grid = make_grid(events, 1, None, calendar)
    assert grid.boundaries[-1] == midnight - 1
    assert grid.boundary_before(in_its_last_hour) == len(grid.boundaries) - 1
    assert grid.boundary_before(midnight + 25 * HOUR_MS - 1) is not None
    assert grid.boundary_before(midnight + 25 * HOUR_MS) is None
