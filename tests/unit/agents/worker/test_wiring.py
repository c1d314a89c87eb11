"""The wiring: two workers in one process share no component, and components refer to those of their own worker."""

from __future__ import annotations

import asyncio
import gc
import threading
from types import FunctionType, ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from faust.types import TP

from agents.settings.settings import Settings, default_policy
from agents.worker.client import thread as threads_module
from agents.worker.client.broker import Broker
from agents.worker.client.consumer import BatchConsumer, BatchTransport, Records
from agents.worker.client.store import EngineStore, EngineTable
from agents.worker.client.thread import LeasedThread, Span, WholeBatches
from agents.worker.commit.handover import Handover
from agents.worker.wiring import Worker
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OURS = "agents.worker."
VALUES = (Settings, Records, Span)
"""Immutable values of the worker's modules."""


def worker(group: str, **settings: Any) -> Worker:
    plan = compile_plan(parse_policy(default_policy().read_text("utf-8")))
    return Worker(Settings(group=group, **settings), plan)


def with_clients(*workers: Worker) -> None:
    """Create what Faust creates when an app starts, without a connection."""
    for made in workers:
        assert isinstance(made.app.consumer, BatchConsumer)
        assert isinstance(made.table.data, EngineStore)


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Worker, Worker]]:
    """Two workers of different settings, with consumers and stores."""

    async def both() -> tuple[Worker, Worker]:
        first, second = worker("one", session_timeout_s=10, partitions=2), worker("two", session_timeout_s=20)
        with_clients(first, second)
        return first, second

    made = asyncio.run(both())
    yield made
    for thing in (*everything(made[0]), *everything(made[1])):
        if isinstance(thing, asyncio.AbstractEventLoop):
            thing.close()  # each thread of Faust has its loop from the beginning


def reachable(start: object) -> dict[int, object]:
    """Every object of a worker's classes that can be reached from `start`, directly or through other objects."""
    return {
        id(thing): thing
        for thing in everything(start)
        if type(thing).__module__.startswith(OURS) and not isinstance(thing, VALUES)
    }


def everything(start: object) -> list[object]:
    seen: dict[int, object] = {}
    waiting = [start]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, type | ModuleType):
            continue
        seen[id(thing)] = thing
        waiting += contents(thing)
    return list(seen.values())


def contents(thing: object) -> list[object]:
    """The objects that an object refers to; for a function those of its closure, not the globals of its module."""
    if isinstance(thing, FunctionType):
        return [cell.cell_contents for cell in thing.__closure__ or () if cell_filled(cell)]
    return gc.get_referents(thing)


def cell_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def test_two_workers_share_no_component(pair: tuple[Worker, Worker]) -> None:
    first, second = map(reachable, pair)
    kinds = {type(component).__name__ for component in first.values()}
    assert kinds >= {"Processor", "Outbox", "Checkpointer", "Lease", "Handover", "Restorer", "EngineStore", "Broker"}
    assert kinds >= {"BatchConsumer", "LeasedThread", "BatchTransport", "EngineTable", "Health", "BrokerClock"}
    shared = [component for key, component in first.items() if key in second]
    assert shared == []


def test_a_shared_component_is_detected(pair: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair[1].processor, "source", pair[0].processor.source)
    first, second = map(reachable, pair)
    assert pair[0].processor.source in [component for key, component in first.items() if key in second]


@pytest.mark.parametrize("number", [0, 1])
def test_each_component_refers_to_its_own_worker(pair: tuple[Worker, Worker], number: int) -> None:
    made = pair[number]
    consumer, store, transport = made.app.consumer, made.table.data, made.app.transport
    assert isinstance(consumer, BatchConsumer)
    assert isinstance(store, EngineStore)
    assert isinstance(transport, BatchTransport)
    assert store.restorer.processor is made.processor
    assert isinstance(consumer._handover, Handover)
    assert consumer._handover._processor is made.processor
    assert consumer._handover is transport._ours["handover"]
    assert consumer.lease._session_s == (10, 20)[number]
    assert isinstance(consumer._thread, LeasedThread)
    assert consumer._thread._lease is consumer.lease
    assert isinstance(made.processor.source, Broker)
    assert made.processor.source.consumer() is consumer
    assert made.processor._settings.group == ("one", "two")[number]


@pytest.mark.parametrize("kind", [BatchConsumer, BatchTransport, EngineStore, EngineTable, LeasedThread, WholeBatches])
def test_no_class_refers_to_a_component(pair: tuple[Worker, Worker], kind: type) -> None:
    components = set(reachable(pair[0])) | set(reachable(pair[1]))
    assert not [name for name, value in vars(kind).items() if id(value) in components]


def test_each_thread_has_the_spans_of_its_own_consumer() -> None:
    """The client makes these objects in whichever consumer's thread it runs."""
    tp = TP("product-usage", 0)
    spans: dict[int, dict[Any, Span]] = {}

    def unpack(offset: int) -> Callable[[], None]:
        def run() -> None:
            spans[offset] = threads_module._this_thread.spans = {}
            records: Any = SimpleNamespace(has_next=lambda: False)
            list(WholeBatches(tp, records, [], offset, None, None, False, 0))

        return run

    threads = [threading.Thread(target=unpack(offset)) for offset in (3, 7)]
    for each in threads:
        each.start()
        each.join()
    assert spans == {offset: {tp: Span(offset, offset, empty=True)} for offset in (3, 7)}
