"""The search for raw events: block by block backwards, whichever topic's records come first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
from kafka import TopicPartition

from agents.board.views.inputs import FIRST_BLOCK, KafkaInputs
from tests.driving.boards import NOON, settings

AT_ONCE = 100


class Consumer:
    """As kafka-python's: a place that is assigned again keeps its position, and stays paused if it was."""

    def __init__(self, topics: dict[str, list[int]]) -> None:
        self._times = {TopicPartition(topic, 0): times for topic, times in topics.items()}
        self._assigned: list[TopicPartition] = []
        self._places: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()

    def topics(self) -> set[str]:
        return {place.topic for place in self._times}

    def partitions_for_topic(self, _topic: str) -> set[int]:
        return {0}

    def beginning_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)

    def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {place: len(self._times[place]) for place in places}

    def highwater(self, place: TopicPartition) -> int:
        return len(self._times[place])

    def position(self, place: TopicPartition) -> int:
        return self._places[place]

    def assign(self, places: list[TopicPartition]) -> None:
        self._paused -= set(self._assigned) - set(places)
        self._assigned = places

    def seek(self, place: TopicPartition, offset: int) -> None:
        self._places[place] = offset

    def pause(self, *places: TopicPartition) -> None:
        self._paused.update(places)

    def resume(self, *places: TopicPartition) -> None:
        self._paused.difference_update(places)

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        """Some records of the first place that has any."""
        del timeout_ms
        for place in self._assigned:
            first, times = self._places[place], self._times[place]
            if place not in self._paused and first < len(times):
                self._places[place] = min(first + AT_ONCE, len(times))
                return {
                    place: [
                        SimpleNamespace(offset=at, key=b"acme", value=msgspec.json.encode({"time": times[at]}))
                        for at in range(first, self._places[place])
                    ]
                }
        msg = "nothing more will ever come"
        raise AssertionError(msg)

    def close(self) -> None:
        pass


def test_a_topic_that_was_read_before_the_others_were_is_read_on() -> None:
    count = FIRST_BLOCK * 3
    busy = [NOON - count + at for at in range(count)]
    inputs = KafkaInputs(settings())
    inputs._consumer = Consumer({"billing": busy, "surveys": [NOON - 10_000_000]})
    result = inputs.find("acme", ["billing", "surveys"], {}, NOON, count)
    assert sorted(raw.time for raw in result.records if raw.topic == "billing") == busy
    assert result.offsets == {"billing": 0, "surveys": 0}
