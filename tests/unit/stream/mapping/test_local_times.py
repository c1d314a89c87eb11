"""Times without an offset, which are those of the clocks of a place."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.sources import BUILT_IN
from stream.mapping.apply import ForeignRecord
from stream.mapping.reading import parse_mapping
from tests.driving.mapping import mapped_alone

RULE = '[[map]]\nname = "r"\nto = "billing"\n'


def events(text: str, value: Any) -> list[dict[str, Any]]:
    """The events of a record with the key `acme`."""
    record = ForeignRecord("events", value, "events-0-7", key=b"acme")
    result = mapped_alone(parse_mapping(text, "m.toml"), record, BUILT_IN)
    assert not result.problems
    return [json.loads(event.value or b"") for event in result.events]


@pytest.mark.parametrize(
    ("file_zone", "rule_zone", "field", "text", "expected"),
    [
        ("Europe/Berlin", None, '"t"', "2026-07-01 10:00", "2026-07-01T08:00:00Z"),
        ("Europe/Berlin", None, '"t"', "2026-01-01T10:00:00.5", "2026-01-01T09:00:00.500Z"),
        ("Europe/Berlin", None, '"t"', "2026-07-01", "2026-06-30T22:00:00Z"),
        ("Europe/Berlin", None, '"t"', "2026-07-01T10:00:00Z", "2026-07-01T10:00:00Z"),
        ("Europe/Berlin", None, '"t"', "2026-07-01 10:00:00 UTC", "2026-07-01T10:00:00Z"),
        ("Europe/Berlin", None, '"t"', "2026-07-01T10:00:00+05:00", "2026-07-01T05:00:00Z"),
        ("Europe/Berlin", None, '"t"', 1_782_900_000_000, "2026-07-01T10:00:00Z"),
        ("Europe/Berlin", None, '{ path = "t", format = "%d.%m.%Y %H:%M" }', "1.7.2026 10:00", "2026-07-01T08:00:00Z"),
        # On 29 March clocks go from 02:00 to 03:00, on 25 October from 03:00 to 02:00.
        ("Europe/Berlin", None, '"t"', "2026-03-29 02:30", "2026-03-29T01:30:00Z"),
        ("Europe/Berlin", None, '"t"', "2026-10-25 02:30", "2026-10-25T00:30:00Z"),
        (None, "Asia/Kolkata", '"t"', "2026-07-01 10:00", "2026-07-01T04:30:00Z"),
        ("Europe/Berlin", "Asia/Kolkata", '"t"', "2026-07-01 10:00", "2026-07-01T04:30:00Z"),
        ("Europe/Berlin", "UTC", '"t"', "2026-07-01 10:00", "2026-07-01T10:00:00Z"),
        (None, None, '"t"', "2026-07-01 10:00", "2026-07-01T10:00:00Z"),
    ],
)
def test_a_time_without_offset_is_in_the_zone_of_its_rule_or_file(
    file_zone: str | None, rule_zone: str | None, field: str, text: object, expected: str
) -> None:
    of_file = f'timezone = "{file_zone}"\n' if file_zone else ""
    of_rule = f'timezone = "{rule_zone}"\n' if rule_zone else ""
    account = '[map.fields]\naccount_id = { value = "acme" }\n'
    (event,) = events(f"{of_file}{RULE}{of_rule}{account}time = {field}", {"t": text})
    assert datetime.fromtimestamp(event["time"] / 1000, UTC) == datetime.fromisoformat(expected)


def test_the_zone_is_for_attributes_that_are_times_and_for_nothing_else() -> None:
    times = '{ path = "t", format = "%Y-%m-%d %H:%M" }'
    text = f'timezone = "Europe/Berlin"\n[[map]]\nto = "accounts"\n[map.fields]\nid = "t"\nname = "t"\nseen = {times}'
    (event,) = events(text, {"t": "2026-07-01 10:00"})
    local = "2026-07-01 10:00"
    assert (event["id"], event["name"], event["seen"]) == (local, local, "2026-07-01T08:00:00Z")
