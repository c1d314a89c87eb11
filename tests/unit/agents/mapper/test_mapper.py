"""The loop of the mapper: no record, size or topic ends it, and what cannot be written is a dead letter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError
from kafka.future import Future

from agents.kafka.client import BrokerError
from agents.mapper import mapper as module
from agents.mapper.mapper import Mapper
from agents.mapper.metrics import MapperTelemetry
from agents.settings.settings import load_settings
from schemas.sources import BUILT_IN
from schemas.topics import MAPPER_DLQ
from stream.mapping.reading import parse_mapping

MAPPING = parse_mapping(
    """
[[map]]
name = "line"
when = { path = "lines", of = "record" }
root = "lines"
to = "billing"
[map.fields]
account_id = "who"
kind = { value = "invoice_paid" }
properties = "{text: text}"

[[map]]
name = "gone"
to = "accounts"
delete = true
when = { path = "!record", of = "all" }
fields = { time = { value = 1774605600000 } }
""",
    "shop.toml",
)
BROKER_LIMIT = 1_000_000


class Consumed(NamedTuple):
    """What a consumer gives."""

    offset: int
    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    topic: str = "orders"
    partition: int = 0
    timestamp: int = 1_774_605_600_000


class Producer:
    """Accepts and refuses what kafka-python's producer and a broker do."""

    def __init__(self) -> None:
        self.written: list[tuple[str, dict[str, Any]]] = []
        self.largest = {MAPPER_DLQ.name: 20 * BROKER_LIMIT}

    def send(self, topic: str, **fields: Any) -> Any:
        value, key = fields.get("value"), fields.get("key")
        if value is None and key is None:
            raise ValueError("Need at least one: key or value")
        size = len(value or b"")
        if size > 2 * 20 * BROKER_LIMIT:
            raise MessageSizeTooLargeError("larger than max_request_size")
        answer = Future()
        if size > self.largest.get(topic, BROKER_LIMIT):
            answer.failure(MessageSizeTooLargeError())
        else:
            answer.success(None)
            self.written.append((topic, fields))
        return Answer(answer)

    def close(self, timeout: float) -> None:
        del timeout

    def of(self, topic: str) -> list[dict[str, Any]]:
        return [fields for written, fields in self.written if written == topic]


class Answer:
    """The future of a send, which has ended."""

    def __init__(self, future: Future) -> None:
        self._future = future

    def get(self, timeout: float) -> Any:
        del timeout
        if self._future.failed():
            raise self._future.exception
        return self._future.value


class Consumer:
    """A topic's only partition, whose first record is at `begin`; records end at `end`, which may be a marker."""

    def __init__(
        self, *records: Consumed, begin: int = 0, end: int | None = None, topics: tuple[str, ...] = ()
    ) -> None:
        self._polls: Iterator[list[Consumed]] = iter([list(records)] if records else [])
        self._partition = TopicPartition("orders", 0)
        self._position = begin
        self._end = len(records) if end is None else end
        self._topics = {"orders", MAPPER_DLQ.name, *(source.topic for source in BUILT_IN), *topics}
        self.saved: int | None = None
        self.polls = 0

    def topics(self) -> set[str]:
        return self._topics

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return {0} if topic in self._topics else None

    def subscribe(self, topics: Any) -> None:
        del topics

    def end_offsets(self, partitions: Any) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, self._end)

    def committed(self, _partition: TopicPartition) -> int | None:
        return self.saved

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[Consumed]]:
        del timeout_ms
        self.polls += 1
        assert self.polls < 50, "it never ends"
        records = next(self._polls, [])
        self._position = records[-1].offset + 1 if records else self._end
        return {self._partition: records} if records else {}

    def commit(self) -> None:
        self.saved = self._position

    def close(self) -> None:
        pass


class Bench:
    """A mapper between these two."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, consumer: Consumer) -> None:
        self.producer, self.consumer = Producer(), consumer
        monkeypatch.setattr(module, "consumer_of", lambda *_, **__: consumer)
        monkeypatch.setattr(module, "producer_of", lambda *_, **__: self.producer)
        self.telemetry = MapperTelemetry()

    def mapped(self) -> int:
        return Mapper(load_settings(), MAPPING, ["orders"], BUILT_IN, self.telemetry).run(once=True)

    def letters(self) -> list[tuple[bytes | None, str]]:
        return [
            (fields["value"], dict(fields["headers"])["vitals.error.reason"].decode())
            for fields in self.producer.of(MAPPER_DLQ.name)
        ]

    def count(self, outcome: str) -> float | None:
        return self.telemetry.registry.get_sample_value(
            "vitals_mapper_records_total", {"topic": "orders", "outcome": outcome}
        )


def order(*sizes: int) -> bytes:
    lines = [{"who": f"a{number}", "text": "x" * size} for number, size in enumerate(sizes)]
    return json.dumps({"lines": lines}).encode()


def test_a_tombstone_without_a_key_that_a_rule_cannot_map_is_a_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, Consumer(Consumed(0, None), Consumed(1, order(1))))
    assert bench.mapped() == 1
    assert bench.letters() == [(b"", "mapping_failed")]
    assert bench.consumer.saved == 2


def test_an_event_that_the_broker_finds_too_large_is_a_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    large = Consumed(1, order(BROKER_LIMIT))
    bench = Bench(monkeypatch, Consumer(Consumed(0, order(1)), large, Consumed(2, order(2))))
    assert bench.mapped() == 2
    assert bench.letters() == [(large.value, "too_large")]
    assert len(bench.producer.of("billing")) == 2
    assert (bench.count("mapped"), bench.count("too_large")) == (2, 1)
    assert bench.consumer.saved == 3
    (letter,) = bench.producer.of(MAPPER_DLQ.name)
    message = dict(letter["headers"])["vitals.error.message"].decode()
    assert message.startswith("rule line of shop.toml: billing: the event has 1,000,")
    assert message.endswith(" bytes, more than the broker takes (max.message.bytes)")


def test_a_record_one_of_whose_events_is_too_large_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    record = Consumed(0, order(1, BROKER_LIMIT, 2))
    bench = Bench(monkeypatch, Consumer(record))
    assert bench.mapped() == 0
    assert bench.letters() == [(record.value, "too_large")]
    assert bench.producer.of("billing") == []


def test_a_record_that_is_too_large_for_the_dead_letters_is_one_without_its_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(monkeypatch, Consumer(Consumed(0, order(21 * BROKER_LIMIT)), Consumed(1, order(1))))
    assert bench.mapped() == 1
    assert bench.letters() == [(b"", "too_large")]
    (letter,) = bench.producer.of(MAPPER_DLQ.name)
    message = dict(letter["headers"])["vitals.error.message"].decode()
    assert message.endswith("; the record is too large for a dead letter too: read it at orders/0/0")


@pytest.mark.parametrize("consumer", [Consumer(end=0), Consumer(begin=100, end=100), Consumer(begin=7, end=9)])
def test_a_topic_without_records_or_with_only_markers_at_its_end_is_done(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Bench(monkeypatch, consumer).mapped() == 0


def test_a_marker_after_the_last_record_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Bench(monkeypatch, Consumer(Consumed(0, order(1)), end=2)).mapped() == 1


def test_a_broker_that_is_away_ends_the_process_and_commits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, Consumer(Consumed(0, order(1))))

    def away(*_: Any, **__: Any) -> Any:
        raise KafkaTimeoutError("away")

    monkeypatch.setattr(bench.producer, "send", away)
    with pytest.raises(BrokerError, match="mapping failed"):
        bench.mapped()
    assert bench.consumer.saved is None


def test_a_topic_that_does_not_exist_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Consumer(Consumed(0, order(1)))
    bench = Bench(monkeypatch, consumer)
    late = [consumer._topics - {"orders", "billing"}, consumer._topics - {"billing"}, consumer._topics]
    problems: list[list[str]] = []
    mapper = Mapper(load_settings(), MAPPING, ["orders"], BUILT_IN, bench.telemetry)

    def listed() -> set[str]:
        problems.append(mapper.unready())
        listed_now = late.pop(0)
        if not late:
            mapper.relay.stop()
        return listed_now

    monkeypatch.setattr(module, "_TOPICS_PAUSE_S", 0)
    monkeypatch.setattr(consumer, "topics", listed)
    mapper.run(once=False)
    assert problems[1] == [
        "topics that do not exist yet, or on which this client has no right DESCRIBE: billing, orders"
    ]
    assert problems[2] == ["topics that do not exist yet, or on which this client has no right DESCRIBE: billing"]
    assert mapper.unready() == []


def test_a_topic_that_does_not_exist_ends_a_run_that_maps_once(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Consumer()
    consumer._topics -= {"orders"}
    with pytest.raises(
        BrokerError, match="topics that do not exist yet, or on which this client has no right DESCRIBE"
    ):
        Bench(monkeypatch, consumer).mapped()


def test_it_stops_while_it_waits_for_a_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Consumer()
    consumer._topics -= {"orders"}
    bench = Bench(monkeypatch, consumer)
    mapper = Mapper(load_settings(), MAPPING, ["orders"], BUILT_IN, bench.telemetry)
    mapper.relay.stop()
    assert mapper.run(once=False) == 0
