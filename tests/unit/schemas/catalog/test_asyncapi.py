"""The AsyncAPI document is valid for the parser of the AsyncAPI project, and has every topic, key and header."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from schemas.catalog.asyncapi import document
from schemas.catalog.records import records_of
from schemas.sources import BUILT_IN, DLQ_SUFFIX, source_of_fields
from schemas.topics import ALERTS, CHANGES, SCORES, all_topics
from tests.driving.asyncapi_parser import parse

OWN = source_of_fields("hr", "hr-events", [("heads", "number")])
TOO = source_of_fields("crm", "crm-events", [("stage", "text")])
SOURCES = BUILT_IN.extended([OWN, TOO])
DOCUMENT = document(SOURCES, "0.1.0", 4)


def test_the_parser_of_the_project_accepts_the_document() -> None:
    parsed = parse(DOCUMENT)
    assert parsed.problems == []
    names = [record.topic.name for record in records_of(SOURCES)]
    assert sorted(parsed.channels or []) == sorted([*names, "{topic}.dlq"])
    assert {name: action for action, name in parsed.operations or []}["receiveProductUsage"] == "receive"
    assert len(parsed.operations or []) == len(names) + 1


def broken_reference(planted: Any) -> None:
    planted["operations"]["sendHealthScores"]["channel"]["$ref"] = "#/channels/health.score"


def unknown_action(planted: Any) -> None:
    planted["operations"]["sendHealthScores"]["action"] = "publish"


@pytest.mark.parametrize("plant", [broken_reference, unknown_action])
def test_the_parser_finds_a_planted_mistake(plant: Any) -> None:
    planted = copy.deepcopy(DOCUMENT)
    plant(planted)
    assert parse(planted).problems


def test_a_channel_has_the_settings_of_its_topic() -> None:
    binding = DOCUMENT["channels"][CHANGES]["bindings"]["kafka"]
    assert binding["partitions"] == 4
    assert binding["topicConfiguration"]["cleanup.policy"] == ["delete"]
    assert binding["topicConfiguration"]["retention.ms"] == 90 * 86_400_000
    assert "retention.ms" not in DOCUMENT["channels"][SCORES]["bindings"]["kafka"]["topicConfiguration"]


def test_messages_have_keys_headers_and_tombstones() -> None:
    messages = DOCUMENT["components"]["messages"]
    assert messages["HealthRollups"]["bindings"]["kafka"]["key"]["description"] == "The parent account id."
    assert "vitals.position" in messages["HealthAlerts"]["headers"]["properties"]
    assert "vitals.error.reason" in messages["DeadLetter"]["headers"]["properties"]
    assert messages["HealthScoresTombstone"]["payload"] == {"type": "null"}
    assert "HealthAlertsTombstone" not in messages
    assert set(DOCUMENT["channels"][ALERTS]["messages"]) == {"HealthAlerts"}


def test_sources_of_a_policy_have_a_type_each() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert "heads" in schemas["HrEvents"]["properties"]
    assert "stage" in schemas["CrmEvents"]["properties"]
    assert "OtherEvent" not in schemas


def test_the_dead_letters_of_every_topic_are_one_channel() -> None:
    topics = {topic.name for topic in all_topics("", SOURCES) if topic.role == "dead letters"}
    listed = DOCUMENT["channels"]["dead-letters"]["parameters"]["topic"]["enum"]
    assert {name + DLQ_SUFFIX for name in listed} == topics
