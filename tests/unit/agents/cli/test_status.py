"""What `vitals explain` and `vitals score` print of accounts that have ended or have no data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.agents.cli.invoke import vitals

DAY = 86_400_000
START = 20_500 * DAY + DAY // 2  # 2026-02-16, noon
POLICY = """
name = "p"
[status]
dormant_after = "20d"
[measures.usage]
source = "product-usage"
stat = "count"
window = "10d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 4 }
weight = 1
[scores.health]
min_change = 1
bands = [{ name = "good", from = 50 }, { name = "poor", from = 0 }]
"""


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """`a` is used on day 0; `b` too, and cancels on day 1."""
    events = [
        {"topic": "product-usage", "id": "1", "account_id": "a", "time": START},
        {"topic": "product-usage", "id": "2", "account_id": "b", "time": START},
        {"topic": "billing", "id": "3", "account_id": "b", "time": START + DAY, "kind": "cancelled"},
    ]
    (tmp_path / "p.toml").write_text(POLICY, encoding="utf-8")
    (tmp_path / "events.jsonl").write_text("\n".join(map(json.dumps, events)), encoding="utf-8")
    return [str(tmp_path / "events.jsonl"), "--policy", str(tmp_path / "p.toml")]


def test_explain_says_when_an_account_ended(files: list[str]) -> None:
    result = vitals("explain", "b", *files)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "b: health is not scored: the account ended on 2026-02-17 12:00 UTC (as of 2026-02-17 12:00 UTC)",
    ]
    explanation = json.loads(vitals("explain", "b", *files, "--json").stdout)
    assert (explanation["value"], explanation["state"]) == (None, "ended")


def test_explain_says_since_when_there_is_no_data(files: list[str]) -> None:
    result = vitals("explain", "a", *files, "--as-of", "2026-03-20")
    assert result.stdout.splitlines()[0].startswith(
        "a: health has no data: the last event was on 2026-02-16 12:00 UTC (as of"
    )


def test_the_forecast_says_when_an_account_has_no_data(files: list[str]) -> None:
    text = vitals("explain", "a", *files).stdout
    assert "It has no data from 2026-03-08 00:00 UTC on." in text
    assert "It stays poor until 2026-03-08 00:00 UTC." in text


def test_score_prints_the_status_and_history_leaves_days_without_a_score_out(files: list[str]) -> None:
    (a, b) = map(json.loads, vitals("score", *files).stdout.splitlines())
    assert ("state" in a, b["state"], b["scores"]["health"]["value"], "last" in b) == (False, "ended", None, False)
    lines = [
        json.loads(line) for line in vitals("score", *files, "--history", "--as-of", "2026-03-20").stdout.splitlines()
    ]
    days = {name: [line["day"] for line in lines if line["account_id"] == name] for name in "ab"}
    assert (days["b"], days["a"][0]) == (["2026-02-16"], "2026-02-16")
    assert days["a"][-1] in {"2026-03-06", "2026-03-07"}, "no data from the midnight on with which 8 March begins"
