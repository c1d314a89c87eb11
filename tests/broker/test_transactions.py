"""Inputs written by transactions: what was committed counts once, what was aborted never."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

import pytest
from aiokafka import AIOKafkaProducer

from tests.faults.deployment import Deployment
from tests.faults.events import END_MS, HOUR_MS, USAGE, event
from tests.faults.worker_process import LAG

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.topic_log import Message

pytestmark = pytest.mark.broker

ACCOUNTS = 12


def usage(name: str, count: int) -> list[Message]:
    return [
        event(
            USAGE,
            f"{name}{number}",
            f"acct-{number % ACCOUNTS}",
            END_MS - HOUR_MS - number,
            user_id=f"{name}-{number % 7}",
        )
        for number in range(count)
    ]


class Transactions:
    """A producer of transactions, driven step by step."""

    def __init__(self, runner: asyncio.Runner, bootstrap: str, name: str) -> None:
        self._runner = runner
        self._producer = runner.run(self._start(bootstrap, name))

    @staticmethod
    async def _start(bootstrap: str, name: str) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=name)
        await producer.start()
        return producer

    def begin(self) -> None:
        self._runner.run(self._producer.begin_transaction())

    def send(self, messages: list[Message]) -> None:
        self._runner.run(self._emit(messages))

    async def _emit(self, messages: list[Message]) -> None:
        for message in messages:
            await self._producer.send(message.topic, message.value, key=message.key, timestamp_ms=message.timestamp_ms)
        await self._producer.flush()

    def commit(self) -> None:
        self._runner.run(self._producer.commit_transaction())

    def abort(self) -> None:
        self._runner.run(self._producer.abort_transaction())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._producer.stop())


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as started:
        yield started


def no_lag(deployment: Deployment) -> bool:
    lags = [value for worker in deployment.workers for value in worker.samples().get(LAG, {}).values()]
    return bool(lags) and not any(lags)


def until_applied(deployment: Deployment, count: int) -> None:
    """Wait until so many events are applied, no lag is left and the group's offsets are at the end of every log."""

    def done() -> bool:
        applied = deployment.settled()[USAGE, "applied"] == count
        return applied and no_lag(deployment) and not deployment.not_committed()

    deployment.until(done, f"{count} applied, no lag, all committed", 60)


@pytest.mark.faults
def test_only_what_was_committed_counts(tmp_path: Path, runner: asyncio.Runner) -> None:
    with (
        Deployment(tmp_path) as deployment,
        Transactions(runner, deployment.kafka.bootstrap, "kept") as committed,
        Transactions(runner, deployment.kafka.bootstrap, "lost") as lost,
    ):
        # Two transactions in turn in the same partitions; the aborted one has more records, and the last ones.
        committed.begin()
        lost.begin()
        for round_ in range(5):
            lost.send(usage(f"lost{round_}-", 40))
            committed.send(usage(f"kept{round_}-", 24))
        committed.commit()
        lost.abort()
        worker = deployment.start()
        until_applied(deployment, 5 * 24)
        assert deployment.judge()["applied"] == 5 * 24

        # An aborted transaction alone, then the same events again: they are no duplicates.
        lost.begin()
        lost.send(usage("again", 30))
        lost.abort()
        until_applied(deployment, 5 * 24)
        lost.begin()
        lost.send(usage("again", 30))
        lost.commit()
        until_applied(deployment, 5 * 24 + 30)

        # While one is open nothing behind it is read, and that is no lag; after a crash neither.
        committed.begin()
        committed.send(usage("open", 24))
        deployment.send(usage("behind", 10))
        deployment.kill(worker)
        worker = deployment.start()
        deployment.until(lambda: worker.is_ready() and no_lag(deployment), "ready without lag")
        assert deployment.settled()[USAGE, "applied"] == 5 * 24 + 30
        committed.commit()
        until_applied(deployment, 5 * 24 + 30 + 24 + 10)
        figures = deployment.judge()
        assert (figures["applied"], figures["duplicate"]) == (5 * 24 + 30 + 24 + 10, 0)
