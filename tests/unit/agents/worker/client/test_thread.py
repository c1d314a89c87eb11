"""The consumer's thread starts when the broker answers, however long that takes, and heartbeats through assignments."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError
from aiokafka.protocol.commit import OffsetCommitRequest

from agents.settings.settings import Settings, default_policy
from agents.worker.client import look_up as look_ups
from agents.worker.client import thread as threads
from agents.worker.client.batch_index import RawRecords
from agents.worker.client.consumer import BatchConsumer
from agents.worker.wiring import Worker
from schemas.native.library import load
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiokafka.errors import KafkaError


class Consumer:
    """What the thread uses of aiokafka's consumer when it starts."""

    def __init__(self, failure: KafkaError | None) -> None:
        self.failure = failure
        self.started = self.closed = False
        self._fetcher = SimpleNamespace(_proc_fetch_request=None)
        self._client = SimpleNamespace(_conns={}, _get_conn=None)
        self._coordinator: Any = SimpleNamespace(
            _do_heartbeat=None, _do_rejoin_group=None, _on_join_complete=None, _heartbeat_interval_ms=0, generation=3
        )

    async def start(self) -> None:
        if self.failure is not None:
            raise self.failure
        self.started = True

    async def stop(self) -> None:
        self.closed = True


def start(
    *failures: KafkaError | None,
    prepare: Callable[[Any], None] = lambda _: None,
    then: Callable[[Any], Awaitable[None]] | None = None,
) -> list[Consumer]:
    """Start a thread whose consumers fail so, one after the other; return those that it made.

    `prepare` gets the coordinator of each before it starts, and `then` that of the last one afterwards.
    """
    made: list[Consumer] = []

    async def scenario() -> None:
        plan = compile_plan(parse_policy(default_policy().read_text("utf-8")))
        consumer = Worker(Settings(group="start"), plan).app.consumer
        assert isinstance(consumer, BatchConsumer)
        thread: Any = consumer._thread

        def create(**_: object) -> Consumer:
            made.append(Consumer(failures[len(made)]))
            prepare(made[-1]._coordinator)
            return made[-1]

        thread._create_consumer = create
        try:
            await thread.on_start()
            if then is not None:
                await then(made[-1]._coordinator)
        finally:
            thread.thread_loop.close()

    asyncio.run(scenario())
    return made


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_ups, "FIRST_PAUSE_S", 0.0)
    # The consumers' thread is this one here, where other tests have consumers that want records.
    monkeypatch.setattr(threads._this_thread, "library", None)
    monkeypatch.setattr(fetcher, "PartitionRecords", fetcher.PartitionRecords)
    monkeypatch.setattr(fetcher, "MemoryRecords", fetcher.MemoryRecords)


def test_a_broker_that_is_away_while_the_consumer_starts_is_waited_for() -> None:
    made = start(KafkaConnectionError("Unable to bootstrap"), KafkaConnectionError("Unable to bootstrap"), None)
    assert [consumer.started for consumer in made] == [False, False, True]
    assert [consumer.closed for consumer in made] == [True, True, False]


def test_fetches_of_a_worker_are_indexed_from_their_bytes() -> None:
    start(None)
    assert load() is not None, "build it with `make setup`; cargo has to be installed"
    assert threads._this_thread.library is load()
    assert (fetcher.PartitionRecords, fetcher.MemoryRecords) == (threads.WholeBatches, RawRecords)


def test_an_error_that_does_not_pass_ends_the_start() -> None:
    with pytest.raises(TopicAuthorizationFailedError):
        start(TopicAuthorizationFailedError("t"))


def test_heartbeats_are_sent_while_an_assignment_is_dealt_with() -> None:
    """A takeover over a slow connection takes longer than a session: without heartbeats the group gives us up."""
    dealing = asyncio.Event()
    sent: list[int] = []

    def prepare(coordinator: Any) -> None:
        async def heartbeat() -> bool:
            sent.append(coordinator.generation)
            if len(sent) == 3:
                dealing.set()
            return True

        async def join_complete(*_: object) -> None:
            await dealing.wait()

        coordinator._do_heartbeat, coordinator._on_join_complete = heartbeat, join_complete

    async def assigned(coordinator: Any) -> None:
        async with asyncio.timeout(60):
            await coordinator._on_join_complete(3, "m", "range", b"")
        for _ in range(10):
            await asyncio.sleep(0)
        assert sent == [3, 3, 3], "aiokafka sends those that follow"

    start(None, prepare=prepare, then=assigned)


def test_a_member_that_the_group_has_given_up_sends_no_heartbeats() -> None:
    sent: list[int] = []

    def prepare(coordinator: Any) -> None:
        async def heartbeat() -> bool:
            sent.append(coordinator.generation)
            return False

        async def join_complete(*_: object) -> None:
            for _turn in range(10):
                await asyncio.sleep(0)

        coordinator._do_heartbeat, coordinator._on_join_complete = heartbeat, join_complete
        coordinator.generation = OffsetCommitRequest.DEFAULT_GENERATION_ID

    async def assigned(coordinator: Any) -> None:
        await coordinator._on_join_complete(3, "m", "range", b"")
        assert sent == []

    start(None, prepare=prepare, then=assigned)
