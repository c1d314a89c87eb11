"""The table: a real Faust table whose store is the engine's columns.

Owns recovery: changelog records are gathered by key while Faust replays them, and become a lane's engine when it says
that recovery is complete; lanes of revoked partitions are closed. Writing the changelog is
`agents.worker.checkpoint`'s work, not the table's: a commit writes whole rows at once. Wired by `agents.worker.wiring`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import faust
import structlog
from faust.stores import memory
from faust.types import TP, EventT

from agents.worker.consumer import Records
from agents.worker.processor import Processor
from stream.recovery import changelog

log = structlog.get_logger()


class EngineStore(memory.Store[Any, Any]):
    """Changelog records in, lanes out."""

    processor: Processor
    on_fatal: Callable[[BaseException], None]
    introduce: Callable[[], Awaitable[None]]
    changelog: str

    def __post_init__(self) -> None:
        """Start with nothing recovered."""
        super().__post_init__()
        self._recovered: dict[int, dict[bytes, bytes]] = {}
        self._reached: dict[int, int] = {}
        self._since = time.monotonic()

    def apply_changelog_batch(
        self, batch: Iterable[EventT[Any]], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        """Keep the newest value of each key of partitions that are being recovered."""
        del to_key, to_value
        for event in batch:
            fetched = event.message.value
            if not isinstance(fetched, Records) or fetched.tp.partition in self.processor.tasks:
                continue  # our own lane is ahead of what it wrote
            kept = self._recovered.setdefault(fetched.tp.partition, {})
            if fetched.start > self._reached.get(fetched.tp.partition, fetched.start):
                message = f"changelog partition {fetched.tp.partition}: records before {fetched.start} did not come"
                self.on_fatal(RuntimeError(message))
            self._reached[fetched.tp.partition] = fetched.end
            for record in fetched.records:
                changelog.keep_newer(kept, record.key, record.value)

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Close the lanes of partitions that are no longer ours."""
        del newly_assigned, generation_id
        tables: Any = self.app.tables
        self._since = time.monotonic()
        for tp in revoked:
            if tp.topic == self.changelog:
                self.processor.close(tp.partition)
        for tp in assigned:
            if tp.topic == self.changelog and tp.partition not in self.processor.tasks:
                # Ours, but without a lane: read from the start, also where Faust thinks that it has read before.
                tables.recovery.revoke(tp)
                self._recovered.pop(tp.partition, None)
                self._reached.pop(tp.partition, None)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Open a lane for every partition that has none yet."""
        del standby_tps
        try:
            accounts = 0
            for tp in sorted(active_tps):
                if tp.topic == self.changelog and tp.partition not in self.processor.tasks:
                    self.processor.open(tp.partition, self._recovered.pop(tp.partition, {}))
                    accounts += len(self.processor.tasks[tp.partition].engine.accounts)
            await self.introduce()
            seconds = time.monotonic() - self._since
            log.info("restored", accounts=accounts, seconds=round(seconds, 3), partitions=sorted(self.processor.tasks))
        except Exception as error:  # noqa: BLE001 -- Faust drops what this raises: the worker must end, not go on without state
            self.on_fatal(error)


class EngineTable(faust.Table[Any, Any]):
    """A Faust table of raw rows in an `EngineStore`."""

    def _new_store(self) -> EngineStore:
        return EngineStore(
            "memory://",
            self.app,
            self,
            table_name=self.name,
            key_type=self.key_type,
            value_type=self.value_type,
            loop=self.loop,
        )
