"""What the consumer hands out, and what it keeps of a fetch: nothing that grows with the number of fetches."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.errors import KafkaError
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from faust import Event
from faust.types import TP

from agents.settings.settings import Settings, default_policy
from agents.worker.client import acknowledged, single_records
from agents.worker.client.consumer import Records
from agents.worker.client.thread import Span
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

    monkeypatch.setattr(acknowledged, "NoOffsets", Keeps)
    assert {"_acked", "_acked_index"} <= {name for name, count in grown().items() if count >= FETCHES}


# -- topics of agents that are not ours -------------------------------------------------------------------------------

ORDERS = "orders"


def records(first: int, count: int) -> list[Any]:
    """Records as aiokafka's C code makes them: without topic, partition and sizes."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=0,
        batch_size=1 << 16,
    )  # fmt: skip
    for offset in range(first, first + count):
        assert builder.append(offset, 1_000 + offset, b"k", b"%d" % offset, [("h", b"x")])
    return list(DefaultRecordBatch(bytes(builder.build())))


async def handed_out(
    consumer: Any, *, active: set[TP], given_back: list[tuple[str, int, int]], stops_after: int | None = None
) -> list[tuple[str, int, Any]]:
    """Topic, offset and value of each message of a fetch of three records of two topics."""
    fetched = {TP(topic, 0): records(5, 3) for topic in (USAGE, ORDERS)}

    async def give_back(tp: TP, span: Span) -> None:
        given_back.append((tp.topic, span.start, span.end))

    async def fetch(_timeout: float) -> tuple[Any, set[TP]]:
        consumer.app.consumer_generation_id += 1  # partitions moved while it waited
        consumer.leased().spans.update({tp: Span(5, 8, empty=False) for tp in fetched})
        return fetched, active

    consumer._wait_next_records, consumer.leased().give_back = fetch, give_back
    consumer.flow_active = True
    consumer._active_partitions = set(active)
    consumer._next_of_others.clear()
    consumer._committed_offset[TP(ORDERS, 0)] = 5
    messages = []
    async for tp, message in consumer.getmany(1.0):
        messages.append((tp.topic, message.offset, message.value))
        if len(messages) == stops_after:
            consumer.flow_active = False
    return messages


def test_single_records_of_other_topics_are_handed_out_and_committed_as_faust_acknowledges_them() -> None:
    async def scenario() -> None:
        made = Worker(Settings(group="own"), compile_plan(parse_policy(default_policy().read_text("utf-8"))))
        consumer: Any = made.app.consumer
        both = {TP(USAGE, 0), TP(ORDERS, 0)}
        again: list[tuple[str, int, int]] = []
        messages = await handed_out(consumer, active=both, given_back=again)
        single = [(ORDERS, offset, b"%d" % offset) for offset in range(5, 8)]
        assert (messages[1:], again) == (single, [])
        topic, offset, batch = messages[0]
        assert (topic, offset, [each.offset for each in batch.records]) == (USAGE, 7, [5, 6, 7])
        assert [each[:2] for each in await handed_out(consumer, active={TP(USAGE, 0)}, given_back=again)] == [
            (USAGE, 7)
        ]
        stopped = await handed_out(consumer, active=both, given_back=again, stops_after=2)
        assert [each[:2] for each in stopped] == [(USAGE, 7), (ORDERS, 5)]
        assert again == [(ORDERS, 5, 8), (ORDERS, 6, 8)]

        committed: list[dict[TP, int]] = []

        async def commit(offsets: dict[TP, int], **_: Any) -> bool:
            committed.append(dict(offsets))
            return True

        async def refused(*_: Any, **__: Any) -> bool:
            raise KafkaError

        consumer._commit_offsets, consumer.assignment = commit, set
        for tp in both:
            consumer._acked[tp].append(5)
            consumer._acked_index[tp].add(5)
        await consumer.force_commit()
        await consumer.force_commit()
        assert committed == [{TP(ORDERS, 0): 6}]
        consumer._commit_offsets = refused
        consumer._acked[TP(ORDERS, 0)].append(6)
        await consumer.force_commit()
        consumer._commit_offsets = commit
        await consumer.force_commit()
        assert committed[1:] == [{TP(ORDERS, 0): 7}]
        consumer._thread.thread_loop.close()

    asyncio.run(scenario())


def test_what_comes_when_it_is_not_wanted_is_fetched_again() -> None:
    async def scenario() -> None:
        made = Worker(Settings(group="own"), compile_plan(parse_policy(default_policy().read_text("utf-8"))))
        consumer: Any = made.app.consumer
        again: list[tuple[str, int, int]] = []
        made.app.rebalancing = True
        assert await handed_out(consumer, active={TP(USAGE, 0), TP(ORDERS, 0)}, given_back=again) == []
        assert again == [(USAGE, 5, 8), (ORDERS, 5, 8)], "Faust has yet to empty the queues of its agents"
        made.app.rebalancing = False
        orders = await handed_out(consumer, active={TP(ORDERS, 0)}, given_back=again)
        assert [each[0] for each in orders] == [ORDERS] * 3
        assert again[2:] == [(USAGE, 5, 8)]
        consumer._thread.thread_loop.close()

    asyncio.run(scenario())


def test_single_records_are_handed_out_in_turn_whatever_became_of_a_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        made = Worker(Settings(group="own"), compile_plan(parse_policy(default_policy().read_text("utf-8"))))
        consumer: Any = made.app.consumer
        tp, rewound, gaps = TP(ORDERS, 0), [], []

        async def rewind(_tp: TP, offset: int) -> None:
            rewound.append(offset)

        async def earliest(_tp: TP) -> int:
            return 4

        async def add_gap(_tp: TP, begin: int, end: int) -> None:
            gaps.append((begin, end))

        async def offsets(begin: int, end: int, first: int, count: int) -> list[int]:
            span = Span(begin, end, empty=False)
            return [each.offset async for each in consumer.single_messages(tp, records(first, count), span, {tp})]

        consumer.rewind, consumer.earliest, consumer._add_gap, consumer.flow_active = rewind, earliest, add_gap, True
        assert await offsets(6, 8, 6, 2) == [], "what lies before was lost on the way"
        assert rewound == [4], "nothing was committed, and the broker has removed the first records"
        assert await offsets(4, 8, 5, 3) == [5, 6, 7]
        assert await offsets(4, 10, 5, 4) == [8], "the rest came before"
        assert gaps == [(4, 4), (9, 9)]
        assert await offsets(12, 13, 12, 1) == []
        assert rewound == [4, 10]
        consumer.assignment, consumer.highwater = lambda: {tp}, lambda _tp: 13
        monkeypatch.setattr(single_records, "OTHERS_S", -1.0)
        await consumer.ask_again()
        assert rewound == [4, 10], "it has not waited yet"
        await consumer.ask_again()
        assert rewound == [4, 10, 10], "the fetch that was asked for did not come"
        consumer.highwater = lambda _tp: 10
        await consumer.ask_again()
        assert rewound == [4, 10, 10], "nothing is left"
        consumer._committed_offset[tp] = 6
        consumer._next_of_others.clear()
        assert await offsets(4, 9, 5, 4) == [6, 7, 8], "after a rebalance from the committed offset on"
        consumer._thread.thread_loop.close()

    asyncio.run(scenario())


def test_a_broker_that_does_not_answer_for_other_agents_does_not_stop_our_commits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        made = Worker(Settings(group="own"), compile_plan(parse_policy(default_policy().read_text("utf-8"))))
        consumer: Any = made.app.consumer

        async def never(*_: Any, **__: Any) -> bool:
            await asyncio.Event().wait()
            return True

        async def ours() -> bool:
            return True

        consumer._commit_offsets, consumer.assignment = never, set
        monkeypatch.setattr(single_records, "OTHERS_S", 0.0)
        monkeypatch.setattr(made.handover, "commit", ours)
        consumer._acked[TP(ORDERS, 0)].append(5)
        assert await consumer.force_commit()
        consumer._thread.thread_loop.close()

    asyncio.run(scenario())
