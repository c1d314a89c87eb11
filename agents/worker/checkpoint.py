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
from agents.worker.task import Lane
from schemas.topics import ALERTS, CHANGES
from stream.engine.engine import Mode
from stream.ingest.batch import LINES
from stream.publishing.effects import Message
from stream.recovery.namespaces import TOLD_KEYS

CommitOffsets = Callable[[Mapping[TP, int]], Awaitable[bool]]


class Committer:
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
        catching_up = any(lane.mode is not Mode.HEAD for lane in self._processor.lanes.values())
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
            lanes = [lane for lane in self._processor.lanes.values() if lane.changed and lane.ready]
            snapshots = [(lane, self._take(lane)) for lane in lanes]
            marks = [self._mark(lane) for lane in lanes]
            positions = {lane.partition: dict(lane.engine.position) for lane in lanes}
            await self._outputs()
            for (lane, records), mark in zip(snapshots, marks, strict=True):
                records.extend(self._told(lane, mark))
            await self._state(snapshots)
            kept = [lane for lane in lanes if self._processor.lanes.get(lane.partition) is lane]
            offsets = {
                TP(topic, lane.partition): positions[lane.partition][name]
                for lane in kept
                for topic, name in zip(TOPICS, LINES, strict=True)
                if positions[lane.partition][name]
            }
            done = not offsets or await self._commit_offsets(offsets)
            if not done:
                for lane in kept:
                    lane.changed = True  # the offsets are tried again with the next commit
                return False
            self.last_commit = time.monotonic()
            if lanes:
                self._telemetry.flush_seconds.observe(self.last_commit - started)
                self._telemetry.last_progress.set_to_current_time()
            return bool(offsets)

    async def introduce(self, lanes: Iterable[Lane]) -> None:
        """Write the layouts of new lanes before their first event is judged: the answer tells the broker's clock.

        And up to where it is known what was told: what a life tells that ends before its first commit counts, too.
        """
        for lane in lanes:
            first = [*lane.books.layouts(lane.pair), *lane.books.marks(TOLD_KEYS)]
            self._outbox.put(self._changelog, lane.partition, [Message(key, value) for key, value in first])
        await self._outbox.drained(lambda topic: topic == self._changelog)

    def _take(self, lane: Lane) -> list[Record]:
        """A copy of what changed, made without a pause: the engine goes on while it is written."""
        self._processor.flush(lane)
        lane.changed = False
        return [Message(key, value) for key, value in lane.books.snapshot(lane.pair)]

    def _mark(self, lane: Lane) -> dict[str, tuple[int, int]]:
        """Up to which offset of alerts and changes a copy of the state knows what was told, and how many it saw put.

        Only of those of which it knows all that was told.
        """
        heard = lane.engine.publisher.heard
        if not heard:
            lane.knows[CHANGES] = max(lane.knows[CHANGES], heard.end)
        agreed = [topic for topic, waits in ((ALERTS, lane.told is not None), (CHANGES, bool(heard))) if not waits]
        return {topic: (lane.knows[topic], self._outbox.count(topic, lane.partition)) for topic in agreed}

    def _told(self, lane: Lane, mark: Mapping[str, tuple[int, int]]) -> list[Record]:
        """Up to where readers were told what this commit knows, once it is acknowledged."""
        for topic, (known, count) in mark.items():
            end = self._outbox.end(topic, lane.partition, count)
            lane.books.told[topic] = lane.knows[topic] = max(known, end or 0)
        return [Message(key, value) for key, value in lane.books.marks(mark)]

    async def _outputs(self) -> None:
        await self._outbox.drained(lambda topic: topic != self._changelog)

    async def _state(self, snapshots: list[tuple[Lane, list[Record]]]) -> None:
        for lane, records in snapshots:
            if self._processor.lanes.get(lane.partition) is lane:
                self._outbox.put(self._changelog, lane.partition, records)
        await self._outbox.drained(lambda topic: topic == self._changelog)
