"""Which fetched records a task takes: those that connect, each once; others are fetched again or counted."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from faust.types import TP

from agents.worker.client.consumer import Records
from agents.worker.tasks import processor as processors
from agents.worker.tasks.task_state import TaskState
from stream.publishing.effects import Effects
from tests.driving.worker import Bench, Producer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents.worker.tasks.task import PartitionTask
    from stream.ingest.batch import Batch

USAGE = TP("product-usage", 0)


@pytest.fixture
def bench() -> Bench:
    """Give a processor with one running task, and where its records come from."""
    bench = Bench(Producer(), 0, may_write=lambda: False)
    bench.processor.highwater = lambda _tp: None
    return bench


def fetched(first: int, end: int) -> Records:
    rest = {"timestamp": 0, "key": b"a", "value": b"{}", "headers": []}
    return Records(USAGE, [SimpleNamespace(offset=offset, **rest) for offset in range(first, end)], first, end)


def taken(task: PartitionTask) -> list[int]:
    return [record.offset for records in task.arrived.get(0, []) for record in records]


def removed(bench: Bench) -> float:
    return float(bench.telemetry.removed.labels(USAGE.topic)._value.get())


def test_records_that_come_twice_are_taken_once(bench: Bench) -> None:
    for records in (fetched(0, 4), fetched(2, 6), fetched(0, 3), fetched(6, 8)):
        asyncio.run(bench.processor.take(records))
    assert taken(bench.processor.tasks[0]) == list(range(8))
    assert bench.source.sought == []


def test_a_lost_fetch_is_fetched_again(bench: Bench) -> None:
    for records in (fetched(0, 4), fetched(6, 8), fetched(4, 7)):
        asyncio.run(bench.processor.take(records))
    assert bench.source.sought == [(USAGE, 4)]
    assert taken(bench.processor.tasks[0]) == list(range(7))


def test_a_lost_fetch_that_was_the_last_is_fetched_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.processor.highwater = lambda tp: 9 if tp == USAGE else 0
    asyncio.run(bench.processor.take(fetched(0, 4)))
    asyncio.run(bench.processor.tick())
    assert bench.source.sought == [], "not at once: it may be on its way"
    monkeypatch.setattr(processors, "STALLED_S", -1.0)
    asyncio.run(bench.processor.tick())
    assert bench.source.sought == [(USAGE, 4)]
    asyncio.run(bench.processor.take(fetched(4, 9)))
    asyncio.run(bench.processor.tick())
    assert bench.source.sought == [(USAGE, 4)]
    assert bench.processor.tasks[0].reached(0) == 9


@pytest.mark.parametrize(("first", "sought"), [(0, 1), (3, 3)])
def test_settled_records_that_were_lost_before_their_ids_were_learned_are_fetched_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, first: int, sought: int
) -> None:
    """A crash in the middle of a commit leaves a position that lies ahead of the committed offset."""
    monkeypatch.setattr(processors, "STALLED_S", -1.0)
    task = bench.processor.tasks[0]
    task.engine.position["product-usage"], task.begins[0] = 4, 1
    bench.processor.highwater = lambda tp: 4 if tp == USAGE else 0
    bench.source.first = first
    asyncio.run(bench.processor.tick())
    assert bench.source.sought == [(USAGE, sought)]
    asyncio.run(bench.processor.take(fetched(sought, 4)))
    asyncio.run(bench.processor.work())
    assert task.engine.committable() == {"product-usage": 4}
    assert task.changed, "the next commit has the offset"
    assert removed(bench) == 0


def test_settled_records_that_are_removed_are_not_asked_for_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors, "STALLED_S", -1.0)
    task = bench.processor.tasks[0]
    task.engine.position["product-usage"], task.begins[0] = 4, 1
    bench.processor.highwater = lambda tp: 4 if tp == USAGE else 0
    bench.source.first = 4
    for _ in range(2):
        asyncio.run(bench.processor.tick())
    assert len(bench.source.sought) == 1
    assert task.engine.committable() == {"product-usage": 4}
    assert removed(bench) == 0


def test_records_that_the_broker_removed_are_counted(bench: Bench) -> None:
    asyncio.run(bench.processor.take(fetched(0, 4)))
    bench.source.first = 10
    asyncio.run(bench.processor.take(fetched(12, 14)))
    assert bench.source.sought == [(USAGE, 10)], "two of those that remain were lost on their way"
    asyncio.run(bench.processor.take(fetched(10, 14)))
    assert taken(bench.processor.tasks[0]) == [0, 1, 2, 3, 10, 11, 12, 13]
    assert removed(bench) == 6


def test_nothing_lags_where_the_broker_has_removed_all_records(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """No fetch will ever show it."""
    monkeypatch.setattr(processors, "STALLED_S", -1.0)
    task = bench.processor.tasks[0]
    task.engine.position["product-usage"] = 4
    bench.processor.highwater = lambda tp: 9 if tp == USAGE else 0
    bench.source.first = 9
    asyncio.run(bench.processor.tick())
    assert sum(bench.processor.lag(task).values()) == 0
    assert removed(bench) == 5


def test_a_new_topic_whose_first_offset_is_not_0_has_lost_nothing(bench: Bench) -> None:
    bench.source.first = 10
    asyncio.run(bench.processor.take(fetched(10, 12)))
    assert taken(bench.processor.tasks[0]) == [10, 11]
    assert removed(bench) == 0


def test_records_taken_and_not_decoded_keep_other_sources_waiting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor, task = bench.processor, bench.processor.tasks[0]
    tickets = USAGE._replace(topic="support-tickets")
    ends = {USAGE: 1, tickets: 1}
    processor.highwater = lambda tp: ends.get(tp, 0)
    steps: list[list[str]] = []

    def step(batches: Sequence[Batch], *_: object) -> Effects:
        steps.append([batch.source for batch in batches])
        for batch in batches:
            task.engine.position[batch.source] = batch.end
        return Effects()

    monkeypatch.setattr(task.engine, "step", step)

    async def usage_first_then_the_timer() -> None:
        await processor.take(fetched(0, 1))
        await processor.work()
        assert steps == [], "the tickets are there and may be older"
        await processor.take(fetched(0, 1)._replace(tp=tickets))
        await processor.tick()

    asyncio.run(usage_first_then_the_timer())
    assert steps == [["product-usage", "support-tickets"]]


@pytest.mark.parametrize("state", [TaskState.CREATED, TaskState.CLOSED])
def test_a_task_without_an_engine_takes_no_records(bench: Bench, state: TaskState) -> None:
    """They are fetched again once it runs: its position is where its state ends."""
    processor = bench.processor
    processor.close(0)
    if state is TaskState.CREATED:
        processor.create(0)
    asyncio.run(processor.take(fetched(0, 4)))
    assert not any(task.arrived or task.fetched for task in processor.tasks.values())
