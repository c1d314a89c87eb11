"""The JSON Schemas of records: complete, with examples that are valid, and what they admit is accepted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas.catalog.descriptions import INPUT_TEXTS, OUTPUT_TEXTS
from schemas.catalog.json_schema import components, record_schema
from schemas.catalog.records import OUTPUT_TYPES, Record, records_of
from schemas.codecs import decode
from schemas.records import read_message
from schemas.sources import BUILT_IN, source_of_fields
from schemas.topics import all_topics

OWN = source_of_fields("hr", "hr-events", [("head count", "number"), ("kind", "text"), ("new", "flag")], ["kind"])
SOURCES = BUILT_IN.extended([OWN])
RECORDS = {record.topic.name: record for record in records_of(SOURCES)}
VALIDATORS = {name: Draft202012Validator(record_schema(record)) for name, record in RECORDS.items()}
INPUTS = [name for name, record in RECORDS.items() if record.is_input]
CONTROL = {"id": "c1", "account_id": "acme", "time": 1795321984437}
OVERRIDE = {**CONTROL, "kind": "override", "reason": "call", "expires_at": 1795321984437}


def valid(topic: str, value: Any) -> bool:
    return bool(VALIDATORS[topic].is_valid(value))


def accepted(topic: str, value: Any) -> bool:
    decoded = decode(SOURCES.of_topics[topic], [msgspec.json.encode(value)])
    return not decoded.rejects


def test_every_input_and_output_of_a_deployment_has_a_schema() -> None:
    topics = {topic.name for topic in all_topics("", SOURCES) if topic.role in {"input", "output"}}
    assert topics | {"health.score-rows"} == set(RECORDS)


@pytest.mark.parametrize("topic", RECORDS)
def test_a_schema_is_a_schema_and_its_example_is_valid_and_decoded(topic: str) -> None:
    record = RECORDS[topic]
    schema = record_schema(record)
    Draft202012Validator.check_schema(schema)
    assert schema["title"] == topic
    assert schema["$id"] == f"urn:account-vitals:{topic}"
    (example,) = schema["examples"]
    assert not list(Draft202012Validator(schema).iter_errors(example))
    if record.is_input:
        assert accepted(topic, example)
    else:
        decoded = read_message(record.kind, msgspec.json.encode(example))
        assert msgspec.to_builtins(decoded) == example


def fields(record: Record) -> Iterator[tuple[str, str, Any]]:
    for name, schema in components([record], "#/$defs/{name}").items():
        yield from ((name, field, value) for field, value in schema["properties"].items())


def test_every_field_has_a_description_and_every_description_a_field() -> None:
    used = set()
    for record in records_of(BUILT_IN):
        texts = INPUT_TEXTS if record.is_input else OUTPUT_TEXTS
        for name, field, value in fields(record):
            assert value.get("description"), f"{name}.{field}"
            used.add((record.is_input, f"{name}.{field}" if f"{name}.{field}" in texts else field))
    described = {(True, name) for name in INPUT_TEXTS} | {(False, name) for name in OUTPUT_TEXTS}
    assert described - used == set()


VALUES = st.one_of(
    st.sampled_from([None, "", " ", "x", "x" * 1001, "nps", "override", "merge", "low", "2026-11-22T04:33:04Z"]),
    st.sampled_from(
        [True, 0, -1, 5, 10.5, 101, 10**12, 10**13, -(10**13), 2**53 + 1, [], ["a", 1, False], [["a"]], {}, {"a": 1}]
    ),
    st.text(max_size=3),
    st.integers(-10, 110),
)


@pytest.mark.parametrize("topic", INPUTS)
@given(data=st.data())
def test_what_a_schema_admits_is_accepted(topic: str, data: st.DataObject) -> None:
    record = RECORDS[topic]
    names = [*record_schema(record)["properties"], "other"]
    changed = data.draw(st.dictionaries(st.sampled_from(names), VALUES, max_size=3))
    removed = data.draw(st.sets(st.sampled_from(names), max_size=1))
    value = {name: each for name, each in {**record.example, **changed}.items() if name not in removed}
    if VALIDATORS[topic].is_valid(value):
        assert accepted(topic, value), value


@pytest.mark.parametrize(
    ("topic", "value", "expected"),
    [
        ("controls", {**CONTROL, "kind": "pulse"}, False),
        ("controls", {**CONTROL, "kind": "pulse", "value": 101}, False),
        ("controls", {**CONTROL, "kind": "pulse", "value": 100}, True),
        ("controls", OVERRIDE, False),
        ("controls", {**OVERRIDE, "score": 5}, True),
        ("controls", {**OVERRIDE, "score": 5, "band": None}, True),
        ("controls", {**OVERRIDE, "score": 5, "band": "fine"}, False),
        ("controls", {**OVERRIDE, "score": 5, "reason": ""}, False),
        ("controls", {**CONTROL, "kind": "acknowledge"}, False),
        ("controls", {**CONTROL, "kind": "snooze", "rule": "r"}, False),
        ("controls", {**CONTROL, "kind": "merge", "into": " "}, False),
        ("controls", {**CONTROL, "kind": "merge", "into": "b"}, True),
        ("surveys", {**CONTROL, "kind": "csat", "score": 6}, False),
        ("surveys", {**CONTROL, "kind": "ces", "score": 6}, True),
        ("surveys", {**CONTROL, "kind": "nps", "score": 6, "properties": {"any": [1]}}, True),
        ("support-tickets", {**CONTROL, "ticket_id": "T", "status": "lost"}, False),
        ("hr-events", {**CONTROL, "kind": "hired", "head count": 3, "new": True}, True),
        ("hr-events", {**CONTROL, "head count": 3}, False),
        ("accounts", {**CONTROL, "region": ["a", 1], "attributes": {"tier 2": True}, "name": None}, True),
        ("accounts", {**CONTROL, "region": "x" * 1001}, False),
    ],
)
def test_a_schema_and_the_decoder_agree(topic: str, value: Any, expected: bool) -> None:
    assert valid(topic, value) is expected
    assert accepted(topic, value) is expected


def test_members_that_only_workers_write_are_not_in_a_schema() -> None:
    assert "merged" not in record_schema(RECORDS["controls"])["properties"]
    assert "$defs" not in record_schema(RECORDS["controls"])
    assert not {"stamps", "cleared", "deletes"} & record_schema(RECORDS["accounts"])["properties"].keys()


def test_outputs_have_a_type_each() -> None:
    assert {name for name, record in RECORDS.items() if not record.is_input} == set(OUTPUT_TYPES)
