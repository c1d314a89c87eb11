"""`vitals check`: settings, policy and topics, and `--against` event files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn

import pytest

from agents.kafka.client import BrokerError
from agents.kafka.rights import Right
from agents.kafka.topics import TopicState
from agents.settings.settings import Settings
from schemas.sources import BUILT_IN, Sources
from schemas.topics import all_topics
from tests.unit.agents.cli.invoke import AS_OF, EVENTS, TEMPLATE, lines, vitals

SMALL = """
name = "small"
[measures.opened]
source = "support-tickets"
stat = "count"
window = "1d"
normalise = { kind = "linear", zero_at = 4, hundred_at = 0 }
weight = 1
[scores.health]
min_change = 1
bands = [{ name = "all", from = 0 }]
"""


def test_check_of_a_valid_policy() -> None:
    done = vitals("check", "--offline")
    assert done.exit_code == 0
    assert "5 measures" in done.stdout
    report = json.loads(vitals("check", "--offline", "--json").stdout)
    assert report["problems"] == report["hints"] == []
    assert report["longest_window"] == {"day": 182}


@pytest.mark.parametrize(
    ("window", "compare", "whole"),
    [
        ("30d", '"previous"', "28d"),
        ("182d", '"previous"', None),
        ("181d", '"previous"', "182d"),
        ("3d", '"previous"', "7d"),
        ("24h", '"previous"', "7d"),
        ("28d", '"previous"', None),
        ("10d", '"percentile"\nhistory = "60d"', "7d"),
        ("121d", '"z"\nhistory = "242d"', "119d"),
        ("7d", '"z"\nhistory = "21d"', None),
        ("30d", '"peers"', None),
    ],
)
def test_check_hints_at_windows_that_are_not_whole_weeks(
    tmp_path: Path, window: str, compare: str, whole: str | None
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(SMALL.replace('window = "1d"', f'window = "{window}"\ncompare = {compare}'), encoding="utf-8")
    done, report = vitals("check", policy, "--offline"), vitals("check", policy, "--offline", "--json")
    assert (done.exit_code, report.exit_code) == (0, 0)
    word = compare.partition("\n")[0]
    expected = (
        f'measures.opened: window = "{window}" is not whole weeks, so compare = {word} compares windows with different '
        f'weekdays, and weekends alone change the value; "{whole}" is whole weeks'
    )
    assert json.loads(report.stdout)["hints"] == ([] if whole is None else [expected])
    assert [line for line in done.stdout.splitlines() if line.startswith("hint: ")] == (
        [] if whole is None else [f"hint: {expected}"]
    )


@pytest.mark.parametrize(
    ("window", "hint"),
    [
        ('"1mo"', "begins anew on the first of each month; complete = true counts complete months"),
        (
            '"2mo"\ncomplete = true',
            'has months of 28 to 31 days, which alone change the value; stat = "rate" is per day',
        ),
        ('"5bd"', None),
        ('"5bd"\ncompare = "previous"', None),
    ],
)
def test_check_hints_at_values_that_the_calendar_changes(tmp_path: Path, window: str, hint: str | None) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(SMALL.replace('window = "1d"', f"window = {window}"), encoding="utf-8")
    text = window.partition("\n")[0]
    expected = [] if hint is None else [f"measures.opened: window = {text} {hint}"]
    assert json.loads(vitals("check", policy, "--offline", "--json").stdout)["hints"] == expected


def test_check_names_the_mistake_of_a_policy(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('name = "p"\n[measures.m]\nsource = "nowhere"\n', encoding="utf-8")
    done = vitals("check", bad, "--offline")
    assert done.exit_code == 2
    assert "bad.toml:3: measures.m.source" in done.stderr


def test_check_of_a_missing_policy_file_says_what_to_do(tmp_path: Path) -> None:
    missing = tmp_path / "gone.toml"
    done = vitals("check", missing, "--offline")
    assert done.exit_code == 2
    assert done.stderr == f"{missing}: no such file: check the path, or set VITALS_POLICY or --policy\n"
    folder = vitals("check", tmp_path, "--offline")
    assert (folder.exit_code, folder.stderr) == (2, f"{tmp_path}: the policy cannot be read: Is a directory\n")


def test_check_counts_in_the_singular(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(SMALL, encoding="utf-8")
    done = vitals("check", policy, "--offline")
    assert ": 1 measure on 1 column, longest window 1 day\n" in done.stdout


def test_check_names_a_bad_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert vitals("check", "--offline", "--broker", "nowhere").exit_code == 2
    monkeypatch.setenv("VITALS_SECURITY_PROTOCOL", "SSL")
    monkeypatch.setenv("VITALS_TLS_CA", "/nowhere/ca.pem")
    done = vitals("check", "--offline")
    assert done.exit_code == 2
    assert "ca.pem" in done.stderr


def test_check_names_a_variable_that_is_not_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITALS_BROKR", "kafka://127.0.0.1:9092")
    done = vitals("check", "--offline")
    assert done.exit_code == 1
    assert 'VITALS_BROKR: there is no setting brokr; did you mean "broker"?' in done.stdout


def test_check_fails_when_no_broker_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_answer(settings: Settings, _sources: Sources) -> NoReturn:
        raise BrokerError(f"{settings.broker}: no broker answers")

    monkeypatch.setattr("agents.kafka.topics.describe_topics", no_answer)
    monkeypatch.setattr("agents.kafka.rights_check.missing_rights", lambda *_: [])
    done = vitals("check", "--broker", "kafka://127.0.0.1:1")
    assert done.exit_code == 1
    assert "127.0.0.1:1: no broker answers" in done.stdout


def test_check_names_a_missing_right_and_not_the_topic_that_it_hides(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = {topic.name: topic for topic in all_topics("account-vitals", BUILT_IN)}
    states = [TopicState(topics[name], None, "missing") for name in ("health.alerts", "health.scores")]
    right = Right("topic", "health.alerts", "READ")
    monkeypatch.setattr("agents.kafka.topics.describe_topics", lambda *_: states)
    monkeypatch.setattr("agents.kafka.rights_check.missing_rights", lambda *_: [right])
    report = json.loads(vitals("check", "--json").stdout)
    assert report["problems"] == [
        "a client without credentials is denied READ on topic health.alerts",
        "health.scores: missing",
    ]
    board = json.loads(vitals("check", "--json", "--role", "board").stdout)
    assert board["problems"] == report["problems"][:1]


def test_check_refuses_an_unknown_role() -> None:
    done = vitals("check", "--offline", "--role", "nobody")
    assert done.exit_code == 2
    assert "expected one of worker, topics, board" in done.stderr


def test_check_against_reports_the_distribution() -> None:
    (report,) = lines("check", TEMPLATE, "--against", EVENTS, "--as-of", AS_OF, "--json")
    distribution = report["against"]
    assert distribution["accounts"] == 4
    assert sum(bucket["accounts"] for bucket in distribution["histogram"]) == 4
    people = next(measure for measure in distribution["measures"] if measure["measure"] == "product_usage")
    assert (people["missing"], people["at_hundred"]) == (0, 0.5)  # birch has 10 users, cedar 12, acme 8, dune 3
    assert people["values"] == {"min": 3, "q1": 6.75, "median": 9, "q3": 10.5, "max": 12}
    assert any(warning.startswith("nps: missing for 75%") for warning in distribution["warnings"])


def test_check_against_takes_several_files_after_the_policy(tmp_path: Path) -> None:
    more = tmp_path / "engagement.jsonl"
    more.write_text('{"id": "1", "account_id": "eve", "time": 1774600000000, "kind": "webinar"}\n', encoding="utf-8")
    done = vitals("check", TEMPLATE, "--against", EVENTS, more)
    assert done.exit_code == 0, done.stderr
    assert "of 5 accounts" in done.stdout
    for wrong in (("--against", EVENTS, more), (TEMPLATE, EVENTS)):
        done = vitals("check", *wrong)
        assert done.exit_code == 2
        assert "vitals check POLICY --against FILES" in done.stderr
    empty = tmp_path / "billing.jsonl"
    empty.write_text("", encoding="utf-8")
    assert vitals("check", TEMPLATE, "--against", empty).exit_code == 1
