"""`vitals topics`: what topics are on the broker, and what is wrong with them."""

from __future__ import annotations

import json

import pytest

from agents.kafka.topics import TopicState
from agents.settings.settings import Settings
from schemas.sources import BUILT_IN, Sources
from schemas.topics import all_topics
from tests.unit.agents.cli.invoke import vitals

TOPICS = all_topics("account-vitals", BUILT_IN)


def states(settings: Settings, sources: Sources) -> list[TopicState]:
    del settings, sources
    right = [TopicState(topic, 4, None, settings=topic.config()) for topic in TOPICS[:2]]
    short = TopicState(TOPICS[2], 4, None, settings={"cleanup.policy": "delete", "retention.ms": "5400000"})
    wrong = TopicState(TOPICS[-1], 4, "cleanup.policy is delete", refused=True, settings={"cleanup.policy": "delete"})
    return [*right, short, wrong, TopicState(TOPICS[3], None, "missing")]


@pytest.fixture(autouse=True)
def _broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.kafka.topics.describe_topics", states)
    monkeypatch.setenv("COLUMNS", "200")


def test_the_table_shows_what_the_broker_has_and_fails_with_a_problem() -> None:
    done = vitals("topics")
    assert done.exit_code == 1
    lines = {line.split("│")[1].strip(): line for line in done.stdout.splitlines() if line.startswith("│")}
    assert "400 days" in lines[TOPICS[0].name]
    assert "1.5 hours" in lines[TOPICS[2].name]
    changelog = lines[TOPICS[-1].name]
    assert "delete" in changelog
    assert "for ever" in changelog
    assert f"{TOPICS[-1].name}: cleanup.policy is delete" in done.stdout


def test_json_has_the_settings_of_the_broker() -> None:
    rows = {row["topic"]: row for row in json.loads(vitals("topics", "--json").stdout)}
    assert rows[TOPICS[2].name]["retention_ms"] == 5_400_000
    assert rows[TOPICS[-1].name]["cleanup"] == "delete"
    assert rows[TOPICS[-1].name]["problem"] == "cleanup.policy is delete"
    assert rows[TOPICS[3].name]["partitions"] is None
