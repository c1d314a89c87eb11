"""Handing partitions over: the last commit before they go, its deadline, and what happens when the session is lost.

Owns the order of a revocation and of a shutdown, and whether a periodic commit may be made. Called by
`agents.worker.client.consumer`, which Faust calls. Decision 26 says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

import structlog
from faust.types import TP

from agents.kafka.source_records import TOPICS
from agents.worker.commit.checkpoint import Checkpointer
from agents.worker.commit.lease import Lease
from agents.worker.tasks.processor import Processor
from agents.worker.tasks.task_state import TaskState

log = structlog.get_logger()

LEAVE_S = 20.0
"""Deadline of a whole revocation or shutdown. The group waits 30 seconds at least before it goes on without us."""


class Handover:
    """What the consumer asks of the rest of a worker."""

    sources: Sequence[str] = TOPICS
    """Topics of events; any other is a changelog."""

    def __init__(self, processor: Processor, checkpointer: Checkpointer, lease: Lease) -> None:
        """Nothing is handed over yet."""
        self._processor = processor
        self._checkpointer = checkpointer
        self._lease = lease

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

    async def commit_last(self) -> bool:
        """Commit and suspend every task; return whether offsets were committed."""
        return self._lease.holds() and await self._checkpointer.commit_and_suspend()

    async def leave(self, steps: Awaitable[None]) -> None:
        """Do what Faust does before partitions go, which includes the last commit, until the deadline.

        When the deadline passes, or the session is lost, all tasks are closed without a commit: whoever has their
        partitions next replays from the last one. Afterwards no task is RUNNING.
        """
        processor = self._processor
        if processor.tasks and not self._lease.holds():
            # The group has given us up: what is not committed is another worker's work now.
            log.warning("session_lost", then="tasks are closed, state is read again when their partitions come back")
            self._close(*TaskState)
        self._close(TaskState.CREATED, TaskState.RESTORING)
        deadline = asyncio.timeout(LEAVE_S)
        try:
            async with deadline:
                await steps
        except TimeoutError:
            if not deadline.expired():
                raise
            log.critical("last_commit_failed", within_s=LEAVE_S, then="the next worker replays from the last commit")
            self._close(*TaskState)
        for task in processor.in_state(TaskState.RUNNING):
            task.suspend()

    def _close(self, *states: TaskState) -> None:
        for task in self._processor.in_state(*states):
            self._processor.close(task.partition)
