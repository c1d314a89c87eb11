"""The command `vitals`: policy, bad usage and exit statuses that several commands share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.settings.settings import default_policy
from tests.unit.agents.cli.invoke import ACME_EVENTS, AS_OF, EVENTS, TEMPLATE, vitals

OTHER_POLICY = """
name = "other"

[measures.engagement]
source = "engagement"
stat = "count"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }
weight = 1
missing = "zero"

[scores.other]
min_change = 1.0
bands = [{ name = "all", from = 0 }]
"""


def score_names(*arguments: object) -> list[str]:
    """The score in the output of a command over event files."""
    done = vitals(*arguments)
    assert done.exit_code == 0, done.stderr
    output = json.loads(done.stdout.splitlines()[0])
    if "score" in output:
        return [output["score"]]
    return list(output["scores"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("score", ACME_EVENTS, "--as-of", AS_OF),
        ("explain", "acme", ACME_EVENTS, "--as-of", AS_OF, "--json"),
    ],
    ids=["score", "explain"],
)
def test_the_policy_is_that_of_the_option_then_of_the_setting_then_the_template(
    arguments: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.toml"
    other.write_text(OTHER_POLICY, encoding="utf-8")
    assert score_names(*arguments) == ["health"]
    monkeypatch.setenv("VITALS_POLICY", str(other))
    assert score_names(*arguments) == ["other"]
    assert score_names(*arguments, "--policy", default_policy()) == ["health"]
    settings = tmp_path / "vitals.toml"
    settings.write_text(f'policy = "{other}"\n', encoding="utf-8")
    monkeypatch.delenv("VITALS_POLICY")
    monkeypatch.setenv("VITALS_SETTINGS", str(settings))
    assert score_names(*arguments) == ["other"]


def test_check_and_backtest_use_the_policy_of_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.toml"
    other.write_text(OTHER_POLICY, encoding="utf-8")
    monkeypatch.setenv("VITALS_POLICY", str(other))
    assert json.loads(vitals("check", "--offline", "--json").stdout)["policy"].startswith("other@")
    monkeypatch.setenv("VITALS_POLICY", str(tmp_path / "gone.toml"))
    outcomes = tmp_path / "outcomes.csv"
    outcomes.write_text("account_id,churned_at\nacme,2026-03-20\n", encoding="utf-8")
    done = vitals("backtest", ACME_EVENTS, "--outcomes", outcomes)
    assert (done.exit_code, "gone.toml" in done.stderr) == (2, True)


def test_no_command_and_unknown_option_are_bad_usage() -> None:
    assert vitals().exit_code == 2
    assert vitals("score", ACME_EVENTS, "--sideways").exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", "acme", EVENTS, "--score", "churn"),
        ("score", EVENTS, "--score", "churn"),
        ("score", EVENTS, "--history", "--score", "churn"),
        ("check", TEMPLATE, "--against", EVENTS, "--score", "churn"),
        ("score", EVENTS, "--csv", "--parents"),
        ("explain", "acme", EVENTS, "--since", "2027-01-01"),
        ("explain", "acme", EVENTS, "--since", "lately"),
    ],
)
def test_unusable_options_are_bad_usage(arguments: tuple[object, ...]) -> None:
    done = vitals(*arguments)
    assert done.exit_code == 2
    assert any(word in done.stderr for word in ("it has health", "--history", "--since"))
