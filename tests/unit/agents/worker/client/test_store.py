"""The table's store: from which offsets Faust reads changelogs, for tasks, for standbys and after a rebalance."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from faust.tables.recovery import Recovery

from agents.worker.client.store import EngineStore
from agents.worker.tasks.task_state import TaskState
from tests.driving.restoring import ONE, ZERO, Stage, changelog_of

STATE = (b"s", b'{"position": {"product-usage": 7}}')


class Table:
    """A store with Faust's recovery, and the app around it as far as the store sees it."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.standbys: set[Any] = set()
        self.sought: list[tuple[Any, int]] = []
        app: Any = SimpleNamespace(
            conf=SimpleNamespace(stream_recovery_delay=0),
            assignor=SimpleNamespace(assigned_standbys=lambda: self.standbys),
            consumer=SimpleNamespace(rewind=self._rewind),
        )
        self.recovery = Recovery(app, SimpleNamespace(_changelogs={}))  # type: ignore[arg-type]
        app.tables = SimpleNamespace(recovery=self.recovery)
        self.store = EngineStore("memory://", app, SimpleNamespace(name="accounts"), restorer=self.stage.restorer)

    async def _rewind(self, tp: Any, offset: int) -> None:
        self.sought.append((tp, offset))

    async def rebalance(self, active: set[Any], standbys: set[Any], revoked: set[Any] = frozenset()) -> None:  # type: ignore[assignment]
        """What Faust does with an assignment."""
        self.standbys = standbys
        await self.store.on_rebalance(active | standbys, revoked, set())
        for tps, offsets in ((active, self.recovery.active_offsets), (standbys, self.recovery.standby_offsets)):
            for tp in tps:
                if (offset := self.store.persisted_offset(tp)) is not None:
                    offsets[tp] = offset
        self.recovery.standby_tps = set(standbys)

    def fetch(self, *fetches: Any) -> None:
        """Give fetches to the store."""
        batch: Any = [SimpleNamespace(message=SimpleNamespace(value=fetched)) for fetched in fetches]
        self.store.apply_changelog_batch(batch, lambda key: key, lambda value: value)


def test_a_takeover_reads_from_the_last_record_of_the_standby_on() -> None:
    async def scenario() -> None:
        table = Table()
        await table.rebalance(set(), {ZERO})
        assert table.recovery.standby_offsets == {}
        table.fetch(changelog_of(ZERO, 0, STATE, STATE, STATE))
        await table.rebalance({ZERO}, set())
        assert table.recovery.active_offsets == {ZERO: 2}
        table.stage.bounds[ZERO] = (0, 4)
        await table.store.on_recovery_completed({ZERO}, set())
        assert table.recovery.active_offsets == {ZERO: 2}, "the rest is read once more"
        assert table.recovery.signal_recovery_start.is_set()
        table.fetch(changelog_of(ZERO, 2, STATE, STATE))
        await table.store.on_recovery_completed({ZERO}, set())
        assert table.stage.states() == {0: TaskState.RUNNING}

    asyncio.run(scenario())


def test_a_task_that_keeps_its_partition_reads_nothing_of_what_it_has_written() -> None:
    async def scenario() -> None:
        table = Table()
        await table.rebalance({ZERO, ONE}, set())
        await table.store.on_recovery_completed({ZERO, ONE}, set())
        table.stage.bounds |= {ZERO: (0, 900), ONE: (0, 800)}
        await table.stage.leave()
        await table.rebalance({ZERO}, {ONE})
        assert table.recovery.active_offsets == {ZERO: 899}
        assert table.recovery.standby_offsets == {}, "a standby that was a task begins at the beginning"

    asyncio.run(scenario())


def test_a_standby_that_misses_records_has_them_fetched_again_and_faust_count_them_as_unread() -> None:
    async def scenario() -> None:
        table = Table()
        await table.rebalance(set(), {ZERO})
        table.fetch(changelog_of(ZERO, 0, STATE))
        table.recovery.standby_offsets[ZERO] = 8
        table.stage.bounds[ZERO] = (0, 9)
        table.fetch(changelog_of(ZERO, 5, STATE), changelog_of(ZERO, 7, STATE))
        await asyncio.sleep(0.01)
        assert (table.sought, table.recovery.standby_offsets[ZERO]) == ([(ZERO, 1)], 0)
        table.fetch(changelog_of(ZERO, 5, STATE))
        await table.rebalance(set(), set(), {ZERO})
        await asyncio.sleep(0.01)
        assert table.sought == [(ZERO, 1)], "the partition is gone meanwhile"

    asyncio.run(scenario())
