"""The commit barrier: outputs, then state, then offsets, each acknowledged before the next.

Owns the order that makes a crash at any moment harmless. Outputs come first, so that no row names something as
published that never was; the changelog next (see `stream.recovery.changelog`, and `stream.recovery.namespaces` for that
of a shadow); source offsets last. A task that is closed during a commit takes no further part in it. Called by
`agents.worker.commit.handover`: by the timer, before partitions go, and at the end. A commit never waits for the group:
when the lease is lost, the commits under way are aborted and their tasks closed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from faust.types import TP

from agents.worker.commit.outbox import Outbox, Record
from agents.worker.monitoring.metrics import Telemetry
from agents.worker.tasks.processor import Processor
from agents.worker.tasks.rescorer import at_head, of_boundary
from agents.worker.tasks.task import PartitionTask
from agents.worker.tasks.task_state import TaskState
from stream.engine.engine import Mode
from stream.publishing.effects import Message
from stream.recovery.namespaces import PUBLISHED_KEYS

RESCORING_S = 8.0
"""How long the last commit may wait until what was left unpublished while catching up is published."""

CommitOffsets = Callable[[Mapping[TP, int]], Awaitable[bool]]


class Checkpointer:
    """Commits the progress of all tasks."""

    def __init__(
        self,
        processor: Processor,
        outbox: Outbox,
        telemetry: Telemetry,
        *,
        changelog_topic: str,
        commit_offsets: CommitOffsets,
        on_fatal: Callable[[BaseException], None],
        rarely_s: float,
    ) -> None:
        """Commit offsets by `commit_offsets`; while catching up leave `rarely_s` between periodic commits."""
        self._processor = processor
        self._outbox = outbox
        self._telemetry = telemetry
        self._changelog = changelog_topic
        self._commit_offsets = commit_offsets
        self._on_fatal = on_fatal
        self._rarely_s = rarely_s
        self._one_at_a_time = asyncio.Lock()
        self._commits: set[asyncio.Task[bool]] = set()
        self.last_commit = 0.0
        """Monotonic time of the last commit that went through; 0 before the first."""

    async def commit(self, *, periodic: bool) -> bool:
        """Commit everything that RUNNING tasks have applied; return whether offsets were committed.

        While tasks catch up, periodic commits come more rarely: every account changes between two of them.
        """
        catching_up = any(task.mode is not Mode.HEAD for task in self._processor.with_engine())
        if periodic and catching_up and time.monotonic() - self.last_commit < self._rarely_s:
            return False
        return await self._to_the_end(())

    def begin(self) -> None:
        """Begin a commit now, without waiting for it."""
        self._start(())

    def abort(self) -> None:
        """Give up on the commits under way. Their tasks have to be closed: the copies are lost with them."""
        for commit in self._commits:
            commit.cancel()

    @property
    def under_way(self) -> bool:
        """Whether a commit is under way."""
        return bool(self._commits)

    async def commit_and_suspend(self) -> bool:
        """Commit everything that tasks have applied and suspend them: nothing is applied after the copy.

        A commit that was given up on may come to its turn late: it suspends none of the tasks that came after.
        """
        return await self._to_the_end(self._processor.in_state(TaskState.RUNNING, TaskState.SUSPENDED))

    async def _to_the_end(self, leaving: Sequence[PartitionTask]) -> bool:
        # Who waits for the commit may be cancelled, but not the commit: it has copies of what is no longer dirty.
        commit = self._start(leaving)
        await asyncio.wait({commit})
        return not commit.cancelled() and commit.result()

    def _start(self, leaving: Sequence[PartitionTask]) -> asyncio.Task[bool]:
        commit = asyncio.get_running_loop().create_task(self._guarded(leaving))
        self._commits.add(commit)
        commit.add_done_callback(self._commits.discard)
        return commit

    async def _guarded(self, leaving: Sequence[PartitionTask]) -> bool:
        try:
            return await self._commit(leaving)
        except Exception as error:  # noqa: BLE001 -- the copies are lost with it: going on would commit offsets without them
            self._on_fatal(error)
            return False

    async def _commit(self, leaving: Sequence[PartitionTask]) -> bool:
        async with self._one_at_a_time:
            started = time.monotonic()
            await self._rescore(leaving=bool(leaving))
            tasks = self._changed(leaving)
            merged = [task for task in tasks if task.unsaved_merge]
            snapshots = [(task, self._take(task)) for task in tasks]
            marks = [self._mark(task) for task in tasks]
            positions = {task.partition: task.engine.committable() for task in tasks}
            for task in leaving:
                if task.state is TaskState.RUNNING:
                    task.suspend()
            await self._outputs()
            for (task, records), mark in zip(snapshots, marks, strict=True):
                if task.state is not TaskState.CLOSED:
                    records.extend(self._published(task, mark))
            await self._state(snapshots)
            for task in merged:
                task.unsaved_merge = False
            committable = [task for task in tasks if task.state is not TaskState.CLOSED]
            offsets = {
                TP(topic, task.partition): positions[task.partition][name]
                for task in committable
                for name, topic in task.engine.sources.topic_of.items()
                if positions[task.partition].get(name)
            }
            done = not offsets or await self._commit_offsets(offsets)
            if not done:
                for task in committable:
                    task.changed = True  # the offsets are tried again with the next commit
                return False
            if tasks and not committable:
                return False  # all were closed meanwhile: nothing was committed
            self.last_commit = time.monotonic()
            if tasks:
                self._telemetry.flush_seconds.observe(self.last_commit - started)
                self._telemetry.last_progress.set_to_current_time()
            return bool(offsets)

    async def _rescore(self, *, leaving: bool) -> None:
        """Finish the rescorings that a state is not saved without, and before tasks are left those at the head, too.

        These may take too long for the deadline of the last commit: then the next worker begins them anew.
        """
        rescorer = self._processor.rescorer
        if leaving:
            with suppress(TimeoutError):
                async with asyncio.timeout(RESCORING_S):
                    await rescorer.rescore(at_head)
        await rescorer.rescore(of_boundary)

    async def introduce(self, tasks: Iterable[PartitionTask]) -> None:
        """Write the row schemas of tasks that are RESTORING; the broker's answer has the time for `BrokerClock`.

        And the offsets up to which it is known what was published: what a generation publishes that ends before its
        first commit counts, too. And who writes from now on.
        """
        for task in tasks:
            namespaces = task.namespaces
            first = [*namespaces.row_schemas(task.pair), *namespaces.marks(PUBLISHED_KEYS), *namespaces.identity()]
            self._outbox.put(self._changelog, task.partition, [Message(key, value) for key, value in first])
        await self._outbox.drained(lambda topic: topic == self._changelog)

    def _changed(self, leaving: Sequence[PartitionTask]) -> list[PartitionTask]:
        """The tasks to commit. One that is SUSPENDED has changes when the offsets of its last commit were refused."""
        suspended = [task for task in leaving if task.state is TaskState.SUSPENDED]
        return [task for task in (*self._processor.in_state(TaskState.RUNNING), *suspended) if task.changed]

    def _take(self, task: PartitionTask) -> list[Record]:
        """Copy what changed, without an await: the engine goes on while the copy is written."""
        if task.state is TaskState.RUNNING:
            self._processor.flush(task)
        task.changed = False
        return [Message(key, value) for key, value in task.namespaces.snapshot(task.pair)]

    def _mark(self, task: PartitionTask) -> dict[str, tuple[int, int]]:
        """What a copy of the state knows of the output topics, by output, without those that are not reconciled yet.

        The offset up to which it was reconciled, and how many records were put in the outbox before the copy.
        """
        complete = task.reconciler.complete()
        own = task.sources.own
        return {output: (end, self._outbox.count(own(output), task.partition)) for output, end in complete.items()}

    def _published(self, task: PartitionTask, mark: Mapping[str, tuple[int, int]]) -> list[Record]:
        """The offsets up to which a copy knows what was published, once its outputs are acknowledged."""
        up_to = task.namespaces.published_up_to
        for output, (reconciled, count) in mark.items():
            acknowledged = self._outbox.end(task.sources.own(output), task.partition, count) or 0
            up_to[output] = max(up_to.get(output, 0), reconciled, acknowledged)
        return [Message(key, value) for key, value in task.namespaces.marks(mark)]

    async def _outputs(self) -> None:
        await self._outbox.drained(lambda topic: topic != self._changelog)

    async def _state(self, snapshots: list[tuple[PartitionTask, list[Record]]]) -> None:
        for task, records in snapshots:
            if task.state is not TaskState.CLOSED:
                self._outbox.put(self._changelog, task.partition, records)
        await self._outbox.drained(lambda topic: topic == self._changelog)
