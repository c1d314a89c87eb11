"""Values and keys in what other systems put around them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.foreign_forms import foreign_form, framing_of
from stream.mapping.framing import UnmappedValueError, key_text, unwrap

FRAME = b"\x00\x00\x00\x01\x07"
HEADER = "the value has the header of a schema registry (magic byte 0, schema 263)"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'{"a":1}', {"a": 1}),
        (b'[{"a":1}]', [{"a": 1}]),
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
        (FRAME + b'{"a":1}', {"a": 1}),
        (FRAME + b'\xef\xbb\xbf{"a":1}', {"a": 1}),
        (json.dumps('{"a":1}').encode(), {"a": 1}),
        (json.dumps(" [1]").encode(), [1]),
        (b'"acme"', "acme"),
        (b'{"schema":{"type":"struct"},"payload":{"a":1}}', {"a": 1}),
        (b'{"schema":null,"payload":null}', None),
        (FRAME + b'{"schema":{},"payload":{"a":1}}', {"a": 1}),
        (b'{"schema":{},"payload":{},"event":{}}', {"schema": {}, "payload": {}, "event": {}}),
        (b"7", 7),
        (b"null", None),
    ],
)
def test_a_value_is_unwrapped(value: bytes, expected: Any) -> None:
    assert unwrap(value) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"", "Input data was truncated"),
        (b"{", "Input data was truncated"),
        (b"id;name", "JSON is malformed: invalid character (byte 0)"),
        (b'{"a":"\xff"}', "'utf-8' codec can't decode byte 0xff in position 6: invalid start byte"),
        (b"[" * 100_000, "the JSON is nested too deeply"),
        (b"\x00\x00\x00\x00\x07", "JSON is malformed: invalid character (byte 0)"),
        (
            b"\x00\x00\x00\x01\x07\x02\x08acme",
            f"{HEADER} and then no JSON: it is Avro or Protobuf",
        ),
        (b"\x1f\x8b\x08\x00", "the value is compressed with gzip, inside the record"),
    ],
)
def test_what_is_no_json_is_refused_with_what_it_is(value: bytes, message: str) -> None:
    with pytest.raises(UnmappedValueError) as error:
        unwrap(value)
    assert str(error.value) == message


def test_the_header_of_a_schema_registry_has_one_description_for_workers_and_mappings() -> None:
    framed = FRAME + b"\x02\x08acme"
    with pytest.raises(UnmappedValueError) as error:
        unwrap(framed)
    assert framing_of(framed) == HEADER
    assert str(error.value).startswith(HEADER)
    assert (foreign_form(framed) or "").startswith(HEADER)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"acme", "acme"),
        (b'"acme"', "acme"),
        (b' "acme" ', '"acme"'),
        (b'"acme', '"acme'),
        (b" acme ", "acme"),
        ("äcme".encode(), "äcme"),
        (b"42", "42"),
        (b"", None),
        (b" ", None),
        (b'""', None),
        (b"\xff", None),
        (None, None),
    ],
)
def test_a_key_is_a_text(key: bytes | None, expected: str | None) -> None:
    assert key_text(key) == expected
