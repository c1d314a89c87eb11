"""Before partitions go: the last commit, its deadline, and a session that was lost."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from faust.types import TP

from agents.worker.commit import handover as handovers
from agents.worker.commit.handover import Handover
from agents.worker.commit.lease import Lease
from agents.worker.tasks.task_state import TaskState
from schemas.sources import BUILT_IN
from tests.driving.worker import Bench, Producer, account_in, fetch

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

USAGE = "product-usage"
CHANGELOG = "log"


class FakeLease(Lease):
    """A lease that the test gives and takes away."""

    held = True

    def holds(self) -> bool:
        return self.held


class Stage:
    """A worker of two partitions with one event applied in each, and what it commits."""

    def __init__(self, *, acknowledges: bool = True) -> None:
        self.lease = FakeLease(10)
        self.bench = Bench(Producer(acknowledges=acknowledges), 0, 1, may_write=self.lease.holds)
        self.tasks = list(self.bench.processor.tasks.values())
        self.committed: dict[TP, int] = {}
        self.refuses = False
        self.checkpointer = self.bench.checkpointer(CHANGELOG, self.commit_offsets)
        self.handover = Handover(self.bench.processor, self.checkpointer, self.lease, BUILT_IN.topics, "changelog")

    async def before_offsets(self) -> object:
        """What the client does before it sends offsets."""

    async def commit_offsets(self, offsets: Mapping[TP, int]) -> bool:
        await self.before_offsets()
        if not self.refuses:
            self.committed.update(offsets)
        return not self.refuses

    async def apply(self) -> None:
        for partition in (0, 1):
            await self.bench.processor.take(fetch(TP(USAGE, partition), account_in(partition)))
        await self.bench.processor.work()

    async def last_commit(self) -> None:
        await self.handover.commit_last()

    def states(self) -> set[TaskState]:
        return {task.state for task in self.tasks}


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(30):
        await asyncio.sleep(0)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a scenario that ends: one that waits for ever fails."""
    asyncio.run(asyncio.wait_for(scenario, 30))


def test_a_revocation_commits_and_suspends_every_task() -> None:
    async def scenario() -> None:
        stage = Stage()
        await stage.apply()
        await stage.handover.leave(stage.last_commit())
        assert stage.committed == {TP(USAGE, 0): 1, TP(USAGE, 1): 1}
        assert stage.states() == {TaskState.SUSPENDED}
        assert stage.bench.errors == []

    run(scenario())


def test_nothing_is_applied_between_the_last_commit_and_the_next_assignment() -> None:
    async def scenario() -> None:
        stage = Stage()
        await stage.apply()
        more = fetch(TP(USAGE, 0), account_in(0), first=1)

        async def steps() -> None:
            committing = asyncio.ensure_future(stage.handover.commit_last())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await stage.bench.processor.take(more)
            await stage.bench.processor.work()
            await stage.bench.processor.tick()
            await committing

        await stage.handover.leave(steps())
        task = stage.tasks[0]
        sent = len(stage.bench.producer.sent)
        await stage.bench.processor.work()
        await stage.bench.processor.tick()
        assert not await stage.handover.commit()
        assert (task.engine.position[USAGE], stage.committed[TP(USAGE, 0)]) == (1, 1)
        assert len(stage.bench.producer.sent) == sent
        task.resume()
        await stage.bench.processor.work()
        assert task.engine.position[USAGE] == 2

    run(scenario())


def test_a_revocation_without_a_commit_suspends_every_task_all_the_same() -> None:
    async def scenario() -> None:
        stage = Stage()
        await stage.handover.leave(asyncio.sleep(0))
        assert stage.states() == {TaskState.SUSPENDED}

    run(scenario())


def test_refused_offsets_are_tried_again_by_the_next_last_commit() -> None:
    async def scenario() -> None:
        stage = Stage()
        await stage.apply()
        stage.refuses = True
        await stage.handover.leave(stage.last_commit())
        stage.refuses = False
        await stage.handover.leave(stage.last_commit())
        assert stage.committed == {TP(USAGE, 0): 1, TP(USAGE, 1): 1}

    run(scenario())


def test_a_producer_that_never_acknowledges_does_not_hold_up_a_revocation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handovers, "LEAVE_S", 0.0)

    async def scenario() -> None:
        stage = Stage(acknowledges=False)
        await stage.apply()
        periodic = asyncio.ensure_future(stage.handover.commit())
        await asyncio.sleep(0)
        await stage.handover.leave(stage.last_commit())
        assert stage.states() == {TaskState.CLOSED}
        assert stage.bench.processor.tasks == {}
        assert await periodic is False
        assert (stage.committed, len(stage.bench.outbox), stage.bench.errors) == ({}, 0, [])
        assert CHANGELOG not in {topic for topic, _ in stage.bench.producer.sent}

    run(scenario())


def test_a_last_commit_that_was_given_up_on_leaves_later_tasks_running(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handovers, "LEAVE_S", 0.0)

    async def scenario() -> None:
        stage = Stage()
        await stage.apply()
        async with stage.checkpointer._one_at_a_time:
            await stage.handover.leave(stage.last_commit())
            assert stage.states() == {TaskState.CLOSED}
            again = stage.bench.open(0)
        assert not await stage.checkpointer.commit(periodic=False)
        assert again.state is TaskState.RUNNING

    run(scenario())


def test_steps_of_faust_that_never_end_do_not_hold_up_a_revocation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush of the producer, for example, comes after the commit."""
    monkeypatch.setattr(handovers, "LEAVE_S", 0.0)

    async def scenario() -> None:
        stage = Stage()
        await stage.handover.leave(asyncio.Event().wait())  # type: ignore[arg-type]  # it never returns
        assert stage.states() == {TaskState.CLOSED}

    run(scenario())


def test_a_timeout_of_faust_itself_is_no_deadline() -> None:
    async def scenario() -> None:
        async def steps() -> None:
            raise TimeoutError

        stage = Stage()
        with pytest.raises(TimeoutError):
            await stage.handover.leave(steps())

    run(scenario())


def test_a_lost_session_ends_a_commit_that_waits_and_closes_every_task() -> None:
    """The outbox waits for the lease, and a commit for the outbox: the revocation that follows must not wait for it."""

    async def scenario() -> None:
        stage = Stage()
        stage.lease.held = False
        await stage.apply()
        waiting = asyncio.ensure_future(stage.checkpointer.commit(periodic=False))
        await asyncio.sleep(0)

        async def steps() -> None:
            await waiting  # as Faust does: a commit that is under way comes first
            await stage.handover.commit_last()

        await stage.handover.leave(steps())
        stage.lease.held = True
        await stage.bench.outbox.drained(lambda _topic: True)
        assert stage.states() == {TaskState.CLOSED}
        assert (stage.committed, stage.bench.producer.sent) == ({}, [])

    run(scenario())


def test_a_session_that_is_lost_during_a_commit_aborts_it_and_closes_every_task() -> None:
    """The broker does not answer: neither a revocation nor an acknowledgement comes."""

    async def scenario() -> None:
        stage = Stage(acknowledges=False)
        await stage.apply()
        periodic = asyncio.ensure_future(stage.handover.commit())
        await settle()
        stage.lease.held = False
        assert stage.handover.session_lost()
        assert not stage.handover.session_lost()
        assert await periodic is False
        assert (stage.states(), stage.bench.processor.tasks, stage.bench.errors) == ({TaskState.CLOSED}, {}, [])
        assert (stage.committed, len(stage.bench.outbox)) == ({}, 0)
        assert stage.handover.uncommitted

    run(scenario())


def test_a_session_that_is_lost_while_offsets_are_committed_lets_the_next_commit_begin() -> None:
    """The coordinator is not known: the client waits until it is, for ever if need be."""

    async def scenario() -> None:
        stage = Stage()
        await stage.apply()
        never = asyncio.Event()
        stage.before_offsets = never.wait  # type: ignore[method-assign]
        periodic = asyncio.ensure_future(stage.handover.commit())
        await settle()
        stage.lease.held = False
        stage.handover.session_lost()
        assert await periodic is False
        stage.lease.held = True
        del stage.before_offsets
        stage.bench.open(0)
        await stage.bench.processor.take(fetch(TP(USAGE, 0), account_in(0)))
        await stage.bench.processor.work()
        assert await stage.handover.commit()
        assert stage.committed == {TP(USAGE, 0): 1}

    run(scenario())


def test_a_session_that_is_lost_during_a_revocation_ends_it_before_its_deadline() -> None:
    """What Faust waits for is the commit, or a flush of its producer, or something that takes no cancellation."""

    async def stubborn() -> None:
        for _ in range(3):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    async def scenario() -> None:
        stage = Stage(acknowledges=False)
        await stage.apply()

        async def steps() -> None:
            await stage.handover.commit_last()
            await stubborn()

        leaving = asyncio.ensure_future(stage.handover.leave(steps()))
        await settle()
        assert stage.states() == {TaskState.SUSPENDED}
        stage.lease.held = False
        stage.handover.session_lost()
        await leaving
        assert stage.states() == {TaskState.CLOSED}

    run(scenario())


def test_a_closed_task_publishes_nothing_when_the_lease_is_back() -> None:
    async def scenario() -> None:
        stage = Stage()
        await stage.apply()
        await settle()
        stage.lease.held = False
        stage.handover.session_lost()
        stage.lease.held = True
        sent = len(stage.bench.producer.sent)
        for partition in (0, 1):
            await stage.bench.processor.take(fetch(TP(USAGE, partition), account_in(partition), first=1))
        await stage.bench.processor.work()
        await stage.bench.processor.tick()
        assert not await stage.handover.commit()
        await settle()
        assert len(stage.bench.producer.sent) == sent

    run(scenario())


@pytest.mark.parametrize("refuses", [False, True])
def test_a_shutdown_says_whether_progress_is_lost(*, refuses: bool) -> None:
    """The worker's exit status says it; a second revocation, of no tasks, does not change it."""

    async def scenario() -> None:
        stage = Stage()
        await stage.apply()
        stage.refuses = refuses
        await stage.handover.leave(stage.last_commit())
        for partition in (0, 1):
            stage.bench.processor.close(partition)
        await stage.handover.leave(asyncio.sleep(0))
        assert stage.handover.uncommitted is refuses

    run(scenario())


def test_a_revocation_within_a_revocation_has_the_same_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handovers, "LEAVE_S", 0.0)

    async def scenario() -> None:
        stage = Stage(acknowledges=False)
        await stage.apply()

        async def steps() -> None:
            await stage.handover.leave(stage.last_commit())

        await stage.handover.leave(steps())
        assert stage.states() == {TaskState.CLOSED}
        assert stage.handover.uncommitted

    run(scenario())


def test_tasks_that_do_not_run_yet_are_closed() -> None:
    async def scenario() -> None:
        stage = Stage()
        created = stage.bench.processor.create(2)
        stage.bench.processor.create(3)
        stage.bench.processor.restore(3, stage.bench.processor.opener(3)({}))
        restoring = stage.bench.processor.tasks[3]
        await stage.handover.leave(asyncio.sleep(0))
        assert (created.state, restoring.state) == (TaskState.CLOSED, TaskState.CLOSED)
        assert set(stage.bench.processor.tasks) == {0, 1}

    run(scenario())


def test_a_task_closed_during_a_commit_is_not_committed_and_the_others_are() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.lease.held = False
        await stage.apply()
        committing = asyncio.ensure_future(stage.checkpointer.commit(periodic=False))
        await asyncio.sleep(0)
        stage.bench.processor.close(0)
        stage.lease.held = True
        assert await committing
        assert stage.committed == {TP(USAGE, 1): 1}
        assert (CHANGELOG, 0) not in stage.bench.producer.sent
        assert (CHANGELOG, 1) in stage.bench.producer.sent

    run(scenario())


def test_no_commit_is_made_without_a_lease() -> None:
    async def scenario() -> None:
        stage = Stage()
        await stage.apply()
        stage.lease.held = False
        assert not await stage.handover.commit()
        assert not await stage.handover.commit_last()
        stage.handover.commit_soon()
        await asyncio.sleep(0)
        assert stage.states() == {TaskState.RUNNING}
        assert stage.committed == {}

    run(scenario())
