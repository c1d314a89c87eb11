"""What a lane takes of fetched records: only what connects, each once; the rest is asked for again or counted."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from faust.types import TP

from agents.settings.settings import Settings, default_policy
from agents.worker import processor as processors
from agents.worker.clock import BrokerClock
from agents.worker.consumer import Records
from agents.worker.metrics import Telemetry
from agents.worker.outbox import Outbox
from agents.worker.processor import Processor
from agents.worker.task import PartitionTask
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy
from stream.publishing.effects import Effects
from stream.recovery.reconciler import Reconciler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka import AIOKafkaProducer

    from stream.ingest.batch import Batch

USAGE = TP("product-usage", 0)


class Source:
    """A consumer that remembers where it was asked to go."""

    def __init__(self) -> None:
        self.sought: list[tuple[TP, int]] = []
        self.first = 0

    async def rewind(self, tp: TP, offset: int) -> None:
        self.sought.append((tp, offset))

    async def earliest(self, tp: TP) -> int:
        del tp
        return self.first


def no_producer() -> AIOKafkaProducer:
    raise AssertionError


@pytest.fixture
def worker() -> tuple[Processor, PartitionTask, Source]:
    """Give a processor with one open lane, and where its records come from."""
    telemetry, clock, source = Telemetry(), BrokerClock(), Source()
    outbox = Outbox(no_producer, telemetry, on_append_ms=clock.learn, may_write=lambda: False, on_fatal=print)
    plan = compile_plan(parse_policy(default_policy().read_text("utf-8")))
    processor = Processor(plan, Settings(partitions=1), outbox, telemetry, clock)
    processor.source = source
    processor.open(0, {})
    processor.tasks[0].run(Reconciler())
    return processor, processor.tasks[0], source


def fetched(first: int, end: int) -> Records:
    rest = {"timestamp": 0, "key": b"a", "value": b"{}", "headers": []}
    return Records(USAGE, [SimpleNamespace(offset=offset, **rest) for offset in range(first, end)], first, end)


def offsets(task: PartitionTask) -> list[int]:
    return [record.offset for record in task.arrived.get(0, [])]


def test_records_that_come_twice_are_taken_once(worker: tuple[Processor, PartitionTask, Source]) -> None:
    processor, task, source = worker
    for part in (fetched(0, 4), fetched(2, 6), fetched(0, 3), fetched(6, 8)):
        asyncio.run(processor.take(part))
    assert offsets(task) == list(range(8))
    assert source.sought == []


def test_a_fetch_that_was_lost_is_asked_for_again(worker: tuple[Processor, PartitionTask, Source]) -> None:
    processor, task, source = worker
    for part in (fetched(0, 4), fetched(6, 8), fetched(4, 7)):
        asyncio.run(processor.take(part))
    assert source.sought == [(USAGE, 4)]
    assert offsets(task) == list(range(7))


def test_the_last_fetch_that_was_lost_is_asked_for_again(
    worker: tuple[Processor, PartitionTask, Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    processor, task, source = worker
    processor.highwater = lambda tp: 9 if tp == USAGE else 0
    asyncio.run(processor.take(fetched(0, 4)))
    asyncio.run(processor.tick())
    assert source.sought == [], "not at once: it may be on its way"
    monkeypatch.setattr(processors, "STALLED_S", -1.0)
    asyncio.run(processor.tick())
    assert source.sought == [(USAGE, 4)]
    asyncio.run(processor.take(fetched(4, 9)))
    asyncio.run(processor.tick())
    assert source.sought == [(USAGE, 4)]
    assert task.reached(0) == 9


def test_records_that_the_broker_removed_are_counted(worker: tuple[Processor, PartitionTask, Source]) -> None:
    processor, task, source = worker
    asyncio.run(processor.take(fetched(0, 4)))
    source.first = 10
    asyncio.run(processor.take(fetched(12, 14)))
    assert source.sought == [(USAGE, 10)], "two of what is left were lost on their way"
    asyncio.run(processor.take(fetched(10, 14)))
    assert offsets(task) == [0, 1, 2, 3, 10, 11, 12, 13]
    assert processor._telemetry.removed.labels(USAGE.topic)._value.get() == 6


def test_where_the_broker_has_removed_all_there_is_nothing_lags(
    worker: tuple[Processor, PartitionTask, Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No fetch will ever tell of it."""
    monkeypatch.setattr(processors, "STALLED_S", -1.0)
    processor, task, source = worker
    task.engine.position["product-usage"] = 4
    processor.highwater = lambda tp: 9 if tp == USAGE else 0
    source.first = 9
    asyncio.run(processor.tick())
    assert sum(processor.lag(task).values()) == 0
    assert processor._telemetry.removed.labels(USAGE.topic)._value.get() == 5


def test_a_new_topic_that_begins_late_has_lost_nothing(worker: tuple[Processor, PartitionTask, Source]) -> None:
    processor, task, source = worker
    source.first = 10
    asyncio.run(processor.take(fetched(10, 12)))
    assert offsets(task) == [10, 11]
    assert processor._telemetry.removed.labels(USAGE.topic)._value.get() == 0


def test_what_was_taken_and_not_decoded_yet_is_no_reason_to_go_ahead(
    worker: tuple[Processor, PartitionTask, Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    processor, task, _ = worker
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
