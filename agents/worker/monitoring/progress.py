"""Progress as the watchdog believes in it: records applied, restored or committed.

Owns what counts as progress, and when none is to be expected: nothing waits, or the broker is known to be away. Run by
`agents.worker.wiring` from a timer of its own, because Faust's may wait for what is stuck.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from agents.worker.commit.checkpoint import Checkpointer
from agents.worker.commit.outbox import Outbox
from agents.worker.monitoring.watchdog import Watchdog
from agents.worker.tasks.processor import Processor
from agents.worker.tasks.restorer import Restorer

CHECK_S = 1.0
REFUSED_S = 60.0
"""A write that the broker has refused so lately is the broker's trouble, not a worker that is stuck."""


class Progress:
    """What one worker has done."""

    def __init__(
        self,
        processor: Processor,
        checkpointer: Checkpointer,
        restorer: Restorer,
        outbox: Outbox,
        watchdog: Watchdog,
        *,
        away: Callable[[], bool],
        at_work: Callable[[], bool],
    ) -> None:
        """`away` says that the broker does not answer, `at_work` that all assigned partitions are restored."""
        self._processor = processor
        self._checkpointer = checkpointer
        self._restorer = restorer
        self._outbox = outbox
        self._watchdog = watchdog
        self._away = away
        self._at_work = at_work
        self._latest = 0.0

    async def run(self) -> None:
        """Report to the watchdog for ever."""
        while True:
            self.check(time.monotonic())
            await asyncio.sleep(CHECK_S)

    def check(self, now: float) -> None:
        """Report once."""
        self._watchdog.alive()
        applied = max((task.applied_at for task in self._processor.with_engine()), default=0.0)
        latest = max(applied, self._checkpointer.last_commit, self._restorer.progress_at)
        refused = now - self._outbox.refused_at < REFUSED_S
        excused = refused or self._restorer.reading or self._away() or self._nothing_waits()
        if latest > self._latest or excused:
            self._watchdog.progress()
        self._latest = max(latest, self._latest)

    def _nothing_waits(self) -> bool:
        """Whether all that is on the broker is applied, and no commit is under way."""
        processor = self._processor
        waits = any(task.merge or any(processor.lag(task).values()) for task in processor.with_engine())
        return self._at_work() and not waits and not self._checkpointer.under_way
