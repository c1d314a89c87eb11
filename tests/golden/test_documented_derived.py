"""The policies of docs/reference/policy with values from other measures and with grids; numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path

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
        (4, None, None, "poor"),
    ],
)
def test_grid(tmp_path: Path, users: int, started_at: str | None, points: float | None, band: str) -> None:
    log = Log().users("a", users)
    if started_at is not None:
        log.add("accounts", "a", 1, started_at=started_at)
    score = replay(tmp_path, SHOWN["grid"], log).score("a")
    (factor,) = score.factors
    assert (factor.value, factor.points, score.band) == (users, points, band)
