"""Measures a restart: how fast accounts come back from the changelog, and how much memory each one takes.

Owns the method. The engine learns 100 accounts and is started again, then learns 100,000 and is started again. The
second restart gives the speed, by the engine's own log line `restored` (from its first changelog record to ready rows);
the difference in resident memory of the two restarts, divided by the accounts, is what an account takes.
With a million accounts, under the template policy, all processes are killed: what counts then is when the last of the
new ones says that it has restored.
Must not know how engines work. Called by `__main__`.
"""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import psutil

from tests.bench.cpu import between, peak_mb, read_cpu
from tests.bench.engine import Engine, Run, log_events
from tests.bench.loading import KEEP, end_offsets, load
from tests.bench.progress import EngineError, wait_for
from tests.bench.rules import DAY_MS, PARTITIONS
from tests.bench.workload import DAYS, SOURCES, START_MS, USAGE_TOPIC, first_events, make_five_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.broker.child import ChildProcess
    from tests.broker.kafka_server import KafkaServer

FEW, MANY = 100, 100_000
_EVENTS_PER_ACCOUNT = 3
_WITHIN_S = 120.0
_STOP_WITHIN_S = 30.0
_A_MILLION = 1_000_000
_EVENTS_OF_A_MILLION = 4_000_000
_DAYS_OF_A_MILLION = 30
_QUIET_S = 5.0
"""Nothing new is published for so long: all that the events have changed is."""


@dataclass(frozen=True)
class Restored:
    """What a restart showed."""

    label: str
    accounts_per_s: float
    bytes_per_account: float
    changelog_bytes: int


@dataclass(frozen=True)
class AfterKill:
    """What a million accounts cost, and how a restart after `kill -9` went; memory of all processes."""

    label: str
    cpu_us_per_event: float
    """With all that is published once the events are applied."""
    published_s: float
    """From the start of the engine until all is published."""
    peak_mb: float
    steady_mb: float
    ready_s: float
    """From the kill until the accounts of all partitions are back."""
    restart_peak_mb: float
    restart_steady_mb: float


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


def measure_after_kill(kafka: KafkaServer, engine: Engine, *, folder: Path, tell: Callable[[str], None]) -> AfterKill:
    """Let an engine read four million events of a million accounts on an empty broker, kill it, and start it again.

    Raises:
        EngineError: it failed, or never said that it had restored.

    """
    run = Run(kafka, f"bench-{engine.name}-{uuid.uuid4().hex[:8]}", USAGE_TOPIC, folder, SOURCES)
    topics = (*SOURCES, engine.scores_topic(run), engine.changes_topic(run))
    kafka.create_topics({name: {"partitions": PARTITIONS, "config": KEEP} for name in topics})
    tell(f"loading {_EVENTS_OF_A_MILLION:,} events of {_A_MILLION:,} accounts")
    events = make_five_sources(_EVENTS_OF_A_MILLION, _A_MILLION)
    denser_ms = START_MS + (events.time_ms - START_MS) * _DAYS_OF_A_MILLION // DAYS
    asyncio.run(load(kafka, USAGE_TOPIC, replace(events, time_ms=denser_ms + (DAYS - _DAYS_OF_A_MILLION) * DAY_MS)))
    tell(f"{engine.label}: {_A_MILLION:,} accounts")
    begin_s, process = time.monotonic(), engine.start(run)
    with kafka.admin() as admin:
        try:
            begin = read_cpu(process.pid)
            wait_for(partial(engine.progress, admin, run), process, run.group, records=len(events))
            published_s = _wait_quiet(kafka, process, run, topics[-2:]) - begin_s
            cpu_s = between(begin, read_cpu(process.pid)).engine_s
            peak, steady = peak_mb(process.pid), _resident(psutil.Process(process.pid)) / 1e6
        finally:
            killed_s = _kill(process)
    run.log.unlink()
    tell(f"{engine.label}: restart with {_A_MILLION:,} accounts")
    process = engine.start(run)
    try:
        _wait_restored(process, run, len(np.unique(events.account)))
        ready_s = time.monotonic() - killed_s
        restart_peak = peak_mb(process.pid)
        process.wait(_QUIET_S)
        restart_steady = _resident(psutil.Process(process.pid)) / 1e6
    finally:
        process.terminate(_STOP_WITHIN_S)
    cpu_us = cpu_s / len(events) * 1e6
    return AfterKill(engine.label, cpu_us, published_s, peak, steady, ready_s, restart_peak, restart_steady)


def _wait_quiet(kafka: KafkaServer, process: ChildProcess, run: Run, topics: Sequence[str]) -> float:
    """Wait until nothing new is published; return when the last record was seen, by the monotonic clock."""
    seen, seen_s = -1, time.monotonic()
    while time.monotonic() - seen_s < _QUIET_S:
        published = sum(sum(end_offsets(kafka, topic).values()) for topic in topics)
        if published != seen:
            seen, seen_s = published, time.monotonic()
        if process.wait(0.5) is not None:
            message = f"{run.group} ended while it published:\n{process.log_tail()}"
            raise EngineError(message)
    return seen_s


def _kill(process: ChildProcess) -> float:
    """`kill -9` all processes of an engine at once; return when, by the monotonic clock."""
    killed_s = time.monotonic()
    for member in psutil.Process(process.pid).children(recursive=True):
        member.send_signal(signal.SIGKILL)
    process.kill()
    return killed_s


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
