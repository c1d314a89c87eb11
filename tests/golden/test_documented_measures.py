"""Statistics and conditions of docs/reference/policy/measures.md over small logs, with numbers worked out by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.golden.replays import Log, gives, near, replay, values
from tests.golden.test_documented_policies import SHOWN, one_measure

if TYPE_CHECKING:
    from pathlib import Path


# The moment of the scores, 2026-03-27, is a Friday: the current week began four days before.
HABITS = {
    "weekdays": ([day for day in range(1, 85) if (4 - day) % 7 < 5], 20, 12),
    "weekdays and today": ([day for day in range(85) if (4 - day) % 7 < 5], 20, 12),
    "today": ([0], 1, 1),
    "the last of the 28 days, with none today": ([28], 1, 1),
    "no more the last of the 28 days, with one today": ([0, 28], 1, 2),
    "last Sunday and the Monday before": ([5, 11], 2, 1),
    "this Monday and last Sunday": ([4, 5], 2, 2),
    "every other week": ([1, 15, 29, 43], 2, 4),
    "a Monday 12 weeks before this one": ([4 + 7 * 12], 0, 1),
    "that Monday, and one today": ([0, 4 + 7 * 12], 1, 1),
}
STREAKS = {"weekdays": 12, "weekdays and today": 12, "today": 1, "last Sunday and the Monday before": 1}
STREAKS |= {"no more the last of the 28 days, with one today": 1}
STREAKS |= {"this Monday and last Sunday": 2, "every other week": 1, "that Monday, and one today": 1}


@pytest.mark.parametrize("habit", HABITS)
def test_active_days_and_weeks(tmp_path: Path, habit: str) -> None:
    days_ago, l28, weeks = HABITS[habit]
    log = Log().add("controls", "a", value=50)  # the time of the score is today, whatever the habit is
    for day in days_ago:
        log.add("product-usage", "a", day)
    measured = values(replay(tmp_path, SHOWN["habits"], log).score("a"))
    assert measured == {"l28": l28, "weeks": near(weeks / 12), "streak": STREAKS.get(habit, 0)}


def test_points_of_activity(tmp_path: Path) -> None:
    # 10 of 20 days are 50 points; 2 of 12 weeks are 16.67 points, and both in a row: (50 x 50 + 50 x 16.67) / 100.
    log = Log()
    for day in range(10):
        log.add("product-usage", "a", day)
    score = replay(tmp_path, SHOWN["habits"], log).score("a")
    assert gives(score) == near({"l28": 25, "weeks": 5, "streak": 20 / 6})
    assert score.band == "forming"


@pytest.mark.parametrize(
    ("condition", "count"),
    [
        ('feature = ["export-csv"]', 1),
        ('feature = { in = ["export-csv", "login"] }', 3),
        ('feature = { not = ["export-csv"] }', 4),  # the event without a feature, too
        ('feature = { not = ["export-csv"], exists = true }', 3),
        ('feature = { prefix = "export-" }', 2),
        ('feature = { prefix = ["export-p", "log"] }', 3),
        ("feature = { exists = false }", 1),
        ("duration_s = { from = 60 }", 3),
        ("duration_s = { below = 60 }", 2),  # without a duration it is 0
        ("duration_s = { from = 59.999, below = 60.001 }", 2),
        ("duration_s = { exists = true }", 5),
        ('duration_s = { from = 60 }, feature = { not = ["login"] }', 1),
    ],
)
def test_conditions(tmp_path: Path, condition: str, count: int) -> None:
    policy = SHOWN["trend"].replace('compare = "previous"', f"where = {{ {condition} }}")
    log = Log().add("product-usage", "a", feature="export-csv", duration_s=59.9989)
    log.add("product-usage", "a", feature="export-pdf", duration_s=300).add("product-usage", "a", feature=None)
    log.add("product-usage", "a", times=2, feature="login", duration_s=60)
    assert values(replay(tmp_path, policy, log).score("a")) == {"usage_trend": count}


@pytest.mark.parametrize(("stale_after", "value"), [("31d", None), ("32d", 7), ("365d", 7)])
def test_a_value_is_held_before_complete_panes(tmp_path: Path, stale_after: str, value: float | None) -> None:
    # The window is days 1 to 30 and the answer is of day 31: of 31 panes there is none before the window, of 32 one.
    lines = 'source = "surveys"\nstat = "mean"\nfield = "score"\nwindow = "30d"\ncomplete = true\nmissing = "hold"\n'
    policy = one_measure(
        f'{lines}stale_after = "{stale_after}"\nnormalise = {{ kind = "linear", zero_at = 0, hundred_at = 10 }}'
    )
    log = Log().add("surveys", "a", 31, score=7).add("product-usage", "a")
    assert values(replay(tmp_path, policy, log).score("a")) == {"m": value}
