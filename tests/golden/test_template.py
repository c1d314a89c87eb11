"""The template policy on real messages: the worked example of its own comments, to the last digit."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from agents.files.replay import replay_files
from agents.settings.settings import default_policy
from schemas.outputs import ScoreMessage
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy

EVENTS = Path(__file__).parent / "data" / "template.jsonl"
END_MS = 1_774_656_000_000  # 2026-03-28T00:00:00Z


def test_the_template_scores_its_own_example() -> None:
    plan = compile_plan(parse_policy(default_policy().read_text(encoding="utf-8"), "template.toml"))
    replay = replay_files([EVENTS], plan, END_MS)
    assert not replay.bad
    assert replay.outcomes["product-usage", "duplicate"] == 1
    (sent,) = replay.engine.current().scores
    message = msgspec.json.decode(sent.value, type=ScoreMessage)
    score = message.scores["health"]
    assert {factor.measure: factor.value for factor in score.factors} == {
        "product_usage": 8,
        "support_tickets": 3,
        "payment_history": 3,
        "engagement": 6,
        "nps": 7.5,
    }
    assert [factor.points for factor in score.factors] == [80, 70, 90, 60, 75]
    assert [factor.weight for factor in score.factors] == pytest.approx([0.30, 0.20, 0.25, 0.15, 0.10])
    assert [factor.contribution for factor in score.factors] == [24, 14, 22.5, 9, 7.5]
    assert score.value == 77.0
    assert score.band == "healthy"
    assert message.account_id == "acme"
    assert message.segment == "enterprise"
