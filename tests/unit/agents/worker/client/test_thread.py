"""The consumer's thread starts when the broker answers, however long that takes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError

from agents.settings.settings import Settings, default_policy
from agents.worker.client import look_up as look_ups
from agents.worker.client.consumer import BatchConsumer
from agents.worker.wiring import Worker
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy

if TYPE_CHECKING:
    from aiokafka.errors import KafkaError


class Consumer:
    """What the thread uses of aiokafka's consumer when it starts."""

    def __init__(self, failure: KafkaError | None) -> None:
        self.failure = failure
        self.started = self.closed = False
        self._fetcher = SimpleNamespace()
        self._client = SimpleNamespace(_conns={}, _get_conn=None)
        self._coordinator = SimpleNamespace(_do_heartbeat=None, _do_rejoin_group=None)

    async def start(self) -> None:
        if self.failure is not None:
            raise self.failure
        self.started = True

    async def stop(self) -> None:
        self.closed = True


def start(*failures: KafkaError | None) -> list[Consumer]:
    """Start a thread whose consumers fail so, one after the other; return those that it made."""
    made: list[Consumer] = []

    async def scenario() -> None:
        plan = compile_plan(parse_policy(default_policy().read_text("utf-8")))
        consumer = Worker(Settings(group="start"), plan).app.consumer
        assert isinstance(consumer, BatchConsumer)
        thread: Any = consumer._thread

        def create(**_: object) -> Consumer:
            made.append(Consumer(failures[len(made)]))
            return made[-1]

        thread._create_consumer = create
        try:
            await thread.on_start()
        finally:
            thread.thread_loop.close()

    asyncio.run(scenario())
    return made


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_ups, "FIRST_PAUSE_S", 0.0)


def test_a_broker_that_is_away_while_the_consumer_starts_is_waited_for() -> None:
    made = start(KafkaConnectionError("Unable to bootstrap"), KafkaConnectionError("Unable to bootstrap"), None)
    assert [consumer.started for consumer in made] == [False, False, True]
    assert [consumer.closed for consumer in made] == [True, True, False]


def test_an_error_that_does_not_pass_ends_the_start() -> None:
    with pytest.raises(TopicAuthorizationFailedError):
        start(TopicAuthorizationFailedError("t"))
