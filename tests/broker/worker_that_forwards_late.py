"""A worker that applies what it has fetched only while partitions move: `python worker_that_forwards_late.py`.

It keeps every record that it fetches until a rebalance takes partitions away. After the last commit of its old
assignment and before its new one it applies them, as an agent may that was in the middle of its work. What it forwards
to other partitions is sent only when the rebalance is over. Everything else is the product's worker with the settings
of its environment.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

import structlog

from agents.cli.main import app
from agents.worker.client.store import EngineStore
from agents.worker.commit.outbox import Outbox
from agents.worker.tasks.processor import Processor
from schemas.topics import REPARTITION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faust.types import TP

log = structlog.get_logger()

MOVED = asyncio.Event()
"""Set once a rebalance has taken partitions away."""


def hold_records() -> None:
    """Apply nothing before partitions move."""
    take, work, tick = Processor.take, Processor.work, Processor.tick

    async def taking(self: Processor, fetched: Any) -> None:
        await take(self, fetched)
        waiting = sum(len(fetch) for task in self.tasks.values() for taken in task.arrived.values() for fetch in taken)
        log.info("holds", records=waiting)

    async def working(self: Processor) -> None:
        if MOVED.is_set():
            await work(self)

    async def ticking(self: Processor) -> None:
        if MOVED.is_set():
            await tick(self)

    Processor.take = taking  # type: ignore[method-assign]
    Processor.work = working  # type: ignore[method-assign]
    Processor.tick = ticking  # type: ignore[method-assign]


def hold_forwards() -> None:
    """Send nothing to the repartition topic before partitions have moved."""
    deliver = Outbox._deliver

    async def delivering(self: Outbox, queue: Any, flight: Sequence[Any], first: int) -> int:
        if queue.topic == REPARTITION:
            await MOVED.wait()
        return await deliver(self, queue, flight, first)

    Outbox._deliver = delivering  # type: ignore[method-assign]


def work_while_partitions_move() -> None:
    """Apply everything between the last commit before a rebalance and the assignment after it."""
    work, on_rebalance, take = Processor.work, EngineStore.on_rebalance, Processor.take
    processors: list[Processor] = []

    async def taking(self: Processor, fetched: Any) -> None:
        processors[:] = [self]
        await take(self, fetched)

    async def moving(
        self: EngineStore, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        if revoked:
            await work(processors[0])
        await on_rebalance(self, assigned, revoked, newly_assigned, generation_id)
        if revoked:
            MOVED.set()

    Processor.take = taking  # type: ignore[method-assign]
    EngineStore.on_rebalance = moving  # type: ignore[method-assign]


if __name__ == "__main__":
    work_while_partitions_move()
    hold_records()
    hold_forwards()
    app(["worker"], prog_name="vitals")
