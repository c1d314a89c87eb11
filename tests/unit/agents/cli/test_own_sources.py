"""Commands with a policy that adds sources: what they list, read and refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.kafka.topics import TopicState
from agents.settings.settings import Settings
from schemas.sources import Sources
from schemas.topics import all_topics
from tests.unit.agents.cli.invoke import vitals

LIVE = """
name = "live"
[sources.visits]
topic = "field.visits"
fields = { minutes = "number" }
[measures.visits]
source = "visits"
stat = "sum"
field = "minutes"
window = "7d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }
weight = 1
[scores.health]
min_change = 1
bands = [{ name = "all", from = 0 }]
"""
WITHOUT = """
name = "without"
[measures.uses]
source = "product-usage"
stat = "count"
window = "7d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }
weight = 1
[scores.health]
min_change = 1
bands = [{ name = "all", from = 0 }]
"""


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, "utf-8")
    return folder / name


def test_check_names_the_sources_that_a_policy_adds(tmp_path: Path) -> None:
    policy = written(tmp_path, "live.toml", LIVE)
    assert "\nsources of the policy: visits (topic field.visits)\n" in vitals("check", policy, "--offline").stdout
    report = json.loads(vitals("check", policy, "--offline", "--json").stdout)
    assert report["sources"]["visits"] == "field.visits"
    plain = written(tmp_path, "plain.toml", WITHOUT)
    assert "sources of the policy" not in vitals("check", plain, "--offline").stdout


def test_topics_lists_their_topics_and_dead_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def states(settings: Settings, sources: Sources) -> list[TopicState]:
        return [TopicState(topic, 4, None, settings=topic.config()) for topic in all_topics(settings.group, sources)]

    monkeypatch.setattr("agents.kafka.topics.describe_topics", states)
    monkeypatch.setenv("VITALS_POLICY", str(written(tmp_path, "live.toml", LIVE)))
    rows = {row["topic"]: row for row in json.loads(vitals("topics", "--json").stdout)}
    assert (rows["field.visits"]["role"], rows["field.visits.dlq"]["role"]) == ("input", "dead letters")
    assert rows["field.visits"] | {"topic": ""} == rows["engagement"] | {"topic": ""}


@pytest.mark.parametrize("candidate", [LIVE.replace("live", "new").replace("field.visits", "crm.visits"), LIVE])
def test_a_shadow_with_a_source_that_the_live_policy_does_not_have_is_refused(tmp_path: Path, candidate: str) -> None:
    live = written(tmp_path, "live.toml", WITHOUT if candidate == LIVE else LIVE)
    shadow = written(tmp_path, "candidate.toml", candidate)
    done = vitals("worker", "--policy", live, "--shadow", shadow)
    assert done.exit_code == 2
    assert (
        f"{shadow}: sources.visits: the live policy {live} has no source with this name, topic and fields"
        in done.stderr
    )


def test_a_shadow_may_leave_a_source_out_and_reads_what_the_live_policy_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Any] = []

    def run(_settings: Settings, *plans: Any) -> int:
        read.extend(plans)
        return 0

    monkeypatch.setattr("agents.worker.run.run_worker", run)
    live, shadow = written(tmp_path, "live.toml", LIVE), written(tmp_path, "candidate.toml", WITHOUT)
    assert vitals("worker", "--policy", live, "--shadow", shadow).exit_code == 0
    assert [plan.sources.of_events[-1] for plan in read] == ["visits", "visits"]


def test_a_back_test_of_two_policies_needs_one_meaning_of_a_source(tmp_path: Path) -> None:
    events = written(
        tmp_path,
        "events.jsonl",
        "\n".join(
            json.dumps({"id": f"{day}", "account_id": "a", "time": f"2026-03-{day:02}T08:00:00Z"} | more)
            for day in range(1, 29)
            for more in ({"topic": "visits", "minutes": 7}, {"topic": "product-usage"})
        ),
    )
    outcomes = written(tmp_path, "outcomes.csv", "account_id,churned_at\na,2026-03-28\n")
    policies = {
        "live": LIVE,
        "same": LIVE.replace('"live"', '"same"').replace("hundred_at = 100", "hundred_at = 50"),
        "other": LIVE.replace('"live"', '"other"').replace('minutes = "number"', 'minutes = "number", by = "text"'),
        "without": WITHOUT,
    }
    paths = {name: written(tmp_path, f"{name}.toml", text) for name, text in policies.items()}
    for name, status in (("same", 0), ("without", 0), ("other", 2)):
        options = ("--policy", paths["live"], "--policy", paths[name], "--lead", "7", "--every", "1")
        done = vitals("backtest", events, "--outcomes", outcomes, *options)
        assert done.exit_code == status, (done.stdout, done.stderr)
        assert ("mean different sources by 'visits'" in done.stderr) == (name == "other")


def test_a_case_names_a_source_by_its_name_or_topic(tmp_path: Path) -> None:
    written(tmp_path, "live.toml", LIVE)
    cases = """
[[cases]]
name = "two spellings"
as_of = 2026-03-10T12:00:00Z
account = "a"
events = [{ topic = "visits", ago = "1d", minutes = 30 }, { topic = "field.visits", ago = "2d", minutes = 12 }]
expect.a.scores.health.value = 42
"""
    file = written(tmp_path, "live.test.toml", cases)
    assert vitals("test", tmp_path / "live.toml").exit_code == 0
    file.write_text(cases.replace('"field.visits"', '"field.visit"'), "utf-8")
    done = vitals("test", tmp_path / "live.toml")
    assert done.exit_code == 2
    assert 'did you mean "field.visits"?' in done.stderr
