"""What the outbox knows of offsets: where in a topic the first so many records of a line end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from agents.worker.metrics import Telemetry
from agents.worker.outbox import FEW, Outbox
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


def test_what_the_broker_has_twice_moves_no_end_of_what_was_before_it() -> None:
    """An answer was lost, the client sent again: offsets behind it grow by one more than the records that were put."""

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
def test_the_end_of_what_was_put_is_known_once_it_is_acknowledged(count: int) -> None:
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
        assert outbox.end("t", 0, count) == 100 + count, "what came later is not counted"

    asyncio.run(scenario())
