"""Measures a restart: how fast accounts come back from the changelog, and how much memory each one takes.

Owns the method. The engine learns 100 accounts and is started again, then learns 100,000 and is started again. The
second restart gives the speed, by the engine's own log line `restored` (from its first changelog record to ready rows);
the difference in resident memory of the two restarts, divided by the accounts, is what an account takes.
Must not know how engines work. Called by `__main__`.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import psutil

from tests.bench.engine import Engine, Run, log_events
from tests.bench.loading import KEEP, load
from tests.bench.progress import EngineError, wait_for
from tests.bench.rules import PARTITIONS
from tests.bench.workload import USAGE_TOPIC, first_events

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.broker.child import ChildProcess
    from tests.broker.kafka_server import KafkaServer

FEW, MANY = 100, 100_000
_EVENTS_PER_ACCOUNT = 3
_WITHIN_S = 120.0
_STOP_WITHIN_S = 30.0


@dataclass(frozen=True)
class Restored:
    """What a restart showed."""

    label: str
    accounts_per_s: float
    bytes_per_account: float
    changelog_bytes: int


def measure_restore(kafka: KafkaServer, engine: Engine, *, folder: Path, tell: Callable[[str], None]) -> Restored:
    """Restart the engine twice on an empty broker.

    Raises:
        EngineError: it failed, or never said that it had restored.

    """
    run = Run(kafka, f"bench-{engine.name}-{uuid.uuid4().hex[:8]}", USAGE_TOPIC, folder, (USAGE_TOPIC,))
    topics = (USAGE_TOPIC, engine.scores_topic(run))
    kafka.create_topics({name: {"partitions": PARTITIONS, "config": KEEP} for name in topics})
    loaded = 0
    seconds, resident = 0.0, {}
    for accounts in (FEW, MANY):
        tell(f"{engine.label}: restart with {accounts:,} accounts")
        events = first_events(accounts, each=_EVENTS_PER_ACCOUNT)
        asyncio.run(load(kafka, USAGE_TOPIC, events, first_id=loaded))
        loaded += len(events)
        with kafka.admin() as admin:
            process = engine.start(run)
            try:
                wait_for(partial(engine.progress, admin, run), process, run.group, records=loaded)
            finally:
                process.terminate(_STOP_WITHIN_S)
        run.log.unlink()
        process = engine.start(run)
        try:
            seconds = _wait_restored(process, run, accounts)
            resident[accounts] = _resident(psutil.Process(process.pid))
        finally:
            process.terminate(_STOP_WITHIN_S)
    return Restored(
        engine.label,
        MANY / seconds,
        (resident[MANY] - resident[FEW]) / (MANY - FEW),
        kafka.log_bytes(engine.changelog_topic(run)),
    )


def _resident(process: psutil.Process) -> int:
    return sum(member.memory_info().rss for member in (process, *process.children(recursive=True)))


def _wait_restored(process: ChildProcess, run: Run, accounts: int) -> float:
    """Wait for the log lines of all processes; return the seconds of the slowest."""
    deadline = time.monotonic() + _WITHIN_S
    while time.monotonic() < deadline:
        lines = log_events(run, "restored")
        if sum(int(str(line["accounts"])) for line in lines) >= accounts:
            return max(float(str(line["seconds"])) for line in lines)
        if process.wait(0.1) is not None:
            break
    message = f"{run.group} did not log that it restored {accounts:,} accounts:\n{process.log_tail()}"
    raise EngineError(message)
