"""Health of a worker: why it should be restarted, why it is not ready, and the gauges brought up to date.

Owns the answers that `agents.worker.monitoring.web` serves. Must not change anything but gauges.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

import faust

from agents.worker.client.reconnect import refusal
from agents.worker.commit.checkpoint import Checkpointer
from agents.worker.commit.outbox import Outbox
from agents.worker.monitoring.gauges import measure
from agents.worker.monitoring.metrics import Telemetry
from agents.worker.monitoring.session import SessionWatch
from agents.worker.monitoring.watchdog import Watchdog
from agents.worker.tasks.processor import Processor


class Health:
    """What a worker answers when it is asked how it is."""

    def __init__(
        self,
        app: faust.App,
        processor: Processor,
        outbox: Outbox,
        *,
        checkpointer: Checkpointer,
        watchdog: Watchdog,
        session: SessionWatch,
        telemetry: Telemetry,
        commit_interval_s: float,
    ) -> None:
        """`commit_interval_s` is the time between periodic commits. The app has not started yet."""
        self._app = app
        self._processor = processor
        self._outbox = outbox
        self._checkpointer = checkpointer
        self._watchdog = watchdog
        self._session = session
        self._telemetry = telemetry
        self.starting: str | None = "the worker is starting: topics are not checked yet"
        """What is done before the app starts; None from then on."""
        self._commit_limit_s = max(10.0, commit_interval_s * 5)

    def problems(self) -> list[str]:
        """Why the process should be restarted."""
        stuck = self._watchdog.stuck(time.monotonic())
        return [stuck] if stuck else []

    def ready_problems(self) -> list[str]:
        """Why the worker is not at work."""
        problems = self.problems()
        if self.starting is not None:
            return [*problems, self.starting]
        if (problem := self._session.problem()) is not None:
            problems.append(problem)
        if (refused := refusal()) is not None:
            problems.append(refused)
        if not self._app.tables.actives_ready:
            problems.append("state is being recovered, or partitions are being assigned")
        if self._outbox.failing:
            problems.append("the broker refuses writes")
        if not problems and time.monotonic() - self._checkpointer.last_commit > self._commit_limit_s:
            problems.append("no commit went through lately")
        return problems

    def refresh(self) -> None:
        """Bring the gauges up to date."""
        measure(self._processor, self._telemetry)
        self._telemetry.ready.set(0 if self.ready_problems() else 1)
        tables: Any = self._app.tables
        with contextlib.suppress(Exception):
            self._telemetry.restore_remaining.set(max(0, tables.recovery.active_remaining_total()))
