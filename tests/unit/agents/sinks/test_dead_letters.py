"""The webhook's dead letters: each is written once, and deliveries do not wait for the broker."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError
from kafka.future import Future

from agents.kafka.client import BrokerError
from agents.settings.settings import load_settings
from agents.sinks.dead_letters import DeadLetterWriter, dead_letter
from agents.sinks.delivery import Delivery, Outcome, State
from agents.sinks.delivery_pool import DeliveryPool
from agents.sinks.http_post import Reply
from agents.sinks.metrics import SinkTelemetry
from agents.sinks.run import build_webhook
from agents.sinks.webhook import Request, WebhookSink
from schemas.codecs import encode
from schemas.outputs import Alert
from stream.consumers.notifications import Notification


class TestProducer:
    """A producer whose sends end when the test says so; waiting for one without a timeout fails."""

    __test__ = False

    class Sent(Future):
        def get(self, timeout: float | None = None) -> Any:
            assert timeout is not None, "a wait needs a timeout"
            raise KafkaTimeoutError("not yet")

    def __init__(self) -> None:
        self.sent: list[tuple[dict[str, Any], TestProducer.Sent]] = []
        self.full = False

    def send(self, topic: str, **sent_record: Any) -> TestProducer.Sent:
        assert topic == "health.alerts.webhook.dlq"
        if self.full:
            raise KafkaTimeoutError("no room")
        future = TestProducer.Sent()
        self.sent.append((sent_record, future))
        return future


class Bench:
    """A webhook sink whose receiver rejects everything."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.producer = TestProducer()
        self.telemetry = SinkTelemetry("webhook")
        options: dict[str, Any] = {"give_up_s": 0, "longest_pause_s": 1, "board_url": None}
        writer = DeadLetterWriter(self.producer, self.telemetry)
        self.sink = WebhookSink(lambda *_: Reply(422, None, "no"), [b"k"], writer, self.telemetry, **options)
        monkeypatch.setattr("agents.sinks.dead_letters._RETRY_AFTER_S", 0.0)

    def offer(self, *offsets: int) -> None:
        for offset in offsets:
            alert = Alert(f"f{offset}", "p", f"a{offset}", "low", "info", "firing", 1, None, None, "s", {}, {})
            assert self.sink.offer(Notification("firing", alert, alert, quiet=False), record(offset, encode(alert)))

    def until(self, holds: Callable[[], bool]) -> list[int]:
        done: list[int] = []
        deadline_s = time.monotonic() + 30
        while not holds():
            assert time.monotonic() < deadline_s
            done += [finished.offset for finished in self.sink.step()]
        return sorted(done)

    def step(self) -> list[int]:
        return [finished.offset for finished in self.sink.step()]


def record(offset: int, value: bytes) -> Any:
    return SimpleNamespace(partition=0, offset=offset, timestamp=1, key=b"k", value=value, headers=[("h", b"v")])


def test_only_failed_dead_letters_are_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.offer(0, 1, 2)
    sent = bench.producer.sent
    assert bench.until(lambda: len(sent) == 3) == []
    by_offset = {int(dict(sent_record["headers"])["vitals.error.offset"]): future for sent_record, future in sent}
    by_offset[0].success(None)
    by_offset[1].failure(KafkaTimeoutError("away"))
    assert bench.until(lambda: len(sent) == 4) == [0]
    assert dict(sent[3][0]["headers"])["vitals.error.offset"] == b"1"
    by_offset[2].success(None)
    sent[3][1].success(None)
    assert sorted(bench.step()) == [1, 2]
    assert bench.sink.stop() == []
    assert (len(sent), bench.telemetry.dead_letters._value.get()) == (4, 3)


def test_a_dead_letter_is_written_when_a_full_producer_has_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.producer.full = True
    assert bench.sink.reject(record(7, b"{"), "malformed_json", "no JSON")
    assert bench.step() == []
    bench.producer.full = False
    assert bench.step() == []
    ((sent_record, future),) = bench.producer.sent
    assert sent_record["value"] == b"{"
    assert dict(sent_record["headers"])["h"] == b"v"
    assert dict(sent_record["headers"])["vitals.error.reason"] == b"malformed_json"
    future.success(None)
    assert bench.step() == [7]
    bench.sink.stop()


def rejected(kafka_record: Any) -> Delivery[Request]:
    delivery = Delivery(Request("", b""), kafka_record)
    delivery.move(State.REJECTED, Outcome("rejected", "null_value", "no value"))
    return delivery


def test_a_record_without_key_and_value_and_a_header_without_value_can_be_dead_lettered() -> None:
    """kafka-python cannot write a record without both, nor a header without a value."""
    bare = SimpleNamespace(partition=0, offset=7, timestamp=1, key=None, value=None, headers=[("h", None)])
    sent_record = dead_letter(rejected(bare))
    assert (sent_record["key"], sent_record["value"]) == (None, b"")
    assert sent_record["headers"][0] == ("h", b"")
    keyed = SimpleNamespace(partition=0, offset=7, timestamp=1, key=b"k", value=None, headers=[])
    assert dead_letter(rejected(keyed))["value"] is None


def test_a_start_without_the_dead_letter_topic_says_how_to_create_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(topic: str) -> None:
        raise KafkaTimeoutError(f"no metadata of {topic}")

    monkeypatch.setattr("agents.sinks.run.require_rights", lambda *_: None)
    monkeypatch.setattr("agents.sinks.run.producer_of", lambda *_, **__: SimpleNamespace(partitions_for=missing))
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    settings = load_settings(webhook_url="http://127.0.0.1:9", webhook_secret=secret, webhook_allow_private=True)
    with pytest.raises(BrokerError, match="vitals topics --create"):
        build_webhook(settings, SinkTelemetry("webhook"))


def test_an_unexpected_exception_is_retried_and_then_rejected() -> None:
    def attempt(payload: str) -> Outcome:
        raise UnicodeEncodeError("ascii", payload, 0, 1, "no header")

    options: dict[str, Any] = {"threads": 1, "give_up_s": 0, "longest_pause_s": 1}
    pool: DeliveryPool[str] = DeliveryPool(attempt, SinkTelemetry("webhook"), **options)
    pool.add("queue", Delivery("é", None))
    deadline_s = time.monotonic() + 30
    ended: list[Delivery[str]] = []
    while not ended:
        assert time.monotonic() < deadline_s
        ended = pool.step()
    assert [(delivery.payload, delivery.state, delivery.reason) for delivery in ended] == [
        ("é", State.REJECTED, "error")
    ]
    pool.stop()
