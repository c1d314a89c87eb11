"""The commit barrier: outputs, then state, then offsets, each acknowledged before the next.

Owns the order that makes a crash at any moment harmless. Outputs come first, so that no row says "told" of what was
never told; the changelog next (see `stream.recovery.changelog`, and `stream.recovery.namespaces` for that of a
shadow); source offsets last. Called through `agents.worker.consumer.BatchConsumer.force_commit`: by the timer, before
partitions go, and at the end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

from faust.types import TP

from agents.worker.metrics import Telemetry
from agents.worker.outbox import Outbox, Record
from agents.worker.processor import Processor
from agents.worker.records import TOPICS
from agents.worker.task import PartitionTask
from schemas.topics import ALERTS, CHANGES
from stream.engine.engine import Mode
from stream.ingest.batch import INPUT_SOURCES
from stream.publishing.effects import Message
from stream.recovery.namespaces import TOLD_KEYS

CommitOffsets = Callable[[Mapping[TP, int]], Awaitable[bool]]


class Checkpointer:
    """Commits the progress of all lanes."""

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
        """Commit offsets by `commit_offsets`; while catching up leave `rarely_s` between commits."""
        self._processor = processor
        self._outbox = outbox
        self._telemetry = telemetry
        self._changelog = changelog_topic
        self._commit_offsets = commit_offsets
        self._on_fatal = on_fatal
        self._rarely_s = rarely_s
        self._one_at_a_time = asyncio.Lock()
        self.last_commit = 0.0
        """Monotonic time of the last commit that went through; 0 before the first."""

    async def commit(self, *, periodic: bool) -> bool:
        """Commit everything applied so far; True when offsets were committed.

        While lanes catch up, periodic commits come more rarely: every account moves between two of them.
        """
        catching_up = any(task.mode is not Mode.HEAD for task in self._processor.tasks.values())
        if periodic and catching_up and time.monotonic() - self.last_commit < self._rarely_s:
            return False
        # Whoever waits for the commit may be cancelled, but not the commit: it holds copies of what is no longer dirty.
        return await asyncio.shield(asyncio.ensure_future(self._guarded()))

    async def _guarded(self) -> bool:
        try:
            return await self._commit()
        except Exception as error:  # noqa: BLE001 -- the copies are lost with it: going on would commit offsets without them
            self._on_fatal(error)
            return False

    async def _commit(self) -> bool:
        async with self._one_at_a_time:
            started = time.monotonic()
            tasks = [task for task in self._processor.tasks.values() if task.changed and task.ready]
            snapshots = [(task, self._take(task)) for task in tasks]
            marks = [self._mark(task) for task in tasks]
            positions = {task.partition: dict(task.engine.position) for task in tasks}
            await self._outputs()
            for (task, records), mark in zip(snapshots, marks, strict=True):
                records.extend(self._told(task, mark))
            await self._state(snapshots)
            kept = [task for task in tasks if self._processor.tasks.get(task.partition) is task]
            offsets = {
                TP(topic, task.partition): positions[task.partition][name]
                for task in kept
                for topic, name in zip(TOPICS, INPUT_SOURCES, strict=True)
                if positions[task.partition][name]
            }
            done = not offsets or await self._commit_offsets(offsets)
            if not done:
                for task in kept:
                    task.changed = True  # the offsets are tried again with the next commit
                return False
            self.last_commit = time.monotonic()
            if tasks:
                self._telemetry.flush_seconds.observe(self.last_commit - started)
                self._telemetry.last_progress.set_to_current_time()
            return bool(offsets)

    async def introduce(self, tasks: Iterable[PartitionTask]) -> None:
        """Write the layouts of new lanes before their first event is judged: the answer tells the broker's clock.

        And up to where it is known what was told: what a life tells that ends before its first commit counts, too.
        """
        for task in tasks:
            first = [*task.namespaces.row_schemas(task.pair), *task.namespaces.marks(TOLD_KEYS)]
            self._outbox.put(self._changelog, task.partition, [Message(key, value) for key, value in first])
        await self._outbox.drained(lambda topic: topic == self._changelog)

    def _take(self, task: PartitionTask) -> list[Record]:
        """A copy of what changed, made without a pause: the engine goes on while it is written."""
        self._processor.flush(task)
        task.changed = False
        return [Message(key, value) for key, value in task.namespaces.snapshot(task.pair)]

    def _mark(self, task: PartitionTask) -> dict[str, tuple[int, int]]:
        """Up to which offset of alerts and changes a copy of the state knows what was told, and how many it saw put.

        Only of those of which it knows all that was told.
        """
        heard = task.engine.publisher.heard
        if not heard:
            task.published_up_to[CHANGES] = max(task.published_up_to[CHANGES], heard.end)
        agreed = [topic for topic, waits in ((ALERTS, task.told is not None), (CHANGES, bool(heard))) if not waits]
        return {topic: (task.published_up_to[topic], self._outbox.count(topic, task.partition)) for topic in agreed}

    def _told(self, task: PartitionTask, mark: Mapping[str, tuple[int, int]]) -> list[Record]:
        """Up to where readers were told what this commit knows, once it is acknowledged."""
        for topic, (known, count) in mark.items():
            end = self._outbox.end(topic, task.partition, count)
            task.namespaces.told[topic] = task.published_up_to[topic] = max(known, end or 0)
        return [Message(key, value) for key, value in task.namespaces.marks(mark)]

    async def _outputs(self) -> None:
        await self._outbox.drained(lambda topic: topic != self._changelog)

    async def _state(self, snapshots: list[tuple[PartitionTask, list[Record]]]) -> None:
        for task, records in snapshots:
            if self._processor.tasks.get(task.partition) is task:
                self._outbox.put(self._changelog, task.partition, records)
        await self._outbox.drained(lambda topic: topic == self._changelog)
