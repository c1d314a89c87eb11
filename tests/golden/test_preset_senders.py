"""Presets of mappings on what the public SDKs of the senders send, captured where they would open a connection."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import amplitude
import amplitude.http_client
import mixpanel
import msgspec
import posthog
import posthog.request
import pytest
import rudderstack.analytics.client
import rudderstack.analytics.request
import segment.analytics.client
import segment.analytics.request
from cloudevents.core.bindings import kafka as cloudevents_kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from agents.files.replay import Reading, replay_files
from agents.settings.settings import default_policy
from schemas.sources import BUILT_IN
from stream.mapping.apply import ForeignRecord, Mapped
from stream.mapping.framing import unwrap
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy
from tests.driving.mapping import mapped_alone
from tests.golden.test_presets import preset

WHEN = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
WHEN_MS = 1_793_611_800_000
PLAN = compile_plan(parse_policy(default_policy().read_text(encoding="utf-8"), "template.toml"))
Sent = list[Any]


class Accepted:
    """The answer of a server that takes everything."""

    status_code = 200
    text = "1"
    headers: dict[str, str] = {}  # noqa: RUF012 -- as requests has it

    def json(self) -> dict[str, Any]:
        return {"status": 1}


class Session:
    """A session of `requests` that keeps what is posted."""

    def __init__(self) -> None:
        self.posted: Sent = []

    def post(self, _url: str, **options: Any) -> Accepted:
        self.posted.append(options["data"])
        return Accepted()


def mapped(name: str, value: bytes | str, topic: str = "events", **around: Any) -> Mapped:
    raw = value.encode() if isinstance(value, str) else value
    result = mapped_alone(preset(name), ForeignRecord(topic, unwrap(raw), f"{topic}-0-1", **around), BUILT_IN)
    assert result.problems == []
    return result


def events(result: Mapped, *left_out: str) -> list[dict[str, Any]]:
    """The events without their id and some fields, and their sources."""
    documents = [{"topic": event.source, **msgspec.json.decode(event.value or b"{}")} for event in result.events]
    assert all(document["id"] for document in documents)
    return [{key: value for key, value in each.items() if key not in {"id", *left_out}} for each in documents]


@pytest.fixture(autouse=True)
def _offline() -> Iterator[None]:
    with mock.patch("socket.socket.connect", side_effect=AssertionError("a test must not open connections")):
        yield


def use_segment(client: Any) -> None:
    moment = {"timestamp": WHEN}
    client.track("user-1", "Report Exported", {"rows": 3}, context={"groupId": "acme"}, **moment)
    client.page("user-1", "Docs", "Home", {"path": "/"}, context={"groupId": "acme"}, **moment)
    client.group("user-1", "acme", {"name": "Acme", "plan": "pro"}, **moment)
    client.identify("user-1", {"email": "a@acme.example"}, **moment)
    client.alias("anonymous", "user-1", **moment)
    client.track("user-2", "Visited", {}, **moment)


def from_segment() -> Sent:
    session = Session()
    with mock.patch.object(segment.analytics.request, "_session", session):
        use_segment(segment.analytics.client.Client("key", sync_mode=True))
    return session.posted


def from_rudderstack() -> Sent:
    session = Session()
    with mock.patch.object(rudderstack.analytics.request, "_session", session):
        use_segment(rudderstack.analytics.client.Client("key", sync_mode=True, gzip=True))
    return [gzip.decompress(body) for body in session.posted]


@pytest.mark.parametrize("send", [from_segment, from_rudderstack])
def test_segment_and_rudderstack(send: Callable[[], Sent]) -> None:
    results = [mapped("segment", body) for body in send()]
    track, page, group, identify, alias, without = results
    usage = {"topic": "product-usage", "account_id": "acme", "time": WHEN_MS, "user_id": "user-1"}
    assert events(track) == [usage | {"feature": "Report Exported", "properties": {"rows": 3}}]
    assert events(page) == [usage | {"feature": "Home", "action": "page", "properties": {"path": "/"}}]
    assert events(group) == [
        {"topic": "accounts", "account_id": "acme", "time": WHEN_MS, "name": "Acme", "plan": "pro"}
    ]
    assert [each.skipped for each in (identify, alias, without)] == [
        ["identify or alias"],
        ["identify or alias"],
        ["call without an account"],
    ]
    ids = [msgspec.json.decode(each.events[0].value or b"")["id"] for each in (track, page, group)]
    assert len(set(ids)) == 3


def from_posthog() -> Sent:
    session = Session()
    with mock.patch.object(posthog.request, "_get_session", return_value=session):
        client = posthog.Posthog("phc_key", host="https://posthog.invalid", sync_mode=True)
        client.capture(
            "report exported", distinct_id="user-1", properties={"rows": 3}, groups={"company": "acme"}, timestamp=WHEN
        )
        client.group_identify("company", "acme", {"name": "Acme", "plan": "pro"}, timestamp=WHEN)
        client.group_identify("project", "p1", {"name": "P"}, timestamp=WHEN)
        client.set(distinct_id="user-1", properties={"email": "a@acme.example"}, timestamp=WHEN)
        client.alias("user-0", "user-1", timestamp=WHEN)
        client.capture_exception(ValueError("broken"), distinct_id="user-1")
        client.capture("visited", distinct_id="user-2", timestamp=WHEN)
        client.shutdown()
    return session.posted


def test_posthog() -> None:
    capture, group, *skipped = [mapped("posthog", body) for body in from_posthog()]
    (event,) = events(capture)
    properties = event.pop("properties")
    assert event == {
        "topic": "product-usage",
        "account_id": "acme",
        "time": WHEN_MS,
        "user_id": "user-1",
        "feature": "report exported",
    }
    assert properties["rows"] == 3
    assert events(group) == [
        {"topic": "accounts", "account_id": "acme", "time": WHEN_MS, "name": "Acme", "plan": "pro"}
    ]
    persons = ["persons, flags and groups of other types"]
    assert [each.skipped for each in skipped] == [*[persons] * 4, ["event without an account"]]


def from_mixpanel() -> Sent:
    session = Session()
    consumer = mixpanel.Consumer()
    consumer._session = session
    client = mixpanel.Mixpanel("token", consumer=consumer)
    client._now = WHEN.timestamp
    client.track("user-1", "Report Exported", {"company_id": "acme", "rows": 3})
    client.group_set("company_id", "acme", {"$name": "Acme", "plan": "pro"})
    client.group_delete("company_id", "acme")
    client.people_set("user-1", {"$email": "a@acme.example"})
    client.track("user-2", "Visited")
    return [body["data"] for body in session.posted]


def test_mixpanel() -> None:
    track, group, delete, people, without = [mapped("mixpanel", body) for body in from_mixpanel()]
    assert events(track, "properties") == [
        {
            "topic": "product-usage",
            "account_id": "acme",
            "time": WHEN_MS,
            "user_id": "user-1",
            "feature": "Report Exported",
        }
    ]
    assert events(group, "$name") == [
        {"topic": "accounts", "account_id": "acme", "time": WHEN_MS, "name": "Acme", "plan": "pro"}
    ]
    other = ["persons and other updates of groups"]
    assert [each.skipped for each in (delete, people, without)] == [other, other, ["event without an account"]]


def from_amplitude() -> Sent:
    sent: Sent = []

    def post(_url: str, payload: bytes, _header: Any = None) -> amplitude.http_client.Response:
        sent.append(payload)
        return amplitude.http_client.Response(amplitude.http_client.HttpStatus.SUCCESS)

    options = amplitude.EventOptions(time=WHEN_MS, user_id="user-1")
    plan = amplitude.Identify()
    plan.set("plan", "pro")
    with mock.patch.object(amplitude.http_client.HttpClient, "post", staticmethod(post)):
        client = amplitude.Amplitude("key")
        client.configuration.logger.setLevel(logging.CRITICAL)
        client.track(
            amplitude.BaseEvent(
                "Report Exported",
                user_id="user-1",
                time=WHEN_MS,
                insert_id="insert-1",
                event_properties={"rows": 3},
                groups={"company": ["acme", "globex"]},
            )
        )
        client.group_identify("company", "acme", plan, event_options=amplitude.EventOptions(time=WHEN_MS))
        client.identify(plan, options)
        client.track(amplitude.BaseEvent("Visited", user_id="user-2", time=WHEN_MS))
        client.flush()
        client.shutdown()
    return sent


def test_amplitude() -> None:
    (body,) = from_amplitude()
    result = mapped("amplitude", body)
    assert events(result) == [
        {
            "topic": "product-usage",
            "account_id": "acme",
            "time": WHEN_MS,
            "user_id": "user-1",
            "feature": "Report Exported",
            "properties": {"rows": 3},
        },
        {"topic": "accounts", "account_id": "acme", "time": WHEN_MS, "plan": "pro"},
    ]
    assert sorted(result.skipped) == ["event without an account", "identify and sessions"]
    assert json.loads(result.events[0].value or b"")["id"] == "insert-1"


def cloudevent(data: dict[str, Any], **attributes: Any) -> CloudEvent:
    named = {"id": "event-1", "source": "/shop", "type": "shop.invoice.paid", "time": WHEN, "partitionkey": "acme"}
    return CloudEvent(named | attributes, data)


BILLING = {"topic": "billing", "account_id": "acme", "time": WHEN_MS, "kind": "invoice_paid", "amount": 12.5}


def test_cloudevents_in_structured_mode() -> None:
    message = cloudevents_kafka.to_structured(cloudevent({"kind": "invoice_paid", "amount": 12.5}), JSONFormat())
    result = mapped("cloudevents", message.value, "billing", key=str(message.key).encode())
    assert events(result) == [BILLING]
    assert msgspec.json.decode(result.events[0].value or b"")["id"] == "event-1"


def test_cloudevents_in_binary_mode() -> None:
    message = cloudevents_kafka.to_binary(cloudevent({"kind": "invoice_paid", "amount": 12.5}), JSONFormat())
    headers = {name: value.decode() for name, value in message.headers.items()}
    result = mapped("cloudevents", message.value, "billing", headers=headers)
    assert events(result) == [BILLING]
    assert msgspec.json.decode(result.events[0].value or b"")["id"] == "event-1"


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_data_of_a_cloudevent_go_before_its_attributes(mode: str) -> None:
    data = {"id": "own", "account_id": "globex", "time": WHEN_MS + 1, "kind": "upgraded"}
    event = cloudevent(data, subject="initech")
    if mode == "structured":
        result = mapped("cloudevents", cloudevents_kafka.to_structured(event, JSONFormat()).value, "billing")
    else:
        message = cloudevents_kafka.to_binary(event, JSONFormat())
        headers = {name: value.decode() for name, value in message.headers.items()}
        result = mapped("cloudevents", message.value, "billing", headers=headers)
    assert msgspec.json.decode(result.events[0].value or b"") == data


def test_a_batch_of_cloudevents() -> None:
    message = cloudevents_kafka.to_structured(cloudevent({"kind": "invoice_paid", "amount": 12.5}), JSONFormat())
    assert events(mapped("cloudevents", b"[" + message.value + b"]", "billing")) == [BILLING]
    assert mapped("cloudevents", b"[]", "billing").skipped == ["empty batch"]


SENDERS = {"segment": from_segment, "posthog": from_posthog, "mixpanel": from_mixpanel, "amplitude": from_amplitude}


@pytest.mark.parametrize("name", SENDERS)
def test_what_an_sdk_sends_gives_a_score(name: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join(body.encode() if isinstance(body, str) else body for body in SENDERS[name]()))
    replay = replay_files([path], PLAN, reading=Reading(mapping=preset(name)))
    assert not replay.bad
    (message,) = [msgspec.json.decode(sent.value) for sent in replay.engine.current().scores]
    assert message["account_id"] == "acme"
    usage = next(each for each in message["scores"]["health"]["factors"] if each["measure"] == "product_usage")
    assert usage["value"] == 1
