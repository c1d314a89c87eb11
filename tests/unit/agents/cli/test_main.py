"""The commands over files: what they print, and their exit statuses 0 done, 1 failed, 2 bad usage or configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn

import pytest
from typer.testing import CliRunner, Result

from agents.cli.main import app
from agents.kafka.client import BrokerError
from agents.settings.settings import Settings, child_environment, default_policy

EVENTS = Path(__file__).parents[3] / "golden" / "data" / "template.jsonl"
AS_OF = "2026-03-27"


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in child_environment():
        if name.startswith("VITALS_"):
            monkeypatch.delenv(name)


def vitals(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_score_prints_one_line_an_account(tmp_path: Path) -> None:
    other = tmp_path / "engagement.jsonl"
    other.write_text('{"id": "1", "account_id": "Zeta", "time": 1772000000000, "kind": "webinar"}\n', encoding="utf-8")
    done = vitals("score", EVENTS, other, "--as-of", AS_OF)
    assert done.exit_code == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["account_id"] for line in lines] == ["Zeta", "acme"]
    assert lines[1]["scores"]["health"]["value"] == 77.0


@pytest.mark.parametrize("moment", ["2026-03-27T23:59:59.999Z", "2026-03-28T01:59:59+02:00", "1774655999999", None])
def test_moments_are_written_in_several_ways(moment: str | None) -> None:
    done = vitals("score", EVENTS, *(["--as-of", moment] if moment else []))
    assert json.loads(done.stdout)["scores"]["health"]["value"] == 77.0


@pytest.mark.parametrize("moment", ["yesterday", "2026-03-27T10:00:00", ""])
def test_a_moment_that_is_none_is_bad_usage(moment: str) -> None:
    done = vitals("score", EVENTS, "--as-of", moment)
    assert done.exit_code == 2
    assert "--as-of" in done.stderr


def test_score_tells_bad_lines_and_fails_but_scores_the_rest(tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text(
        '{"topic": "engagement", "id": "1", "account_id": "a", "time": 1772000000000, "kind": "webinar"}\n'
        "nonsense\n"
        "\n"
        '{"topic": "unheard-of", "id": "2"}\n'
        '{"topic": "surveys", "id": "3", "account_id": "a", "time": 1772000000000, "kind": "nps", "score": 11}\n'
        '{"topic": "engagement", "id": "4", "account_id": "a", "time": 1772000000, "kind": "webinar"}\n',
        encoding="utf-8",
    )
    done = vitals("score", mixed)
    assert done.exit_code == 1
    assert len(done.stdout.splitlines()) == 1
    assert f"{mixed}:2: malformed_json" in done.stderr
    assert f"{mixed}:4: unknown_topic" in done.stderr
    assert f"{mixed}:5: invalid_field" in done.stderr
    assert "implausible_time" in done.stderr


def test_score_of_a_file_that_is_not_there_is_bad_usage(tmp_path: Path) -> None:
    done = vitals("score", tmp_path / "gone.jsonl")
    assert done.exit_code == 2
    assert "gone.jsonl" in done.stderr


def test_explain_says_what_costs_most_and_what_would_help() -> None:
    done = vitals("explain", "acme", EVENTS, "--as-of", AS_OF, "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert told["factors"][0]["measure"] in {"product_usage", "support_tickets", "engagement"}
    assert (told["band"], told["next_band"]) == ("healthy", None)
    shown = vitals("explain", "acme", EVENTS, "--as-of", AS_OF)
    assert shown.exit_code == 0
    assert "77.0, healthy" in shown.stdout
    assert "product usage" in shown.stdout


def test_explain_an_account_that_is_not_there_fails() -> None:
    done = vitals("explain", "nobody", EVENTS)
    assert done.exit_code == 1
    assert "nobody" in done.stderr


def test_check_of_good_policy() -> None:
    done = vitals("check", "--offline")
    assert done.exit_code == 0
    assert "5 measures" in done.stdout
    report = json.loads(vitals("check", "--offline", "--json").stdout)
    assert report["problems"] == []
    assert report["longest_window"] == {"day": 180}


def test_check_names_the_mistake_of_a_policy(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('name = "p"\n[measures.m]\nsource = "nowhere"\n', encoding="utf-8")
    done = vitals("check", bad, "--offline")
    assert done.exit_code == 2
    assert "bad.toml:3: measures.m.source" in done.stderr
    assert vitals("check", tmp_path / "gone.toml", "--offline").exit_code == 2


def test_check_names_a_bad_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert vitals("check", "--offline", "--broker", "nowhere").exit_code == 2
    monkeypatch.setenv("VITALS_SECURITY_PROTOCOL", "SSL")
    monkeypatch.setenv("VITALS_TLS_CA", "/nowhere/ca.pem")
    done = vitals("check", "--offline")
    assert done.exit_code == 2
    assert "ca.pem" in done.stderr


def test_check_names_a_variable_that_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITALS_BROKR", "kafka://127.0.0.1:9092")
    done = vitals("check", "--offline")
    assert done.exit_code == 1
    assert 'VITALS_BROKR: there is no setting brokr; did you mean "broker"?' in done.stdout


def test_check_fails_when_no_broker_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_answer(settings: Settings) -> NoReturn:
        raise BrokerError(f"{settings.broker}: no broker answers")

    monkeypatch.setattr("agents.kafka.topics.describe_topics", no_answer)
    done = vitals("check", "--broker", "kafka://127.0.0.1:1")
    assert done.exit_code == 1
    assert "127.0.0.1:1" in done.stdout


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
        ("score", EVENTS, "--as-of", AS_OF),
        ("explain", "acme", EVENTS, "--as-of", AS_OF, "--json"),
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
    done = vitals("backtest", EVENTS, "--outcomes", outcomes)
    assert (done.exit_code, "gone.toml" in done.stderr) == (2, True)


def test_no_command_and_unknown_option_are_bad_usage() -> None:
    assert vitals().exit_code == 2
    assert vitals("score", EVENTS, "--sideways").exit_code == 2
