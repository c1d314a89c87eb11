"""The sender: key, partition and time of a record, and what a broker refuses alone."""

from __future__ import annotations

from typing import Any

import pytest
from kafka.errors import InvalidTimestampError, KafkaTimeoutError, MessageSizeTooLargeError

from agents.imports import sender as module
from agents.imports.sender import Sender, oldest_times
from agents.imports.spool import SpooledEvent
from agents.kafka.client import BrokerError
from agents.kafka.topics import TopicState
from agents.settings.settings import load_settings
from schemas.sources import BUILT_IN
from schemas.topics import all_topics
from tests.faults.topic_log import PARTITIONS, partition_of

TOO_LARGE, TOO_OLD, NO_ANSWER = b"large", b"old", b"lost"


class Answer:
    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def get(self, timeout: float) -> None:
        assert timeout
        if self._error is not None:
            raise self._error


class Producer:
    """A broker that refuses the whole batch of the first send, as brokers do where one record is too large."""

    def __init__(self, in_batch: int) -> None:
        self.written: list[tuple[str, dict[str, Any]]] = []
        self.is_closed = False
        self._in_batch = in_batch

    def partitions_for(self, topic: str) -> set[int]:
        assert topic
        return set(range(PARTITIONS))

    def send(self, topic: str, **fields: Any) -> Answer:
        errors = {
            TOO_LARGE: MessageSizeTooLargeError(),
            TOO_OLD: InvalidTimestampError(),
            NO_ANSWER: KafkaTimeoutError(),
        }
        error = errors.get(fields["value"])
        if fields["value"] == b"larger":
            raise MessageSizeTooLargeError
        self._in_batch -= 1
        if self._in_batch >= 0:
            return Answer(MessageSizeTooLargeError())
        if error is None:
            self.written.append((topic, fields))
        return Answer(error)

    def close(self, timeout: float) -> None:
        assert timeout
        self.is_closed = True


def event(number: int, value: bytes | None = b"{}", source: str = "billing") -> SpooledEvent:
    return SpooledEvent(1000 + number, 3, source, f"acct-{number}", value, "a.jsonl", number, number)


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> Producer:
    made = Producer(in_batch=4)
    monkeypatch.setattr(module, "producer_of", lambda *_, **__: made)
    return made


def test_records_of_a_refused_batch_are_sent_alone_and_only_bad_ones_are_refused(producer: Producer) -> None:
    events = [event(1), event(2, TOO_LARGE), event(3, TOO_OLD), event(4), event(5, b"larger"), event(6), event(7, None)]
    with Sender(load_settings(), BUILT_IN, ["billing"]) as sender:
        refused = sender.send(events)
    assert [(each.event.line, each.reason) for each in refused] == [
        (2, "too_large"),
        (3, "in_the_future"),
        (5, "too_large"),
    ]
    assert [fields["key"] for _, fields in producer.written] == [b"acct-6", b"acct-7", b"acct-1", b"acct-4"]
    assert producer.is_closed
    for topic, fields in producer.written:
        assert (topic, fields["partition"]) == ("billing", partition_of(fields["key"]))
        assert fields["timestamp_ms"] == 1000 + int(fields["key"].removeprefix(b"acct-"))


@pytest.mark.usefixtures("producer")
def test_a_broker_that_does_not_answer_is_an_error() -> None:
    with Sender(load_settings(), BUILT_IN, ["billing"]) as sender, pytest.raises(BrokerError, match="sending failed: "):
        sender.send([event(number, NO_ANSWER) for number in range(6)])


def test_missing_topics_are_named_and_retention_says_what_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = all_topics("g", BUILT_IN)

    def described(missing: str) -> list[TopicState]:
        return [
            TopicState(topic, None if topic.name == missing else 4, "missing", settings=topic.config())
            for topic in topics
        ]

    monkeypatch.setattr(module, "describe_topics", lambda *_: described("billing"))
    with pytest.raises(BrokerError, match=r"\Abilling: missing\Z"):
        oldest_times(load_settings(), BUILT_IN)
    monkeypatch.setattr(module, "describe_topics", lambda *_: described("health.scores"))
    oldest = oldest_times(load_settings(), BUILT_IN)
    assert set(oldest) == set(BUILT_IN.of_events), "profiles are compacted, and so kept"
