"""The search for raw events reads every topic backwards, whichever topic's records arrive first."""

from __future__ import annotations

from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from kafka import TopicPartition

from agents.board.views import inputs as module
from agents.board.views.inputs import FIRST_BLOCK, MOST_SEARCHES, KafkaInputs, SearchResult
from agents.board.views.listing import CursorError
from agents.board.web.responses import UnavailableError
from tests.driving.boards import NOON, settings

AT_ONCE = 100


class Consumer:
    """As kafka-python's: a partition that is assigned again keeps its position, and stays paused if it was."""

    def __init__(self, topics: dict[str, list[int]], values: dict[int, bytes] | None = None) -> None:
        self._values = values or {}
        self._times = {TopicPartition(topic, 0): times for topic, times in topics.items()}
        self._assigned: list[TopicPartition] = []
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()

    def topics(self) -> set[str]:
        return {partition.topic for partition in self._times}

    def partitions_for_topic(self, _topic: str) -> set[int]:
        return {0}

    def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {partition: len(self._times[partition]) for partition in partitions}

    def highwater(self, partition: TopicPartition) -> int:
        return len(self._times[partition])

    def position(self, partition: TopicPartition) -> int:
        return self._positions[partition]

    def assign(self, partitions: list[TopicPartition]) -> None:
        self._paused -= set(self._assigned) - set(partitions)
        self._assigned = partitions

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._positions[partition] = offset

    def pause(self, *partitions: TopicPartition) -> None:
        self._paused.update(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self._paused.difference_update(partitions)

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        """Some records of the first partition that has any."""
        del timeout_ms
        for partition in self._assigned:
            first, times = self._positions[partition], self._times[partition]
            if partition not in self._paused and first < len(times):
                self._positions[partition] = min(first + AT_ONCE, len(times))
                return {
                    partition: [
                        SimpleNamespace(
                            offset=offset,
                            key=b"acme",
                            timestamp=times[offset] + 5,
                            value=self._values.get(offset, msgspec.json.encode({"time": times[offset]})),
                        )
                        for offset in range(first, self._positions[partition])
                    ]
                }
        msg = "there are no more records"
        raise AssertionError(msg)

    def close(self) -> None:
        pass


def test_a_partition_that_was_paused_for_slower_ones_is_read_to_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 60.0)  # a busy machine is slow
    count = FIRST_BLOCK * 3
    busy = [NOON - count + offset for offset in range(count)]
    inputs = KafkaInputs(settings())
    consumer = Consumer({"billing": busy, "surveys": [NOON - 10_000_000]})
    monkeypatch.setattr(inputs, "_connect", lambda: consumer)
    result = inputs.find("acme", ["billing", "surveys"], {}, NOON, count)
    assert sorted(raw.time for raw in result.records if raw.topic == "billing") == busy
    assert result.offsets == {"billing": 0, "surveys": 0}


def test_a_record_that_cannot_be_read_has_the_time_of_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = KafkaInputs(settings())
    consumer = Consumer({"billing": [NOON - 10, NOON]}, {0: b'{"time":1,"note":"\xff"}'})
    monkeypatch.setattr(inputs, "_connect", lambda: consumer)
    result = inputs.find("acme", ["billing"], {}, NOON, 10)
    assert [(raw.offset, raw.time) for raw in result.records] == [(0, NOON - 5), (1, NOON)]


@pytest.mark.parametrize("offset", [3, 10**15])
def test_a_cursor_beyond_the_end_is_refused_without_reading(monkeypatch: pytest.MonkeyPatch, offset: int) -> None:
    inputs = KafkaInputs(settings())
    consumer = Consumer({"billing": [NOON, NOON]})
    monkeypatch.setattr(inputs, "_connect", lambda: consumer)
    monkeypatch.setattr(consumer, "poll", lambda **_: pytest.fail("it reads"))
    with pytest.raises(CursorError, match="billing ends before it"):
        inputs.find("acme", ["billing"], {"billing": offset}, NOON, 10)


def test_a_cursor_may_be_at_a_high_watermark_that_was_seen_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded broker's end can be too low."""
    inputs = KafkaInputs(settings())
    consumer = Consumer({"billing": [NOON, NOON]})
    monkeypatch.setattr(inputs, "_connect", lambda: consumer)
    inputs.find("acme", ["billing"], {}, NOON, 10)
    monkeypatch.setattr(consumer, "end_offsets", lambda partitions: dict.fromkeys(partitions, 1))
    assert len(inputs.find("acme", ["billing"], {"billing": 2}, NOON, 10).records) == 2


def test_a_search_that_waits_for_the_broker_does_not_hold_up_others(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, answers = KafkaInputs(settings()), Event()
    started: list[Event] = []

    def connect() -> Consumer:
        consumer = Consumer({"billing": [NOON]})
        if len(started) < MOST_SEARCHES - 1:
            began = Event()
            started.append(began)
            poll = consumer.poll

            def waiting(timeout_ms: int) -> dict[TopicPartition, list[Any]]:
                began.set()
                answers.wait()
                return poll(timeout_ms)

            monkeypatch.setattr(consumer, "poll", waiting)
        return consumer

    monkeypatch.setattr(inputs, "_connect", connect)
    monkeypatch.setattr(module, "_WAIT_S", 0.01)

    def search() -> SearchResult:
        return inputs.find("acme", ["billing"], {}, NOON, 10)

    slow = []
    for _ in range(MOST_SEARCHES - 1):
        slow.append(Thread(target=search))
        slow[-1].start()
        while len(started) < len(slow):
            pass
        started[-1].wait()
    try:
        assert len(search().records) == 1
        with inputs._idle.mutex:
            inputs._idle.queue.clear()  # as if the last consumer were in use too
        with pytest.raises(UnavailableError, match="other timelines are being read"):
            search()
    finally:
        answers.set()
        for thread in slow:
            thread.join()
