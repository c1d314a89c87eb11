"""The session watch: a lost lease closes tasks at once, and the broker's return makes the worker begin anew."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from agents.worker.commit.lease import SILENT_S, Lease
from agents.worker.monitoring import session as sessions
from agents.worker.monitoring.session import AGAIN_S, SessionWatch

if TYPE_CHECKING:
    from collections.abc import Callable


class World:
    """A worker with a task or without, a broker that answers or not, and what the watch did."""

    def __init__(self) -> None:
        self.lease = Lease(10)
        self.lease.begin(time.monotonic())
        self.has_tasks = True
        self.answering = True
        self.closed = 0
        self.reconnects = 0
        self.watch = SessionWatch(
            self.lease, session_lost=self.session_lost, answers=self.answers, reconnect=self.reconnect
        )
        self.watch.check()

    def session_lost(self) -> bool:
        lost = self.has_tasks and not self.lease.holds()
        self.closed += lost
        self.has_tasks &= not lost
        return lost

    async def answers(self) -> bool:
        return self.answering

    def reconnect(self) -> None:
        self.reconnects += 1

    def lose(self) -> None:
        self.lease.begin(time.monotonic() - 11)

    def ask(self) -> None:
        asyncio.run(self.watch.ask())


def test_a_lease_that_holds_closes_nothing() -> None:
    world = World()
    world.watch.check()
    world.ask()
    assert (world.closed, world.reconnects, world.watch.problem()) == (0, 0, None)


def test_a_lost_lease_closes_tasks_at_the_next_check_and_joins_again_once() -> None:
    world = World()
    world.lose()
    world.watch.check()
    world.watch.check()
    assert world.closed == 1
    assert world.watch.problem() == "this worker is not in the consumer group"
    world.ask()
    world.ask()
    assert world.reconnects == 1


def test_a_lost_lease_without_a_task_makes_the_worker_join_again() -> None:
    """The tasks were closed by a revocation, and the rebalance after it goes nowhere."""
    world = World()
    world.has_tasks = False
    world.lose()
    world.watch.check()
    world.ask()
    assert (world.closed, world.reconnects) == (0, 1)


def test_connections_are_closed_when_the_broker_is_back_and_not_before() -> None:
    world = World()
    world.lose()
    world.watch.check()
    world.answering = False
    for _ in range(3):
        world.ask()
    assert (world.reconnects, world.watch.away) == (0, True)
    assert world.watch.problem() == "the broker does not answer"
    world.answering = True
    world.ask()
    assert (world.reconnects, world.watch.away) == (1, False)


def test_a_broker_that_was_away_for_less_than_a_session_is_connected_to_anew() -> None:
    """The heartbeats that were lost would be waited for until the lease is lost, too."""
    world = World()
    world.answering = False
    world.ask()
    world.answering = True
    world.ask()
    assert (world.closed, world.reconnects) == (0, 1)


def test_a_silent_group_is_a_reason_not_to_be_ready_while_the_lease_holds() -> None:
    world = World()
    world.lease.begin(time.monotonic() - SILENT_S - 1)
    world.watch.check()
    assert world.watch.problem() == "the group has not answered a heartbeat for 8 s"
    assert world.closed == 0


def test_a_worker_that_gets_no_lease_from_a_broker_that_answers_tries_again_now_and_then() -> None:
    world = World()
    world.lose()
    world.watch.check()
    world.ask()
    world.ask()
    assert world.reconnects == 1
    world.watch._reconnected_at -= AGAIN_S + 1
    world.ask()
    assert world.reconnects == 2


def test_a_watch_that_runs_closes_tasks_and_asks_only_a_silent_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "CHECK_S", 0.0)
    world = World()

    async def until(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not holds():  # noqa: ASYNC110 -- the watch has no event to wait for
                await asyncio.sleep(0)

    async def scenario() -> None:
        watching = asyncio.ensure_future(world.watch.run())
        world.answering = False
        for _ in range(20):
            await asyncio.sleep(0)
        assert not world.watch.away, "nobody asked: the group answers"
        world.lose()
        await until(lambda: world.closed == 1 and world.watch.away)
        watching.cancel()

    asyncio.run(scenario())
