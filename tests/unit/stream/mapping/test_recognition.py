"""Records that need no mapping, and those that stay refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cloudevents.core.bindings import kafka as cloudevents_kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from schemas.codecs import INVALID_FIELD, decode
from schemas.events import ProfileEvent
from schemas.sources import BUILT_IN
from stream.mapping.recognition import Around, Recognised, recognise

if TYPE_CHECKING:
    from collections.abc import Mapping

TIME = "2026-03-01T12:00:00Z"
TICKET = {"id": "t-1", "account_id": "acme", "time": TIME, "ticket_id": "7", "status": "opened"}
USAGE = {"id": "u-1", "account_id": "acme", "time": TIME}


def tried(source: str, *records: Any, around: Around | None = None) -> Recognised:
    """What becomes of records: bytes, or what JSON is made of."""
    values = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    decoded = decode(BUILT_IN[source], values)
    return recognise(BUILT_IN[source], values, decoded, around=lambda _: around or Around())


def event_of(source: str, record: Any, form: str, around: Around | None = None) -> Mapping[str, Any]:
    """The event that a record is recognised as, without what is not set."""
    result = tried(source, record, around=around)
    assert (result.decoded.rejects, result.forms) == ([], {0: form})
    (event,) = result.decoded.events
    return {name: value for name, value in msgspec.to_builtins(event).items() if value is not None}


def cloud_event(data: Any, **attributes: Any) -> CloudEvent:
    attributes = {"id": "ce-1", "source": "/billing", "type": "billing", "subject": "acme", **attributes}
    return CloudEvent({**attributes, "time": datetime(2026, 3, 1, 12, tzinfo=UTC)}, data)


BILLING = {"id": "ce-1", "account_id": "acme", "kind": "invoice_paid", "amount": 12.5, "days_late": 0.0, "time": TIME}


def test_a_cloud_event_in_structured_mode_as_the_sdk_writes_it() -> None:
    message = cloudevents_kafka.to_structured(cloud_event({"kind": "invoice_paid", "amount": 12.5}), JSONFormat())
    assert event_of("billing", message.value, "cloudevent") == {**BILLING, "time": 1772366400000}


def test_a_cloud_event_in_binary_mode_as_the_sdk_writes_it() -> None:
    message = cloudevents_kafka.to_binary(cloud_event({"kind": "invoice_paid", "amount": 12.5}), JSONFormat())
    headers = {name: value.decode() for name, value in message.headers.items()}
    around = Around(None, headers)
    assert event_of("billing", message.value, "cloudevent", around) == {**BILLING, "time": 1772366400000}


def test_a_cloud_event_without_subject_is_of_the_account_in_the_key() -> None:
    record = {"specversion": "1.0", "id": "c", "source": "/", "type": "t", "time": TIME, "data": {"count": 3}}
    assert event_of("product-usage", record, "cloudevent", Around(b"globex"))["account_id"] == "globex"


def test_id_account_and_time_of_the_data_come_first() -> None:
    data = {"id": "own", "account_id": "other", "time": "2026-02-01T00:00:00Z"}
    record = {
        "specversion": "1.0",
        "id": "c",
        "source": "/",
        "type": "t",
        "subject": "acme",
        "time": TIME,
        "data": data,
    }
    event = event_of("product-usage", record, "cloudevent")
    assert (event["id"], event["account_id"], event["time"]) == ("own", "other", 1769904000000)


def test_data_of_a_cloud_event_can_be_json_in_a_text() -> None:
    data = json.dumps({"count": 3})
    record = {
        "specversion": "1.0", "id": "c", "source": "/", "type": "t", "subject": "acme", "time": TIME, "data": data
    }  # fmt: skip
    assert event_of("product-usage", record, "cloudevent")["count"] == 3


TRACK = {
    "type": "track",
    "messageId": "m-1",
    "userId": "ann",
    "anonymousId": "x",
    "event": "Report Exported",
    "context": {"groupId": "acme", "library": {"name": "analytics.js"}},
    "properties": {"format": "csv"},
    "timestamp": "2026-03-01T12:00:00.000Z",
}


def test_a_track_call_of_segment() -> None:
    event = event_of("product-usage", TRACK, "segment")
    assert event == {
        "id": "m-1",
        "account_id": "acme",
        "time": 1772366400000,
        "user_id": "ann",
        "feature": "Report Exported",
        "count": 1.0,
        "duration_s": 0.0,
    }


def test_a_track_call_of_a_visitor_names_what_is_missing() -> None:
    (reject,) = tried("product-usage", {**TRACK, "context": {}}).decoded.rejects
    assert reject.reason == INVALID_FIELD
    assert reject.message == (
        "product-usage: Object missing required field `account_id` "
        "(as a track call of Segment, whose context.groupId is the account)"
    )


def test_a_track_call_is_no_ticket() -> None:
    (reject,) = tried("support-tickets", TRACK).decoded.rejects
    assert "track call of Segment" in reject.message


@pytest.mark.parametrize(
    "value",
    [
        b"\x00\x00\x00\x00\x07" + json.dumps(TICKET).encode(),
        json.dumps({"schema": {"type": "struct"}, "payload": TICKET}).encode(),
        json.dumps(json.dumps(TICKET)).encode(),
        b"\xef\xbb\xbf" + json.dumps(TICKET).encode(),
    ],
    ids=["schema registry", "connect envelope", "text", "byte order mark"],
)
def test_what_is_around_an_event_is_taken_away(value: bytes) -> None:
    assert event_of("support-tickets", value, "unwrapped")["ticket_id"] == "7"


@pytest.mark.parametrize(
    ("source", "change", "field", "value"),
    [
        ("support-tickets", {"account_id": 42}, "account_id", "42"),
        ("support-tickets", {"ticket_id": 7.0}, "ticket_id", "7"),
        ("support-tickets", {"status": "OPENED"}, "status", "opened"),
        ("support-tickets", {"priority": " High "}, "priority", "high"),
        ("product-usage", {"time": 1772366400000.0}, "time", 1772366400000),
        ("product-usage", {"time": "2026-03-01 12:00:00+00"}, "time", 1772366400000),
        ("product-usage", {"time": "2026-03-01T14:00:00+02", "user_id": 5}, "user_id", "5"),
    ],
)
def test_what_can_only_mean_one_thing_is_converted(source: str, change: dict, field: str, value: Any) -> None:
    record = {**(TICKET if source == "support-tickets" else USAGE), **change}
    assert event_of(source, record, "converted")[field] == value


@pytest.mark.parametrize(
    "change",
    [
        {"account_id": 4.5},
        {"account_id": True},
        {"account_id": None},
        {"time": "2026-03-01T12:00:00"},
        {"time": "01.03.2026"},
        {"time": 1772366400000.5},
        {"status": "closed"},
        {"first_response_s": "3"},
    ],
)
def test_what_would_be_a_guess_stays_refused_with_its_message(change: dict) -> None:
    value = json.dumps({**TICKET, **change}).encode()
    before = decode(BUILT_IN["support-tickets"], [value])
    after = recognise(BUILT_IN["support-tickets"], [value], before)
    assert (after.decoded.events, after.decoded.rejects, after.forms) == ([], before.rejects, {})


def test_events_keep_their_order_and_refused_records_their_place() -> None:
    odd, bad = {**TICKET, "id": 2}, {**TICKET, "status": "closed"}
    result = tried("support-tickets", TICKET, odd, bad, b"\xff", {**TICKET, "id": "5"}, odd)
    assert [event.id for event in result.decoded.events] == ["t-1", "2", "5", "2"]
    assert result.decoded.indexes is not None
    assert result.decoded.indexes.tolist() == [0, 1, 4, 5]
    assert [(reject.position, reject.reason) for reject in result.decoded.rejects] == [
        (2, "invalid_field"), (3, "bad_utf8")
    ]  # fmt: skip
    assert result.forms == {1: "converted", 5: "converted"}


def test_a_batch_of_events_is_not_looked_at() -> None:
    values = [json.dumps(TICKET).encode()] * 3
    decoded = decode(BUILT_IN["support-tickets"], values)
    assert recognise(BUILT_IN["support-tickets"], values, decoded).decoded is decoded


def test_a_bad_field_of_a_profile_in_a_cloud_event_costs_that_field() -> None:
    record = {
        "specversion": "1.0", "id": "c", "source": "/crm", "type": "t", "subject": "acme", "time": TIME,
        "data": {"name": "Acme", "arr": "much"},
    }  # fmt: skip
    result = tried("accounts", record)
    (event,) = result.decoded.events
    (reject,) = result.decoded.rejects
    assert isinstance(event, ProfileEvent)
    assert (event.account_id, event.name) == ("acme", "Acme")
    assert not reject.whole
    assert "arr" in reject.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*TRACK, *TICKET, "specversion", "source", "data", "payload", "schema"]), inner
        )
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from(BUILT_IN.names), st.sampled_from([b"", b"\x00\x00\x00\x00\x01"]), st.booleans())
def test_any_record_is_an_event_or_refused_and_never_an_error(
    content: Any, source: str, before: bytes, binary: bool
) -> None:
    around = Around(b"key", {"ce_specversion": "1.0", "ce_id": "c"} if binary else {})
    result = tried(source, before + json.dumps(content).encode(), around=around)
    assert len(result.decoded.events) + sum(reject.whole for reject in result.decoded.rejects) == 1


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_and_never_an_error(value: bytes) -> None:
    assert len(tried("billing", value).decoded.rejects) == 1
