"""What a worker notices about the form of its input."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from agents.kafka.source_records import read
from agents.worker.monitoring import unusual
from agents.worker.monitoring.metrics import Telemetry
from agents.worker.monitoring.unusual import UnusualRecords, looks_like
from schemas.sources import BUILT_IN

USAGE = {"id": "u", "account_id": "acme", "time": "2026-03-01T12:00:00Z"}


class Input:
    """A source whose fetches are noted at a time that can be set."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.telemetry = Telemetry(BUILT_IN)
        self.unusual = UnusualRecords(BUILT_IN, self.telemetry, lambda: self.now_s)

    def fetch(self, topic: str, *values: Any) -> None:
        records = [
            SimpleNamespace(
                value=value if isinstance(value, bytes) else json.dumps(value).encode(),
                key=b"acme", headers=(), offset=offset, timestamp=1,
            )
            for offset, value in enumerate(values)
        ]  # fmt: skip
        self.unusual.note(read(BUILT_IN, topic, records, len(records)), records)
        self.now_s += unusual.LOOK_EVERY_S

    def counts(self, metric: str, label: str) -> dict[tuple[str, str], float]:
        return {
            (sample.labels["topic"], sample.labels[label]): sample.value
            for family in self.telemetry.registry.collect()
            for sample in family.samples
            if sample.name == f"vitals_{metric}_total"
        }


def test_forms_are_counted_by_topic() -> None:
    world = Input()
    track = {"type": "track", "messageId": "m", "groupId": "acme", "timestamp": USAGE["time"], "event": "x"}
    world.fetch("product-usage", track, USAGE, {**USAGE, "id": 5}, {**USAGE, "id": 6})
    world.fetch("billing", b"\x00\x00\x00\x00\x01" + json.dumps({**USAGE, "kind": "renewed"}).encode())
    assert world.counts("recognised_records", "form") == {
        ("product-usage", "segment"): 1,
        ("product-usage", "converted"): 2,
        ("billing", "unwrapped"): 1,
    }


def test_unknown_fields_are_counted_and_logged_once_with_what_they_look_like() -> None:
    world = Input()
    with capture_logs() as logs:
        for _ in range(3):
            world.fetch("product-usage", {**USAGE, "userId": "ann", "colour": "red", "properties": {"x": 1}})
    assert world.counts("unknown_fields", "field") == {("product-usage", "userId"): 3, ("product-usage", "colour"): 3}
    assert [(line["field"], line["log_level"], line.get("looks_like")) for line in logs] == [
        ("colour", "info", None),
        ("userId", "warning", "user_id"),
    ]


def test_one_record_a_second_and_topic_is_looked_at() -> None:
    world = Input()
    world.fetch("product-usage", {**USAGE, "first": 1}, {**USAGE, "last": 1})
    world.now_s -= 0.5
    world.fetch("product-usage", {**USAGE, "soon": 1})
    world.fetch("surveys", {**USAGE, "kind": "nps", "score": 3, "other_topic": 1})
    assert world.counts("unknown_fields", "field") == {("product-usage", "last"): 1, ("surveys", "other_topic"): 1}


@pytest.mark.parametrize("value", [b"\xff", b"[1]", b"{", b"null"])
def test_what_is_no_object_is_left_to_the_dead_letters(value: bytes) -> None:
    world = Input()
    world.fetch("product-usage", value)
    assert world.counts("unknown_fields", "field") == {}


def test_attributes_of_profiles_are_no_unknown_fields() -> None:
    world = Input()
    world.fetch("accounts", {**USAGE, "seats": 5})
    assert world.counts("unknown_fields", "field") == {}


def test_names_are_few_and_short() -> None:
    world = Input()
    for number in range(unusual.MOST_NAMES + 5):
        world.fetch("product-usage", {**USAGE, f"{number:03}{'x' * 200}": 1})
    counts = world.counts("unknown_fields", "field")
    assert counts["product-usage", unusual.OTHER] == 5
    assert len(counts) == unusual.MOST_NAMES + 1
    assert max(len(field) for _, field in counts) == unusual.LONGEST_NAME


@pytest.mark.parametrize(
    ("field", "known"), [("userId", "user_id"), ("User-ID", "user_id"), ("usr_id", "user_id"), ("colour", None)]
)
def test_a_name_looks_like_the_field_that_it_is_a_spelling_of(field: str, known: str | None) -> None:
    assert looks_like(field, ["id", "account_id", "user_id", "feature"]) == known
