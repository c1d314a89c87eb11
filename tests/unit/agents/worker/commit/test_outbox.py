"""The queues of the outbox: whose they are, and at which offset of a topic the first records of a queue end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from agents.worker.commit import outbox as outboxes
from agents.worker.commit.outbox import Outbox
from agents.worker.monitoring.metrics import Telemetry
from stream.publishing.effects import Message
from tests.driving.worker import Batch, OneProducer, Producer

if TYPE_CHECKING:
    from collections.abc import Callable

NOW_MS = 1_751_328_000_000


class Broker(Producer):
    """A producer of batches of at most five records, whose partition has been written to before."""

    def __init__(self, end: int) -> None:
        super().__init__(batch_records=5)
        self.end = end

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[Any]:
        future = await super().send_batch(batch, topic, partition=partition)
        future.result().offset = self.end
        self.end += len(batch.records)
        return future


def outbox_of(producer: Any, may_write: Callable[[], bool] = lambda: True, **named: Any) -> Outbox:
    default: dict[str, Any] = {"now_ms": lambda: NOW_MS, "on_append_ms": print, "on_fatal": print}
    return Outbox(OneProducer(producer), Telemetry(), may_write=may_write, **{**default, **named})


def test_a_record_that_the_broker_has_twice_moves_no_end_before_it() -> None:
    """An answer was lost and the client sent again: later offsets are larger by one than the number of records put."""

    async def scenario() -> None:
        broker: Any = Broker(100)
        outbox = outbox_of(broker)
        for _ in range(3):
            outbox.put("t", 0, [Message(b"k", b"v")])
            await outbox.drained(lambda _topic: True)
            broker.end += 1
        assert [outbox.end("t", 0, count) for count in (1, 2, 3, 3)] == [101, 103, 105, 105]

    asyncio.run(scenario())


@pytest.mark.parametrize("count", [1, 5, 6, 43])
def test_the_end_of_records_is_known_once_they_are_acknowledged(count: int) -> None:
    async def scenario() -> None:
        broker: Any = Broker(100)
        outbox = outbox_of(broker)
        assert (outbox.count("t", 0), outbox.end("t", 0, 0)) == (0, None)
        outbox.put("t", 0, [Message(b"k", b"v")] * count)
        assert outbox.count("t", 0) == count
        await outbox.drained(lambda _topic: True)
        assert outbox.end("t", 0, count) == 100 + count == broker.end
        assert outbox.end("t", 0, 0) == 100
        outbox.put("t", 0, [Message(b"k", b"v")] * 7)
        await outbox.drained(lambda _topic: True)
        assert outbox.end("t", 0, count) == 100 + count, "later records are not counted"

    asyncio.run(scenario())


def test_a_task_that_forwards_has_a_queue_of_its_own_in_each_partition() -> None:
    """Counts and ends are of the records that a task writes to its own partition."""

    async def scenario() -> None:
        writable = [False]
        broker: Any = Broker(100)
        outbox = outbox_of(broker, lambda: writable[0])
        outbox.put("t", 1, [Message(b"k", b"v")] * 2, owner=0)
        outbox.put("t", 1, [Message(b"k", b"v")] * 3)
        assert (outbox.count("t", 1), outbox.count("t", 0), len(outbox)) == (3, 0, 5)
        outbox.drop(1)
        assert (outbox.count("t", 1), len(outbox)) == (0, 2)
        writable[0] = True
        await outbox.drained(lambda _topic: True)
        assert (broker.end, len(outbox)) == (102, 0)
        assert outbox.end("t", 1, 0) is None

    asyncio.run(scenario())


def test_dropping_a_queue_releases_those_who_wait_for_it_alone() -> None:
    async def scenario() -> None:
        broker: Any = Broker(0)
        outbox = outbox_of(broker, lambda: False)
        outbox.put("first", 0, [Message(b"k", b"v")])
        outbox.put("second", 1, [Message(b"k", b"v")])
        first = asyncio.ensure_future(outbox.drained(lambda topic: topic == "first"))
        second = asyncio.ensure_future(outbox.drained(lambda topic: topic == "second"))
        await asyncio.sleep(0)
        outbox.drop(0)
        await first
        assert not second.done()
        outbox.drop(1)
        await second

    asyncio.run(scenario())


def test_a_full_outbox_has_room_again_once_the_task_that_filled_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outboxes, "UNACKNOWLEDGED_LIMIT", 1)

    async def scenario() -> None:
        broker: Any = Broker(0)
        outbox = outbox_of(broker, lambda: False)
        outbox.put("t", 0, [Message(b"k", b"v")] * 2)
        waiting = asyncio.ensure_future(outbox.room())
        await asyncio.sleep(0)
        assert not waiting.done()
        outbox.drop(0)
        await waiting

    asyncio.run(scenario())
