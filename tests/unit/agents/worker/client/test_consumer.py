"""What the consumer keeps of a fetch: nothing that grows with the number of fetches."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from faust import Event
from faust.types import TP

from agents.settings.settings import Settings, default_policy
from agents.worker.client import consumer as consumers
from agents.worker.client.consumer import Records
from agents.worker.wiring import Worker
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy

if TYPE_CHECKING:
    import faust
    from faust.types.tuples import Message

USAGE = "product-usage"
PARTITIONS = 4
FETCHES = 4000


def sizes(service: Any) -> dict[str, int]:
    """How much each collection of an object holds, those within mappings with it."""
    return {name: size(value) for name, value in vars(service).items() if isinstance(value, Collection)}


def size(value: Any) -> int:
    if isinstance(value, Mapping):
        return len(value) + sum(size(inner) for inner in value.values())
    return len(value) if isinstance(value, Collection) and not isinstance(value, str | bytes) else 0


async def consume(worker: Worker, first: int, fetches: int) -> None:
    """Let an agent's stream, compiled, go through fetches as the conductor hands them out."""
    app = worker.app
    consumer: Any = app.consumer
    topic = app.topic(USAGE, key_serializer="raw", value_serializer="raw")
    app.topics.acking_topics.add(USAGE)
    stream: Any = topic.stream()
    events = aiter(stream.events())
    for number in range(first, first + fetches):
        tp = TP(USAGE, number % PARTITIONS)
        consumer._committed_offset[tp] = 0
        message: Message = consumer._bundle(Records(tp, [], number, number + 1))
        message.incref()
        stream.channel.queue.put_nowait(Event(app, None, message.value, {}, message))
        await anext(events)
    await events.aclose()
    await stream.stop()


def grown() -> dict[str, int]:
    """How much the collections of the consumer, the conductor and the monitor grow by thousands of fetches."""

    async def scenario() -> dict[str, int]:
        made = Worker(Settings(group="leak"), compile_plan(parse_policy(default_policy().read_text("utf-8"))))
        app = made.app
        app.flow_control.resume()
        await consume(made, 0, 100)
        before = kept_by(app)
        await consume(made, 100, FETCHES)
        consumer: Any = app.consumer
        consumer._thread.thread_loop.close()
        return {name: count - before.get(name, 0) for name, count in kept_by(app).items()}

    return asyncio.run(scenario())


def kept_by(app: faust.App) -> dict[str, int]:
    gc.collect()
    return {**sizes(app.consumer), **sizes(app.topics), **sizes(app.monitor)}


def test_nothing_grows_with_the_number_of_fetches() -> None:
    assert {name: count for name, count in grown().items() if count >= FETCHES / 100} == {}


def test_growth_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a list and a set, as Faust has them, every offset stays."""

    class Keeps(list[int]):
        def add(self, offset: int) -> None:
            self.append(offset)

    monkeypatch.setattr(consumers, "NoOffsets", Keeps)
    assert {"_acked", "_acked_index"} <= {name for name, count in grown().items() if count >= FETCHES}
