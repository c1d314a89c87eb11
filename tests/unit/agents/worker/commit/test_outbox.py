"""The queues of the outbox: whose they are, and at which offset of a topic the first records of a queue end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from agents.worker.commit import outbox as outboxes
from agents.worker.commit.outbox import FEW, Outbox
from agents.worker.monitoring.metrics import Telemetry
from stream.publishing.effects import Message


class Batch:
    """A batch that holds at most five records."""

    def __init__(self) -> None:
        self.records = 0

    def append(self, **_: object) -> object | None:
        if self.records == 5:
            return None
        self.records += 1
        return object()


class Broker:
    """A producer whose partition has been written to before."""

    def __init__(self, end: int) -> None:
        self.end = end

    def _written(self, records: int) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_result(SimpleNamespace(offset=self.end, timestamp_type=0, timestamp=0))
        self.end += records
        return future

    async def send(self, *_: object, **__: object) -> asyncio.Future[Any]:
        return self._written(1)

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, *_: object, **__: object) -> asyncio.Future[Any]:
        return self._written(batch.records)


def test_a_record_that_the_broker_has_twice_moves_no_end_before_it() -> None:
    """An answer was lost and the client sent again: later offsets are larger by one than the number of records put."""

    async def scenario() -> None:
        broker: Any = Broker(100)
        outbox = Outbox(lambda: broker, Telemetry(), on_append_ms=print, may_write=lambda: True, on_fatal=print)
        for _ in range(3):
            outbox.put("t", 0, [Message(b"k", b"v")])
            await outbox.drained(lambda _topic: True)
            broker.end += 1
        assert [outbox.end("t", 0, count) for count in (1, 2, 3, 3)] == [101, 103, 105, 105]

    asyncio.run(scenario())


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 5 * FEW + 3])
def test_the_end_of_records_is_known_once_they_are_acknowledged(count: int) -> None:
    async def scenario() -> None:
        broker: Any = Broker(100)
        outbox = Outbox(lambda: broker, Telemetry(), on_append_ms=print, may_write=lambda: True, on_fatal=print)
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
        outbox = Outbox(lambda: broker, Telemetry(), on_append_ms=print, may_write=lambda: writable[0], on_fatal=print)
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
        outbox = Outbox(lambda: broker, Telemetry(), on_append_ms=print, may_write=lambda: False, on_fatal=print)
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
        outbox = Outbox(lambda: broker, Telemetry(), on_append_ms=print, may_write=lambda: False, on_fatal=print)
        outbox.put("t", 0, [Message(b"k", b"v")] * 2)
        waiting = asyncio.ensure_future(outbox.room())
        await asyncio.sleep(0)
        assert not waiting.done()
        outbox.drop(0)
        await waiting

    asyncio.run(scenario())
