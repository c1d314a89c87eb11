"""Statistics and conditions of docs/reference/policy/measures.md over small logs, with numbers worked out by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.golden.replays import Log, near, replay, values
from tests.golden.test_documented_policies import SHOWN

if TYPE_CHECKING:
    from pathlib import Path


def test_ratings_of_surveys(tmp_path: Path) -> None:
    # NPS: 2 promoters and 1 detractor of 4 are 25, 62.5 points. CSAT: 3 of 4 are satisfied, 75 points. Effort: 1 of 4
    # answers of persons is a 7, 0.25 of 0.5 is 50 points; the bot's answer does not count, nor one without a user.
    # (50 x 62.5 + 30 x 75 + 20 x 50) / 100 = 63.75: fine.
    log = Log()
    for kind, answers in {"nps": (10, 9, 8, 3), "csat": (5, 4, 4, 3.5), "ces": (7, 6.9, 1, 2)}.items():
        for answer in answers:
            log.add("surveys", "a", 89, kind=kind, score=answer, user_id="ann")
    log.add("surveys", "a", 90, kind="nps", score=0)
    log.add("surveys", "a", kind="ces", score=7, user_id="survey-bot").add("surveys", "a", kind="ces", score=7)
    score = replay(tmp_path, SHOWN["voice"], log).score("a")
    assert values(score) == {"net_promoters": 25, "csat": 0.75, "effort_top_box": 0.25}
    assert (score.value, score.band) == (near(63.75), "fine")


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
