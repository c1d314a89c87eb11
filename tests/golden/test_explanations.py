"""What `vitals explain` says of bands that are not those of the score, and the smallest change that lifts a band."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from agents.cli.main import app
from tests.golden.replays import Log

if TYPE_CHECKING:
    from pathlib import Path

PAYMENTS = """
[measures.payments]
source = "billing"
stat = "count"
where = { kind = ["payment_failed"] }
window = "30d"
normalise = { kind = "threshold", good = 0, average = 1 }
weight = 0.2
"""
USAGE = """
[measures.usage]
source = "product-usage"
stat = "count"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 0.7
"""
BANDS = """
[scores.health]
min_change = 1.0
bands = [{ name = "healthy", from = 70, leave = 55 }, { name = "attention", from = 40 }, { name = "at-risk", from = 0 }]
"""
AS_OF = "2026-03-27T12:00:00Z"


def explain(folder: Path, policy: str, log: Log) -> tuple[str, dict[str, Any]]:
    """The text and the JSON of `vitals explain`."""
    (folder / "policy.toml").write_text('name = "p"\n' + policy, encoding="utf-8")
    (folder / "events.jsonl").write_text("\n".join(log.lines), encoding="utf-8")
    arguments = ["explain", "a", str(folder / "events.jsonl"), "--policy", str(folder / "policy.toml")]
    arguments += ["--as-of", AS_OF]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout, json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)


def lifts(explanation: dict[str, Any]) -> dict[str, tuple[float | None, float]]:
    return {lift["measure"]: (lift["value"], lift["needed"]) for lift in explanation["lifts"]}


def test_band_that_an_exception_limits_is_not_the_best(tmp_path: Path) -> None:
    exception = 'exceptions = [{ measure = "payments", points_below = 60, band = "at-risk" }]\n'
    policy = PAYMENTS.replace("0.2", "0.02") + USAGE.replace("0.7", "0.98") + BANDS + exception
    log = Log().add("product-usage", "a", times=10).add("billing", "a", kind="payment_failed")
    text, explanation = explain(tmp_path, policy, log)
    assert "health 99.0, at-risk" in text
    assert "best band" not in text
    assert "Its score lies in healthy; payments limits it to at-risk." in text
    assert "Its points are enough for attention. Any one of these would do:\n  payments: 1 -> 0\n" in text
    assert lifts(explanation) == {"payments": (1.0, 0.0)}
    assert explanation["missing_points"] == 0.0


def test_band_that_is_left_below_its_start_is_the_best(tmp_path: Path) -> None:
    """9 events and 90 points until the oldest 3 leave the window; healthy is left below 55."""
    log = Log().add("product-usage", "a", days_ago=31, times=3).add("product-usage", "a", days_ago=10, times=6)
    text, explanation = explain(tmp_path, USAGE + BANDS, log)
    assert "health 60.0, healthy" in text
    assert "It is in the best band, healthy.\nIt stays in healthy until its score is below 55." in text
    assert "missing to" not in text
    assert (explanation["next_band"], explanation["lifts"], explanation["missing_points"]) == (None, [], 0.0)


def test_band_that_is_due_takes_its_time(tmp_path: Path) -> None:
    """90 points since yesterday: healthy is due, and becomes the band after three days."""
    policy = USAGE + BANDS.replace("min_change", 'dwell = "3d"\nmin_change')
    log = Log().add("product-usage", "a", days_ago=5, times=2).add("product-usage", "a", days_ago=1, times=7)
    text, explanation = explain(tmp_path, policy, log)
    assert "health 90.0, at-risk" in text
    assert "healthy is due: it enters that band when this has lasted for 3 days." in text
    assert "would do" not in text
    assert (explanation["due_band"], explanation["next_band"], explanation["lifts"]) == ("healthy", "attention", [])


def test_share_falls_just_below_the_limit_of_its_tier(tmp_path: Path) -> None:
    tiers = "[{ from = 0, points = 100 }, { from = 0.1, points = 50 }, { from = 0.5, points = 0 }]"
    policy = f"""
[measures.urgent]
source = "support-tickets"
stat = "share"
of = {{ priority = ["urgent"] }}
window = "30d"
normalise = {{ kind = "tiers", tiers = {tiers} }}
weight = 1
{BANDS}"""
    log = Log().add("support-tickets", "a", priority="urgent").add("support-tickets", "a", priority="low")
    text, explanation = explain(tmp_path, policy, log)
    assert "urgent: 0.5 -> 0.4999\n" in text
    assert lifts(explanation) == {"urgent": (0.5, 0.4999)}


def test_one_answer_to_a_survey_is_enough(tmp_path: Path) -> None:
    nps = """
[measures.nps]
source = "surveys"
stat = "mean"
field = "score"
where = { kind = ["nps"] }
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 0.7
"""
    text, explanation = explain(tmp_path, USAGE + nps + BANDS, Log().add("product-usage", "a", times=1))
    assert "  nps: no value -> 7\n" in text
    assert lifts(explanation) == {"nps": (None, 7.0), "usage": (1.0, 4.0)}
    assert "usage: 1 -> 4\n" in text


def test_measure_of_an_exception_alone_has_its_value(tmp_path: Path) -> None:
    """`payments` is no factor of the score: its value comes from the events."""
    exception = 'exceptions = [{ measure = "payments", points_below = 100, cap = 50 }]\n'
    policy = PAYMENTS.replace("weight = 0.2\n", "") + USAGE + BANDS + exception
    log = Log().add("product-usage", "a", times=10).add("billing", "a", times=3, kind="payment_failed")
    text, explanation = explain(tmp_path, policy, log)
    assert "health 50.0, attention" in text
    assert lifts(explanation) == {"payments": (3.0, 0.0)}


def test_needed_values_are_whole_or_short(tmp_path: Path) -> None:
    """A line through 0.1 and 0.7 gave 9.999999999999998."""
    policy = USAGE.replace("zero_at = 0", "zero_at = 0.1").replace("hundred_at = 10", "hundred_at = 14.2")
    policy = policy.replace('stat = "count"', 'stat = "sum"\nfield = "duration_s"')
    _, explanation = explain(tmp_path, policy + BANDS, Log().add("product-usage", "a", duration_s=1))
    (lift,) = explanation["lifts"]
    assert lift["needed"] == 5.74
    assert lift["points"] == pytest.approx(40)
