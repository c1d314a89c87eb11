"""Direct one run of the demo, from the worker's start to the last score shown.

Decides the order of the steps and the end of the run. Does not render or start processes itself. Called by
`agents.demo.run`, which has the broker, the topics and all clients ready.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from agents.demo.company import Company
from agents.demo.event_player import EventPlayer
from agents.demo.output_reader import OutputReader
from agents.demo.progress import SHORTEST_RUN_S, Progress, may_kill, pace
from agents.demo.screen import Screen, View
from agents.demo.worker import DemoWorker
from schemas.sources import BUILT_IN

READY_PATIENCE_S = 90.0
PROGRESS_PATIENCE_S = 90.0
KILL_AFTER_S = (1.5, 4.0)
"""Shortest and longest time that a ready worker runs before it is killed."""
LOOK_EVERY_S = 0.25
LAST_COUNTS_S = 10.0
"""Time for the worker to commit a control that came at the end."""
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoError(RuntimeError):
    """The demo cannot continue; the message says why."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of the run."""

    deadline_s: float | None
    """Time by which the run should end, on the clock of `time.monotonic`."""
    kill: bool
    watched: bool
    """Whether somebody watches, so that the run is spread over `WATCHED_RUN_S`."""
    stays: bool
    """Whether the screen stays until Ctrl-C."""


@dataclass(frozen=True, slots=True)
class SessionParts:
    """Everything a session directs, connected but idle."""

    company: Company
    player: EventPlayer
    worker: DemoWorker
    output_reader: OutputReader
    screen: Screen
    progress: Progress


class Session:
    """Sends a company's events to a worker and follows its outputs. `run` once, on the main thread."""

    def __init__(self, parts: SessionParts, options: RunOptions) -> None:
        self.finished = False
        """Whether every event sent was settled and shown; False after Ctrl-C."""
        self._parts = parts
        self._options = options
        self._phase = "starting the worker"
        self._hint = ""
        self._sending_from_s = 0.0
        self._sending_to_s = 0.0
        self._stopped = asyncio.Event()

    @property
    def sent(self) -> int:
        """Events in the topics: those that the demo sent and the broker acknowledged, and those of people."""
        return self._parts.player.sent.total() + self._parts.output_reader.controls

    @property
    def adds_up(self) -> bool:
        """Whether every event was settled, and none twice."""
        return self._parts.progress.backlog(self.sent) == 0

    async def run(self) -> None:
        """Run until the end; raises `DemoError` if the worker fails, and the errors of the broker's clients."""
        loop = asyncio.get_running_loop()
        for number in END_SIGNALS:
            loop.add_signal_handler(number, self._end)
        work = [
            asyncio.create_task(self._direct()),
            asyncio.create_task(self._parts.output_reader.run()),
            asyncio.create_task(self._watch()),
            asyncio.create_task(self._stopped.wait()),
        ]
        try:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if self.finished:
                await self._last_counts(work)
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            self._phase, self._hint = "done" if self.finished else "stopped", ""
            self._show()

    def result(self) -> dict[str, Any]:
        """What `--json` prints; see the contract in `docs/`."""
        progress, status = self._parts.progress, self._parts.output_reader.status
        duration_s = self._sending_to_s - self._sending_from_s
        return {
            "events": self.sent,
            "controls": self._parts.output_reader.controls,
            "applied": progress.outcomes.get("applied", 0),
            "score_changes": status.changes,
            "alerts": status.alerts_fired,
            "accounts": status.accounts,
            "bands": status.bands(),
            "events_per_second": round(progress.settled / duration_s) if duration_s > 0 else 0,
            "settled": dict(progress.outcomes),
            "kills": self._parts.worker.kills,
        }

    def _end(self) -> None:
        """Stop the run on a signal; a second signal also kills the worker."""
        if self._stopped.is_set():
            self._parts.worker.crash()
        self._stopped.set()

    async def _direct(self) -> None:
        parts, options = self._parts, self._options
        parts.worker.start()
        await self._until(parts.worker.is_ready, READY_PATIENCE_S, "is not ready")
        self._phase = "sending events"
        self._sending_from_s = time.monotonic()
        watched = options.watched or options.kill
        parts.player.events_per_second = pace(
            parts.company.expected_events, self._sending_from_s, options.deadline_s, watched=watched
        )
        killer = asyncio.create_task(self._kill_now_and_then()) if options.kill else None
        try:
            await parts.player.run()
        finally:
            if killer is not None:
                killer.cancel()
        self._phase = "applying the rest"
        await self._settled()
        self._sending_to_s = time.monotonic()
        parts.output_reader.expect_more()
        await self._until(lambda: parts.output_reader.is_quiet, PROGRESS_PATIENCE_S, "is still publishing")
        self.finished = True
        if options.stays:
            self._phase, self._hint = "all applied", "Ctrl-C ends the demo."
            await self._stopped.wait()

    async def _kill_now_and_then(self) -> None:
        random = Random()  # unseeded: each run kills at other times
        while True:
            await asyncio.sleep(random.uniform(*KILL_AFTER_S))
            if not may_kill(self._parts.worker.kills, time.monotonic(), self._options.deadline_s):
                return
            self._parts.worker.crash()
            self._parts.worker.start()  # without an await in between, so that `_watch` never sees an exit code
            await self._until(self._parts.worker.is_ready, READY_PATIENCE_S, "is not ready again")

    async def _settled(self) -> None:
        """Wait until the backlog is 0; fail if it has not shrunk for `PROGRESS_PATIENCE_S`."""
        progress = self._parts.progress
        patience_from_s = time.monotonic()
        while progress.backlog(self.sent) > 0:
            await asyncio.sleep(LOOK_EVERY_S)
            moved_s = max(patience_from_s, progress.moved_s or 0.0)
            if time.monotonic() - moved_s > PROGRESS_PATIENCE_S:
                left = progress.backlog(self.sent)
                raise DemoError(
                    self._describe_failure(f"has settled nothing for {PROGRESS_PATIENCE_S:g} s; {left:,} are left")
                )

    async def _last_counts(self, work: list[asyncio.Task[Any]]) -> None:
        """Wait until what a person did last is counted on both sides, as long as the worker and the readers run."""
        until_s = time.monotonic() + LAST_COUNTS_S
        running = [task for task in work if not task.done()]
        while not self.adds_up:
            await asyncio.sleep(LOOK_EVERY_S)
            if time.monotonic() > until_s or any(task.done() for task in running):
                return

    async def _until(self, condition: Callable[[], bool], patience_s: float, complaint: str) -> None:
        until_s = time.monotonic() + patience_s
        while not await asyncio.to_thread(condition):
            if time.monotonic() > until_s:
                raise DemoError(self._describe_failure(f"{complaint} after {patience_s:g} s"))
            await asyncio.sleep(LOOK_EVERY_S)

    def _describe_failure(self, what: str) -> str:
        return f"The worker {what}. Its last lines:\n{self._parts.worker.last_lines()}"

    async def _watch(self) -> None:
        """Repeatedly read the worker's counts, stop sending in time for the deadline, and update the screen."""
        parts = self._parts
        while True:
            if parts.worker.exit_code is not None:
                raise DemoError(self._describe_failure(f"ended with code {parts.worker.exit_code}"))
            settled = await asyncio.to_thread(parts.worker.settled, frozenset(BUILT_IN.of_topics))
            now_s = time.monotonic()
            if settled is not None:
                parts.progress.update(settled, now_s)
            has_sent = self._sending_from_s > 0 and now_s - self._sending_from_s >= SHORTEST_RUN_S
            if has_sent and parts.progress.leaves_no_more_time(self.sent, now_s, self._options.deadline_s):
                parts.player.stop()
            self._show()
            await asyncio.sleep(LOOK_EVERY_S)

    def _show(self) -> None:
        parts, now_s = self._parts, time.monotonic()
        view = View(
            phase=self._phase,
            hint=self._hint,
            sent=self.sent,
            settled=parts.progress.settled,
            events_per_second=parts.progress.events_per_second(),
            lag=max(0, parts.progress.backlog(self.sent)),
            kills=parts.worker.kills,
            start_ms=parts.company.start_ms,
            end_ms=parts.company.end_ms,
            time_ms=parts.player.time_ms,
        )
        parts.screen.show(view, parts.output_reader.status, now_s)
