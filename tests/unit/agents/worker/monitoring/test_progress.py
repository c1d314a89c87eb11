"""What counts as progress: records applied, restored or committed, or a broker that is known to be away."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agents.worker.monitoring.progress import REFUSED_S, Progress

NOW = 1000.0


class Watchdog:
    """Counts what is reported."""

    def __init__(self) -> None:
        self.turns = 0
        self.reports = 0

    def alive(self) -> None:
        self.turns += 1

    def progress(self) -> None:
        self.reports += 1


class World:
    """A worker with one task that has a record waiting."""

    def __init__(self) -> None:
        self.task = SimpleNamespace(applied_at=10.0, merge=False)
        self.tasks = [self.task]
        self.waiting = 1
        self.checkpointer = SimpleNamespace(last_commit=0.0, under_way=False)
        self.restorer = SimpleNamespace(progress_at=0.0, reading=False)
        self.outbox = SimpleNamespace(refused_at=float("-inf"))
        self.watchdog = Watchdog()
        self.away = False
        self.at_work = True
        parts: list[Any] = [
            SimpleNamespace(with_engine=lambda: self.tasks, lag=lambda _task: {"t": self.waiting}),
            self.checkpointer,
            self.restorer,
            self.outbox,
            self.watchdog,
        ]
        self.progress = Progress(*parts, away=lambda: self.away, at_work=lambda: self.at_work)
        self.made()

    def made(self) -> bool:
        """Whether progress is reported now."""
        before = self.watchdog.reports
        self.progress.check(NOW)
        return self.watchdog.reports > before


def test_nothing_done_while_records_wait_is_no_progress() -> None:
    world = World()
    assert not world.made()
    assert world.watchdog.turns == 2, "the loop turns all the same"


@pytest.mark.parametrize("what", ["applied", "committed", "restored"])
def test_each_thing_done_is_reported_once(what: str) -> None:
    world = World()
    if what == "applied":
        world.task.applied_at = NOW
    elif what == "committed":
        world.checkpointer.last_commit = NOW
    else:
        world.restorer.progress_at = NOW
    assert world.made()
    assert not world.made()


def test_a_worker_with_nothing_to_do_is_not_stuck() -> None:
    world = World()
    world.waiting = 0
    assert world.made()
    assert world.made()


def test_a_commit_that_does_not_end_is_no_progress_though_nothing_waits() -> None:
    world = World()
    world.waiting = 0
    world.checkpointer.under_way = True
    assert not world.made()


def test_a_rebalance_that_does_not_end_is_no_progress_though_no_task_is_left() -> None:
    world = World()
    world.tasks.clear()
    assert world.made()
    world.at_work = False
    assert not world.made()


def test_a_restore_that_reads_what_was_published_takes_as_long_as_there_are_records() -> None:
    world = World()
    world.restorer.reading = True
    assert world.made()
    assert world.made()


def test_a_broker_that_is_known_to_be_away_excuses_a_worker() -> None:
    world = World()
    world.away = True
    assert world.made()


def test_a_broker_that_refuses_writes_excuses_a_worker_as_long_as_it_goes_on_refusing() -> None:
    """A queue that merely counts as failing, because nothing is sent any more, does not."""
    world = World()
    world.outbox.refused_at = NOW - REFUSED_S + 1
    assert world.made()
    world.outbox.refused_at = NOW - REFUSED_S - 1
    assert not world.made()
