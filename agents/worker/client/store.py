"""The table: a real Faust table whose store is the engines' columns.

Owns the adapters between Faust's recovery and `agents.worker.tasks.restorer`: changelog records are collected while
Faust replays them, and become a task's engine when Faust calls the recovery complete. Writing the changelog is
`agents.worker.commit.checkpoint`'s work, not the table's: a commit writes whole rows at once. Made by
`agents.worker.wiring`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import faust
from faust.stores import memory
from faust.tables import TableManager
from faust.types import TP, EventT

from agents.worker.client.consumer import Records
from agents.worker.tasks.restorer import Restorer


def wait_for_broker(recovery: Any) -> None:
    """Let a recovery of Faust wait for the broker as long as it takes, or until the next rebalance.

    Faust's own time limit ends recovery for good: no partition that comes later would be restored, without a word.
    """
    wait = type(recovery)._wait

    async def without_limit(work: Any, timeout: Any = None) -> None:  # noqa: ASYNC109 -- Faust's signature
        del timeout
        await wait(recovery, work)

    recovery._wait = without_limit


class Tables(TableManager):
    """Faust's tables, of which a worker has one, made before the app starts."""

    async def on_start(self) -> None:
        """Begin at once: Faust first waits a second for tables that are made later."""
        stopping: bool = self.should_stop
        if not stopping:
            await self._update_channels()
            await self.recovery.start()


class EngineStore(memory.Store[Any, Any]):
    """Changelog records in, restored tasks out."""

    def __init__(self, *positional: Any, restorer: Restorer, **named: Any) -> None:
        """Give what Faust recovers to `restorer`."""
        self.restorer = restorer
        self._ends: dict[TP, int] = {}
        """Where the changelogs of tasks end that have their engines, as of the last rebalance."""
        self._connecting: dict[TP, asyncio.Future[None]] = {}
        """What was last begun to have a changelog fetched again."""
        super().__init__(*positional, **named)

    def apply_changelog_batch(
        self, batch: Iterable[EventT[Any]], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        """Collect the changelog records of partitions that are being recovered."""
        del to_key, to_value
        for event in batch:
            fetched = event.message.value
            if isinstance(fetched, Records) and not self.restorer.collect(fetched):
                under_way = self._connecting.get(fetched.tp)
                if under_way is None or under_way.done():
                    self._connecting[fetched.tp] = asyncio.ensure_future(self._connect(fetched.tp))

    async def _connect(self, tp: TP) -> None:
        """Have a standby's changelog fetched again from where it is read up to: a fetch was lost."""
        offset = await self.restorer.connect(tp)
        tables: Any = self.app.tables
        if offset is not None and tp in tables.recovery.standby_tps:
            tables.recovery.standby_offsets[tp] = offset - 1
            consumer: Any = self.app.consumer
            await consumer.rewind(tp, offset)

    def persisted_offset(self, tp: TP) -> int | None:
        """The offset of the last record that Faust need not read again, None where it begins at the beginning.

        A standby goes on from there, also when it takes over. Of a task that has its engine nothing is read: it wrote
        all that came since it was restored.
        """
        read_up_to = self._ends.get(tp, self.restorer.read_up_to(tp))
        return None if read_up_to is None else read_up_to - 1

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Close the tasks of revoked partitions, resume or create those of assigned ones."""
        del newly_assigned, generation_id
        tables: Any = self.app.tables
        wait_for_broker(tables.recovery)
        tables.recovery.buffer_sizes.clear()  # a partition may be read as a standby's from now on, or no longer
        standbys = self.app.assignor.assigned_standbys() & assigned
        for tp in self.restorer.assign(assigned - standbys, revoked, standbys):
            tables.recovery.revoke(tp)  # read from the start, also where Faust counts it as read before
        self._ends = await self.restorer.ends_of_engines()

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Restore the tasks whose changelogs were read; read once more what Faust only takes for read.

        Records of before a rebalance that come after it make Faust count their changelog as read up to there.
        """
        del standby_tps
        tables: Any = self.app.tables
        if again := await self.restorer.complete(active_tps):
            for tp, offset in again.items():
                tables.recovery.revoke(tp)
                if offset is not None:
                    tables.recovery.active_offsets[tp] = offset - 1
            tables.recovery.signal_recovery_start.set()


class EngineTable(faust.Table[Any, Any]):
    """A Faust table of raw rows in an `EngineStore`."""

    def __init__(self, *positional: Any, restorer: Restorer, changelog_name: str, **named: Any) -> None:
        """Make the table of one app, with the topic `changelog_name` as its changelog."""
        self._restorer = restorer
        self._changelog_name = changelog_name
        super().__init__(*positional, **named)

    def _changelog_topic_name(self) -> str:
        return self._changelog_name

    def _new_store(self) -> EngineStore:
        return EngineStore(
            "memory://",
            self.app,
            self,
            restorer=self._restorer,
            table_name=self.name,
            key_type=self.key_type,
            value_type=self.value_type,
            loop=self.loop,
        )
