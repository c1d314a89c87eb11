"""The policies of docs/reference/policy with values from other measures and with grids; numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.golden.replays import Log, gives, near, replay, values
from tests.golden.test_documented_policies import SHOWN


def calls(errors: int, others: int, days_ago: int) -> Log:
    log = Log().add("product-usage", "a", days_ago, times=errors, action="error")
    return log.add("product-usage", "a", days_ago, times=others, action="call")


def test_ratios(tmp_path: Path) -> None:
    # 2 of 5 users are of this week: 40 %, 60 + 20 x 40 / 30 = 86.67 points. Errors are 1 of 4 calls now, and were 2
    # of 4 the week before: -50 %, 100 points. 5 users for 2 x 1,000 of revenue: 2.5, 25 points.
    log = Log().users("a", 2, days_ago=4, action="view").users("a", 5, days_ago=20, action="view")
    log.lines += calls(1, 3, 5).lines + calls(2, 2, 12).lines
    log.lines = [line.replace('"user_id": "u"', '"user_id": "u0"') for line in log.lines]
    log.lines = [line.replace('"id": "', f'"id": "{number}-', 1) for number, line in enumerate(log.lines)]
    log.add("accounts", "a", 1, arr=2000)
    replayed = replay(tmp_path, SHOWN["ratios"], log)
    score = replayed.score("a")
    assert values(score) == {"stickiness": 40, "error_trend": -50, "paid_use": 2.5}
    assert gives(score) == near({"stickiness": 2 / 4 * 260 / 3, "error_trend": 25, "paid_use": 6.25})
    assert replayed.accounts["a"].inputs == {"weekly_users": 2, "monthly_users": 5, "account.arr": 2000}


def test_ratios_without_their_inputs(tmp_path: Path) -> None:
    # No profile and no errors the week before: both values are missing.
    log = Log().users("a", 1, days_ago=4, action="view")
    replayed = replay(tmp_path, SHOWN["ratios"], log)
    score = replayed.score("a")
    assert values(score) == {"stickiness": 100, "error_trend": None, "paid_use": None}
    assert score.value == 100
    assert replayed.accounts["a"].inputs == {"weekly_users": 1, "monthly_users": 1, "account.arr": None}


@pytest.mark.parametrize(
    ("users", "started_at", "points", "band"),
    [
        (4, "2026-03-01T00:00:00Z", 80, "fine"),  # 26 days
        (4, "2025-12-28T00:00:00Z", 80, "fine"),  # 89 days
        (4, "2025-12-27T00:00:00Z", 40, "poor"),  # 90 days
        (5, "2025-12-27T00:00:00Z", 50, "poor"),  # not above 50
        (6, "2025-12-27T00:00:00Z", 60, "fine"),
        (5, "2025-03-27T00:00:00Z", 0, "poor"),  # 365 days; 5 is not above 5
        (6, "2025-03-27T00:00:00Z", 100, "fine"),
        (4, "2026-05-01T00:00:00Z", 80, "fine"),  # it has not begun: the first row
        (4, None, None, None),  # no row: the only measure is missing, and there is no data
    ],
)
def test_grid(tmp_path: Path, users: int, started_at: str | None, points: float | None, band: str | None) -> None:
    log = Log().users("a", users)
    if started_at is not None:
        log.add("accounts", "a", 1, started_at=started_at)
    score = replay(tmp_path, SHOWN["grid"], log).score("a")
    (factor,) = score.factors
    assert (factor.value, factor.points, score.band) == (users, points, band)


@pytest.mark.parametrize(
    ("users", "profile", "expected", "rated"),
    [
        # 40 of 50 seats: 80 %, 100 points. Live for 70 days, 10 weeks: 4 users a week, 100 points.
        (40, {"seats": 50, "live_at": "2026-01-16"}, (80, 4), (100, "healthy")),
        # 25 of 50: 50 %, 60 points. 5 days count as a week: 25 a week, 100 points. (3 x 60 + 100) / 4 = 70.
        (25, {"seats": "50", "live_at": "2026-03-22"}, (50, 25), (70, "healthy")),
        # 24 of 50: 48 %, 0 points. 84 days, 12 weeks: 2 a week, 50 points. 50 / 4 = 12.5.
        (24, {"seats": 50.0, "live_at": "2026-01-02T23:00:00Z"}, (48, 2), (12.5, "at-risk")),
        # Live tomorrow: -1 day, at least a week. No seats: the weight is shared.
        (2, {"seats": 0, "live_at": "2026-03-28"}, (None, 2), (50, "attention")),
        # No number and no date: both are missing, and the score has no value.
        (2, {"seats": "many", "live_at": "soon"}, (None, None), (None, None)),
    ],
)
def test_per_seat(
    tmp_path: Path,
    users: int,
    profile: dict[str, Any],
    expected: tuple[float | None, float | None],
    rated: tuple[float | None, str | None],
) -> None:
    log = Log().users("a", users, days_ago=3).add("accounts", "a", 2, **profile)
    replayed = replay(tmp_path, SHOWN["per-seat"], log)
    of_a = replayed.score("a")
    assert values(of_a) == dict(zip(("seats_used", "roll_out"), expected, strict=True))
    assert (of_a.value, of_a.band) == rated
    inputs = replayed.accounts["a"].inputs or {}
    assert list(inputs) == ["active_users", "account.seats", "days_since(account.live_at)"]
