"""A partition revoked during a step, a tick or a commit: its task takes no further step and publishes nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from faust.types import TP

from agents.worker.tasks import processor as processors
from schemas.topics import REPARTITION, SCORES
from stream.publishing.effects import Message
from tests.driving.worker import Bench, Producer, account_in, fetch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agents.worker.tasks.task import PartitionTask

USAGE = "product-usage"


def applied(task: PartitionTask) -> int:
    return task.engine.position[USAGE]


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def revoking(bench: Bench, partition: int) -> Callable[[], Awaitable[None]]:
    """What the outbox does while a step waits for it: the partition is revoked."""

    async def room() -> None:
        bench.processor.close(partition)

    return room


def test_a_partition_revoked_during_work_takes_no_further_step(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        bench = Bench(Producer(), 0, 1)
        first, second = bench.processor.tasks[0], bench.processor.tasks[1]
        for partition in (0, 1):
            await bench.processor.take(fetch(TP(USAGE, partition), account_in(partition)))
        monkeypatch.setattr(bench.outbox, "room", revoking(bench, 1))
        await bench.processor.work()
        await settle()
        assert (applied(first), applied(second)) == (1, 0)
        assert {partition for _, partition in bench.producer.sent} == {0}

    asyncio.run(scenario())


def test_a_partition_revoked_during_its_own_step_takes_no_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        bench = Bench(Producer(), 0)
        task = bench.processor.tasks[0]
        await bench.processor.take(fetch(TP(USAGE, 0), account_in(0)))
        room = revoking(bench, 0)

        async def more_comes_first() -> None:
            await bench.processor.take(fetch(TP(USAGE, 0), account_in(0), first=1))
            await room()

        monkeypatch.setattr(bench.outbox, "room", more_comes_first)
        await bench.processor.work()
        assert applied(task) == 1

    asyncio.run(scenario())


def test_a_partition_revoked_during_a_tick_neither_steps_nor_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "STALLED_S", -1.0)

    async def scenario() -> None:
        bench = Bench(Producer(), 0, 1)
        bench.processor.highwater = lambda tp: 2 if tp == TP(USAGE, 0) else 0
        second = bench.processor.tasks[1]
        for partition in (0, 1):
            await bench.processor.take(fetch(TP(USAGE, partition), account_in(partition)))
        bench.source.on_earliest = lambda _tp: bench.processor.close(1)
        await bench.processor.tick()
        await settle()
        assert applied(second) == 0
        assert {partition for _, partition in bench.producer.sent} == {0}

    asyncio.run(scenario())


def test_a_partition_revoked_while_a_tick_asks_for_its_records_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "STALLED_S", -1.0)
    monkeypatch.setattr(processors, "IDLE_S", -1.0)

    async def scenario() -> None:
        bench = Bench(Producer(), 0)
        task = bench.processor.tasks[0]
        await bench.processor.take(fetch(TP(USAGE, 0), account_in(0)))
        await bench.processor.work()
        await settle()
        sent = len(bench.producer.sent)
        bench.processor.highwater = lambda tp: 9 if tp == TP(USAGE, 0) else 0
        bench.source.first = 5
        bench.source.on_earliest = lambda _tp: bench.processor.close(0)
        task.changed = False
        await bench.processor.tick()
        await settle()
        assert bench.source.sought == []
        assert task.fetched == {0: 1}
        assert len(bench.producer.sent) == sent
        assert bench.telemetry.removed.labels(USAGE)._value.get() == 0

    asyncio.run(scenario())


def test_what_a_lost_session_left_in_the_outbox_is_not_sent_when_the_lease_is_back() -> None:
    async def scenario() -> None:
        lease = [False]
        bench = Bench(Producer(), 0, may_write=lambda: lease[0])
        bench.processor.close(0)
        # What a step that was under way has put meanwhile.
        bench.outbox.put(SCORES, 0, [Message(b"a", b"stale")])
        bench.processor.close(0)
        lease[0] = True
        await bench.outbox.drained(lambda _topic: True)
        await settle()
        assert bench.producer.sent == []
        assert len(bench.outbox) == 0

    asyncio.run(scenario())


def test_a_forward_to_another_partition_remains_when_that_partition_is_revoked() -> None:
    async def scenario() -> None:
        lease = [False]
        bench = Bench(Producer(), 0, 1, may_write=lambda: lease[0])
        await bench.processor.take(fetch(TP(USAGE, 0), account_in(1)))
        await bench.processor.work()
        committing = asyncio.ensure_future(bench.outbox.drained(lambda _topic: True))
        await settle()
        bench.processor.close(1)
        await settle()
        assert not committing.done(), "the forward is not acknowledged: a commit must not go past its event"
        lease[0] = True
        await committing
        assert bench.producer.sent == [(REPARTITION, 1)]

    asyncio.run(scenario())


def test_a_forward_to_another_partition_is_dropped_with_the_task_that_forwards() -> None:
    async def scenario() -> None:
        lease = [False]
        bench = Bench(Producer(), 0, 1, may_write=lambda: lease[0])
        await bench.processor.take(fetch(TP(USAGE, 0), account_in(1)))
        await bench.processor.work()
        bench.processor.close(0)
        lease[0] = True
        await bench.outbox.drained(lambda _topic: True)
        await settle()
        assert bench.producer.sent == [], "whoever has partition 0 now forwards it again"

    asyncio.run(scenario())
