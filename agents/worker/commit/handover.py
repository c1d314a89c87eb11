"""Handing partitions over: the last commit before they go, its deadline, and what happens when the session is lost.

Owns the order of a revocation and of a shutdown, closing tasks without a commit, and whether a periodic commit may be
made. Called by `agents.worker.client.consumer`, which Faust calls, and by `agents.worker.monitoring.session`, which
notices that the lease is lost. Decisions 26 and 30 say why.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any

import structlog
from faust.types import TP

from agents.worker.commit.checkpoint import Checkpointer
from agents.worker.commit.lease import Lease
from agents.worker.tasks.processor import Processor
from agents.worker.tasks.task_state import TaskState

log = structlog.get_logger()

LEAVE_S = 20.0
"""Deadline of a whole revocation or shutdown. The group waits 30 seconds at least before it goes on without us."""
GRACE_S = 1.0
"""How long Faust's steps may take to end by themselves once all tasks are closed, before they are cancelled."""
_CANCELLATIONS = 10


class Handover:
    """What the consumer asks of the rest of a worker."""

    def __init__(
        self,
        processor: Processor,
        checkpointer: Checkpointer,
        lease: Lease,
        sources: Sequence[str],
        changelog: str,
    ) -> None:
        """Nothing is handed over yet. `sources` are the topics of events."""
        self.sources, self.changelog = sources, changelog
        self._processor = processor
        self._checkpointer = checkpointer
        self._lease = lease
        self._closed_all = asyncio.Event()
        self._leaving = False
        self.left_at = 0.0
        """Monotonic time at which the last revocation or shutdown ended."""
        self.uncommitted = False
        """Whether the last revocation or shutdown lost progress: what it was about is applied again by the next."""

    def full(self) -> set[TP]:
        """Partitions of which enough records wait: no more are fetched."""
        return self._processor.full()

    async def commit(self) -> bool:
        """Make a periodic commit, if the group counts on us; return whether offsets were committed."""
        return self._lease.holds() and await self._checkpointer.commit(periodic=True)

    def commit_soon(self) -> None:
        """Begin a commit that no timer has asked for."""
        if self._lease.holds():
            self._checkpointer.begin()

    def commit_next(self) -> None:
        """Begin a commit that no timer has asked for, unless one is under way."""
        if not self._checkpointer.under_way:
            self.commit_soon()

    async def commit_last(self) -> bool:
        """Commit and suspend every task; return whether offsets were committed."""
        return self._lease.holds() and await self._checkpointer.commit_and_suspend()

    def session_lost(self) -> bool:
        """Close every task without a commit, where the lease is lost; return whether there was a task."""
        if self._lease.holds() or not self._processor.tasks:
            return False
        log.warning("session_lost", then="tasks are closed, state is read again when their partitions come back")
        self._close_all()
        return True

    async def leave(self, steps: Coroutine[Any, Any, None]) -> None:
        """Do what Faust does before partitions go, which includes the last commit, until the deadline.

        When the deadline passes, or the session is lost before or meanwhile, all tasks are closed without a commit:
        whoever has their partitions next replays from the last one. Afterwards no task is RUNNING. Steps of a
        revocation that leave themselves have the same deadline.
        """
        if self._leaving:
            await steps
            return
        self._leaving = True
        self.uncommitted &= not self._processor.tasks
        self._closed_all.clear()
        self.session_lost()
        self._close(TaskState.CREATED, TaskState.RESTORING)
        try:
            await self._until_deadline(steps)
        finally:
            self._leaving = False
        self.uncommitted |= any(task.changed for task in self._processor.with_engine())
        for task in self._processor.in_state(TaskState.RUNNING):
            task.suspend()
        self.left_at = time.monotonic()

    async def _until_deadline(self, steps: Coroutine[Any, Any, None]) -> None:
        doing = asyncio.ensure_future(steps)
        closed = asyncio.ensure_future(self._closed_all.wait())
        try:
            await asyncio.wait({doing, closed}, timeout=LEAVE_S, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                if not closed.done():
                    log.critical(
                        "last_commit_failed", within_s=LEAVE_S, then="the next worker replays from the last commit"
                    )
                    self._close_all()
                # What Faust waits for has ended with the tasks, unless it is the broker.
                await asyncio.wait({doing}, timeout=GRACE_S)
        finally:
            closed.cancel()
            for _ in range(_CANCELLATIONS):
                if doing.done():
                    break
                doing.cancel()  # more than once: Faust takes some cancellations for time-outs
                await asyncio.wait({doing}, timeout=GRACE_S / _CANCELLATIONS)
        if doing.done() and not doing.cancelled():
            doing.result()

    def _close_all(self) -> None:
        tasks = self._processor.in_state(TaskState.RUNNING, TaskState.SUSPENDED)
        self.uncommitted |= self._checkpointer.under_way or any(task.changed for task in tasks)
        self._close(*TaskState)
        self._checkpointer.abort()
        self._closed_all.set()

    def _close(self, *states: TaskState) -> None:
        for task in self._processor.in_state(*states):
            self._processor.close(task.partition)
