"""The schemas of Kafka Connect: every field of a record in Connect's types, null where it may be null or missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from schemas.catalog.connect import connect_schema
from schemas.catalog.records import records_of
from schemas.sources import BUILT_IN

RECORDS = {record.topic.name: record for record in records_of(BUILT_IN)}


def converted(schema: Any, value: Any, path: str = "$") -> Any:
    """What JsonConverter makes of a value by a schema: it follows the fields of the schema and ignores others.

    A null or missing value needs an optional schema or a default.
    """
    if value is None:
        assert schema.get("optional") or "default" in schema, path
        return schema.get("default")
    if schema["type"] == "struct":
        assert isinstance(value, dict), path
        return {
            each["field"]: converted(each, value.get(each["field"]), f"{path}.{each['field']}")
            for each in schema["fields"]
        }
    if schema["type"] == "array":
        return [converted(schema["items"], each, f"{path}[]") for each in value]
    if schema["type"] == "map":
        return {name: converted(schema["values"], each, f"{path}.{name}") for name, each in value.items()}
    kinds: dict[str, type | tuple[type, ...]] = {"string": str, "int64": int, "double": (int, float), "boolean": bool}
    assert isinstance(value, kinds[schema["type"]]), path
    return value


def left_out(value: Any, read: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            if name not in read:
                yield name
            else:
                yield from left_out(each, read[name])


@pytest.mark.parametrize("topic", RECORDS)
def test_the_example_of_a_topic_is_read_whole(topic: str) -> None:
    record = RECORDS[topic]
    # Connect has no unions: a time is epoch milliseconds, and free fields of inputs are left out.
    example = {name: 1 if str(value).endswith("Z") else value for name, value in record.example.items()}
    read = converted(connect_schema(record), example)
    assert list(left_out(example, read)) == (["region"] if topic == "accounts" else [])


def test_a_field_that_may_be_missing_or_null_is_optional_and_others_are_not() -> None:
    fields = {each["field"]: each for each in connect_schema(RECORDS["health.score-changes"])["fields"]}
    assert {name for name, each in fields.items() if each["optional"]} == {
        *("band_from", "catching_up", "override", "state", "state_from")
    }
    assert fields["catching_up"]["default"] is False
    assert fields["override"]["type"] == "struct"
    assert fields["factors"]["items"]["name"] == "FactorChange"


def test_rows_have_no_lists_maps_and_structs() -> None:
    fields = connect_schema(RECORDS["health.score-rows"])["fields"]
    assert {each["type"] for each in fields} == {"string", "int64", "double", "boolean"}


def test_times_of_inputs_are_integers_and_free_fields_are_left_out() -> None:
    fields = {each["field"]: each for each in connect_schema(RECORDS["accounts"])["fields"]}
    assert fields["time"]["type"] == fields["renewal_at"]["type"] == "int64"
    assert not {"attributes", "properties"} & set(fields)
