"""A record in a form of another system is refused with the name of that form and what to do."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codecs import decode
from schemas.sources import BUILT_IN

EVENT = {"id": "1", "account_id": "a", "time": 1_774_612_800_000}
TEXT = json.dumps(EVENT).encode()
NAMES = st.sampled_from(
    ["type", "schema", "payload", "specversion", "op", "before", "after", "messageId", "userId", "anonymousId", "data"]
)
ADVICE = "map such records to events: --mapping for files, `vitals mapper` for topics"


@pytest.mark.parametrize(
    ("value", "reason", "form"),
    [
        (b"\0\0\0\0\x07" + TEXT, "malformed_json", "the header of a schema registry (magic byte 0, schema 7)"),
        (b"\0\0\0\0\xff\x02\x80\xff", "bad_utf8", "the header of a schema registry (magic byte 0, schema 255)"),
        (
            json.dumps({"schema": {}, "payload": EVENT}).encode(),
            "invalid_field",
            "the envelope of a Kafka Connect JsonConverter",
        ),
        (
            json.dumps({"specversion": "1.0", "id": "1", "type": "t", "source": "s", "data": EVENT}).encode(),
            "invalid_field",
            "the value is a CloudEvent; the event is its data",
        ),
        (
            json.dumps({"type": "track", "event": "Opened", "messageId": "m", "properties": {}}).encode(),
            "invalid_field",
            "the value is a track call of Segment; the event is in its properties",
        ),
        (
            json.dumps({"before": None, "after": EVENT, "op": "c"}).encode(),
            "invalid_field",
            "the value is a change record of Debezium; the event is its field after",
        ),
        (json.dumps([EVENT]).encode(), "invalid_field", "the value is a JSON array, and an event is one JSON object"),
        (json.dumps(TEXT.decode()).encode(), "invalid_field", "the value is a text that contains JSON"),
        (gzip.compress(TEXT, mtime=0), "bad_utf8", "the value is compressed with gzip, inside the record"),
    ],
)
def test_form_is_named_with_what_to_do(value: bytes, reason: str, form: str) -> None:
    decoded = decode(BUILT_IN["product-usage"], [TEXT, value])
    assert len(decoded.events) == 1
    (reject,) = decoded.rejects
    assert (reject.position, reject.reason) == (1, reason)
    assert form in reject.message
    assert ADVICE in reject.message
    assert reject.message.startswith("product-usage: the value ")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\0",
        b"nothing",
        b'"text"',
        b"7",
        b"{}",
        b'{"schema": 1}',
        b'{"type": "track"}',
        b"{",
        b"null",
        b'{"op": "c"}',
    ],
)
def test_other_values_are_described_as_before(value: bytes) -> None:
    (reject,) = decode(BUILT_IN["product-usage"], [value]).rejects
    assert "converter" not in reject.message


def test_event_with_fields_of_an_envelope_counts() -> None:
    """What is a valid event is one, whatever further fields it has."""
    for more in ({"specversion": "1.0", "type": "t"}, {"schema": 1, "payload": 2}, {"op": "c", "after": 1}):
        assert not decode(BUILT_IN["product-usage"], [json.dumps(EVENT | more).encode()]).rejects


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(NAMES, ANY_JSON))
def test_fields_of_any_type_are_refused_and_never_an_error(content: dict) -> None:
    """A worker would meet the record again at every start."""
    (reject,) = decode(BUILT_IN["product-usage"], [json.dumps(content).encode()]).rejects
    assert reject.reason == "invalid_field"
