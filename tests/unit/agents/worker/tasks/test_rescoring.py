"""All accounts are rescored between steps and without events, and a commit that would get large begins early."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest
from faust.types import TP

from agents.worker.commit import checkpoint
from agents.worker.tasks import processor as processors
from agents.worker.tasks import rescorer as rescorers
from agents.worker.tasks.loop import WorkLoop
from agents.worker.tasks.rescorer import any_rescoring
from agents.worker.tasks.task_state import TaskState
from stream.engine.engine import Mode
from stream.recovery.reconciler import Reconciler
from tests.driving.worker import TIME_MS, Bench, Producer, account_in, fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agents.worker.tasks.task import PartitionTask

USAGE = TP("product-usage", 0)
CHANGELOG = "log"
DAY_MS = 86_400_000
ACCOUNTS = [account_in(0, number) for number in range(5)]
LAG = 1_000_000


class Large:
    """A worker's task with five accounts and much lag; of a rescoring it publishes two accounts at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(processors, "PUBLISHED_AT_ONCE", 2)
        monkeypatch.setattr(rescorers, "AT_ONCE", 2)
        self.bench = Bench(Producer(), 0, most_at_once=0)
        self.processor = self.bench.processor
        self.loop = WorkLoop(self.processor, on_fatal=self.bench.errors.append)
        self.end = LAG
        self.processor.highwater = lambda tp: self.end if tp == USAGE else 0
        self.checkpointer = self.bench.checkpointer(CHANGELOG, self.commit_offsets)

    async def commit_offsets(self, _offsets: Mapping[TP, int]) -> bool:
        return True

    @property
    def task(self) -> PartitionTask:
        return self.processor.tasks[0]

    async def apply(self, *accounts: str, first: int = 0) -> None:
        await self.processor.take(fetch(USAGE, *accounts, first=first))
        await self.processor.work()

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not reached():  # noqa: ASYNC110 -- each turn of the loop brings it closer
                await asyncio.sleep(0)

    def published(self) -> int:
        """Scores that were put in the outbox."""
        return self.bench.outbox.count("health.scores", 0)

    def restart(self) -> None:
        """Open the task again from what it saves now."""
        records = dict(self.task.namespaces.snapshot(self.task.pair))
        self.processor.close(0)
        written = {key: value for key, value in records.items() if value is not None}
        self.processor.restore(0, self.processor.opener(0)(written))
        self.task.run(Reconciler())


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> Large:
    return Large(monkeypatch)


def test_accounts_are_published_some_at_a_time_when_the_head_is_reached(
    large: Large, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        await large.apply(*ACCOUNTS)
        assert large.task.mode is Mode.CONFLATED
        large.end = 6
        with monkeypatch.context() as patched:
            patched.setattr(large.processor, "on_rescoring", lambda: None)
            await large.apply(ACCOUNTS[0], first=5)
        assert (large.task.mode, large.published()) == (Mode.HEAD, 2)
        await large.loop.tick()
        await large.until(lambda: not large.task.pair.is_rescoring)
        assert large.published() == len(ACCOUNTS)

    asyncio.run(scenario())
    assert large.bench.errors == []


def test_a_step_comes_between_the_accounts_of_a_rescoring(large: Large, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Mock()
    monkeypatch.setattr(large.processor, "on_rescoring", lambda: None)

    async def scenario() -> None:
        await large.apply(*ACCOUNTS)
        large.end = 6
        await large.apply(ACCOUNTS[0], first=5)
        engine = large.task.engine
        for name in ("step", "rescore_next"):
            calls.attach_mock(Mock(wraps=getattr(engine, name)), name)
            monkeypatch.setattr(engine, name, getattr(calls, name))
        await asyncio.gather(large.processor.rescorer.rescore(any_rescoring), large.apply(ACCOUNTS[1], first=6))

    asyncio.run(scenario())
    assert [name for name, *_ in calls.mock_calls] == ["rescore_next", "step", "rescore_next"]


def test_a_task_that_a_restart_cut_short_catches_up_without_an_event(large: Large) -> None:
    async def scenario() -> None:
        await large.apply(*ACCOUNTS)
        large.restart()
        large.end = 5
        assert large.task.mode is Mode.CONFLATED
        await large.loop.tick()
        await large.until(lambda: not large.task.pair.catching_up)
        assert (large.task.mode, large.published()) == (Mode.HEAD, len(ACCOUNTS))

    asyncio.run(scenario())


def test_catching_up_does_not_end_before_the_ends_of_all_sources_are_known(large: Large) -> None:
    async def scenario() -> None:
        await large.apply(*ACCOUNTS)
        large.restart()
        large.processor.highwater = lambda _tp: None
        await large.loop.tick()
        assert large.task.mode is Mode.CONFLATED

    asyncio.run(scenario())


@pytest.mark.parametrize(("limit", "asked"), [(len(ACCOUNTS), 0), (len(ACCOUNTS) - 1, 1)])
def test_a_commit_begins_early_where_it_would_get_large(
    large: Large, monkeypatch: pytest.MonkeyPatch, limit: int, asked: int
) -> None:
    monkeypatch.setattr(processors, "UNSAVED_LIMIT", limit)
    calls: list[None] = []
    large.processor.on_many_unsaved = lambda: calls.append(None)
    asyncio.run(large.apply(*ACCOUNTS))
    assert len(calls) == asked


def test_a_window_boundary_is_rescored_in_turns_and_a_commit_waits_for_it(
    large: Large, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Mock()

    async def scenario() -> None:
        large.end = 5
        await large.apply(*ACCOUNTS)
        large.task.pair.tick(TIME_MS + DAY_MS)
        assert large.task.pair.is_rescoring_of_boundary
        for owner, name in ((large.task.engine, "rescore_next"), (large.checkpointer, "_take")):
            calls.attach_mock(Mock(wraps=getattr(owner, name)), name)
            monkeypatch.setattr(owner, name, getattr(calls, name))
        assert await large.checkpointer.commit(periodic=True)

    asyncio.run(scenario())
    assert [name for name, *_ in calls.mock_calls] == ["rescore_next", "_take"]
    assert not large.task.pair.is_rescoring


def test_the_last_commit_publishes_what_was_left_while_catching_up(
    large: Large, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large.processor, "on_rescoring", lambda: None)

    async def scenario() -> None:
        await large.apply(*ACCOUNTS)
        large.end = 6
        await large.apply(ACCOUNTS[0], first=5)
        assert large.published() == 2
        assert await large.checkpointer.commit_and_suspend()

    asyncio.run(scenario())
    assert (large.task.state, large.published()) == (TaskState.SUSPENDED, len(ACCOUNTS))


def test_the_last_commit_does_not_wait_longer_than_it_may(large: Large, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large.processor, "on_rescoring", lambda: None)
    monkeypatch.setattr(checkpoint, "RESCORING_S", 0)

    async def scenario() -> None:
        await large.apply(*ACCOUNTS)
        large.end = 6
        await large.apply(ACCOUNTS[0], first=5)
        assert await large.checkpointer.commit_and_suspend()

    asyncio.run(scenario())
    assert large.task.state is TaskState.SUSPENDED
    assert large.task.engine.catching_up, "the next worker goes on"
