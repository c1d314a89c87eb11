"""The webhook's dead letters: each is written once, and nothing waits for the broker meanwhile."""

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
from agents.sinks.delivery_pool import Courier, Ended, Outcome
from agents.sinks.http_post import Reply
from agents.sinks.metrics import SinkTelemetry
from agents.sinks.run import build_webhook
from agents.sinks.webhook import Parcel, WebhookSink, dead_letter
from schemas.codecs import encode
from schemas.outputs import Alert
from stream.consumers.notifications import Notification


class Letters:
    """A producer whose sends end as told, when they are told to; a wait for one would never end."""

    class Sent(Future):
        def get(self, timeout: float | None = None) -> Any:
            assert timeout is not None, "nobody may wait for ever"
            raise KafkaTimeoutError("not yet")

    def __init__(self) -> None:
        self.sent: list[tuple[dict[str, Any], Letters.Sent]] = []
        self.full = False

    def send(self, topic: str, **letter: Any) -> Letters.Sent:
        assert topic == "health.alerts.webhook.dlq"
        if self.full:
            raise KafkaTimeoutError("no room")
        future = Letters.Sent()
        self.sent.append((letter, future))
        return future


class Play:
    """A webhook sink whose receiver refuses everything."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.letters = Letters()
        self.telemetry = SinkTelemetry("webhook")
        how: dict[str, Any] = {"give_up_s": 0, "longest_pause_s": 1, "board_url": None}
        self.sink = WebhookSink(lambda *_: Reply(422, None, "no"), [b"k"], self.letters, self.telemetry, **how)
        monkeypatch.setattr("agents.sinks.webhook._BURY_AGAIN_S", 0.0)

    def offer(self, *offsets: int) -> None:
        for offset in offsets:
            alert = Alert(f"f{offset}", "p", f"a{offset}", "low", "info", "firing", 1, None, None, "s", {}, {})
            assert self.sink.offer(Notification("firing", alert, alert, quiet=False), record(offset, encode(alert)))

    def until(self, holds: Callable[[], bool]) -> list[int]:
        done: list[int] = []
        deadline_s = time.monotonic() + 30
        while not holds():
            assert time.monotonic() < deadline_s
            done += [one.offset for one in self.sink.step()]
        return sorted(done)

    def step(self) -> list[int]:
        return [one.offset for one in self.sink.step()]


def record(offset: int, value: bytes) -> Any:
    return SimpleNamespace(partition=0, offset=offset, key=b"k", value=value, headers=[("h", b"v")])


def test_only_letters_that_failed_are_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(monkeypatch)
    play.offer(0, 1, 2)
    sent = play.letters.sent
    assert play.until(lambda: len(sent) == 3) == []
    by_offset = {int(dict(letter["headers"])["vitals.error.offset"]): future for letter, future in sent}
    by_offset[0].success(None)
    by_offset[1].failure(KafkaTimeoutError("away"))
    assert play.until(lambda: len(sent) == 4) == [0]
    assert dict(sent[3][0]["headers"])["vitals.error.offset"] == b"1"
    by_offset[2].success(None)
    sent[3][1].success(None)
    assert sorted(play.step()) == [1, 2]
    assert play.sink.stop() == []
    assert (len(sent), play.telemetry.dead_letters._value.get()) == (4, 3)


def test_a_producer_without_room_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(monkeypatch)
    play.letters.full = True
    assert play.sink.refuse(record(7, b"{"), "malformed_json", "no JSON")
    assert play.step() == []
    play.letters.full = False
    assert play.step() == []
    ((letter, future),) = play.letters.sent
    assert letter["value"] == b"{"
    assert dict(letter["headers"])["h"] == b"v"
    assert dict(letter["headers"])["vitals.error.reason"] == b"malformed_json"
    future.success(None)
    assert play.step() == [7]
    play.sink.stop()


def test_a_record_without_key_and_value_and_a_header_without_one_can_be_buried() -> None:
    """kafka-python writes neither a record without both nor a header without a value."""
    bare = SimpleNamespace(partition=0, offset=7, key=None, value=None, headers=[("h", None)])
    letter = dead_letter(Ended(Parcel("", b"", bare), Outcome("refused", "null_value", "no value")))
    assert (letter["key"], letter["value"]) == (None, b"")
    assert letter["headers"][0] == ("h", b"")
    keyed = SimpleNamespace(partition=0, offset=7, key=b"k", value=None, headers=[])
    assert dead_letter(Ended(Parcel("", b"", keyed), Outcome("refused")))["value"] is None


def test_a_start_without_the_topic_of_dead_letters_says_how_to_make_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(topic: str) -> None:
        raise KafkaTimeoutError(f"no metadata of {topic}")

    monkeypatch.setattr("agents.sinks.run.producer_of", lambda *_, **__: SimpleNamespace(partitions_for=lacks))
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    settings = load_settings(webhook_url="http://127.0.0.1:9", webhook_secret=secret, webhook_allow_private=True)
    with pytest.raises(BrokerError, match="vitals topics --create"):
        build_webhook(settings, SinkTelemetry("webhook"))


def test_a_delivery_that_fails_in_a_way_nobody_has_foreseen_is_tried_again_and_then_given_up() -> None:
    def deliver(thing: str) -> Outcome:
        raise UnicodeEncodeError("ascii", thing, 0, 1, "no header")

    how: dict[str, Any] = {"threads": 1, "give_up_s": 0, "longest_pause_s": 1}
    courier: Courier[str] = Courier(deliver, SinkTelemetry("webhook"), **how)
    courier.put("line", "é")
    deadline_s = time.monotonic() + 30
    ended: list[Ended[str]] = []
    while not ended:
        assert time.monotonic() < deadline_s
        ended = courier.step()
    assert [(one.thing, one.outcome.status, one.outcome.reason) for one in ended] == [("é", "refused", "error")]
    courier.stop()
