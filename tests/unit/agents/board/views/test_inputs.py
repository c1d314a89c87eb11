"""The search for raw events reads every topic backwards, whichever topic's records arrive first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from kafka import TopicPartition

from agents.board.views import inputs as module
from agents.board.views.inputs import FIRST_BLOCK, KafkaInputs
from tests.driving.boards import NOON, settings

AT_ONCE = 100


class Consumer:
    """As kafka-python's: a partition that is assigned again keeps its position, and stays paused if it was."""

    def __init__(self, topics: dict[str, list[int]]) -> None:
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
                        SimpleNamespace(offset=offset, key=b"acme", value=msgspec.json.encode({"time": times[offset]}))
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
    inputs._consumer = Consumer({"billing": busy, "surveys": [NOON - 10_000_000]})
    result = inputs.find("acme", ["billing", "surveys"], {}, NOON, count)
    assert sorted(raw.time for raw in result.records if raw.topic == "billing") == busy
    assert result.offsets == {"billing": 0, "surveys": 0}
