"""Measures events per second of every engine on the same events, the same broker and the same machine.

Owns the method. Every engine starts from nothing on a topic that is loaded beforehand and reads to its end. The clock
starts when an outside process first sees something committed: by then the group has formed, Python has imported and the
JVM has compiled. It stops when it sees everything committed; what was committed in between is divided by the time. A
fifth more than `events` is loaded for what comes before the clock. account-vitals and Kafka Streams commit every five
seconds while they have more to read, and soon after they have not.

Results are then read from the engine's output and compared with `workload.final_scores`: a published score may differ
from it by less than the point that makes a change. Repeats are interleaved (all engines, then all again), so that what
disturbs the machine disturbs all; the median counts.

Must not know how engines work. Called by `__main__`.
"""

from __future__ import annotations

import asyncio
import statistics
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.bench.cpu import between, read_cpu
from tests.bench.engines import USAGE_TOPIC, Engine, FaustDocumented, Run
from tests.bench.loading import KEEP, end_offsets, load, partitions_of_accounts, read_all
from tests.bench.progress import EngineError, wait_for
from tests.bench.workload import ACCOUNTS, MIN_CHANGE, PARTITIONS, Workload, final_scores, make_workload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.broker.kafka_server import KafkaServer

FAUST_EVENTS = 60_000
_FAUST_TOPIC = "product-usage-prefix"
_WARM_UP_SHARE = 5  # one fifth more than is timed
_STOP_WITHIN_S = 30.0
LEAST_S = 3.0
"""A run that is timed for less says nothing: a worker that catches up commits every 10 seconds."""
_ROUNDING = 1e-9


@dataclass
class Measured:
    """What the repeats of one engine gave."""

    label: str
    events: int
    events_per_s: list[float] = field(default_factory=list)
    cpu_us_per_event: list[float] = field(default_factory=list)  # of the engine, all its processes and threads
    others: list[float] = field(default_factory=list)  # share of the machine that went to anything else, 0..1
    changes: int = 0
    changelog_bytes_per_event: float = 0.0

    @property
    def median(self) -> float:
        """Events per second."""
        return statistics.median(self.events_per_s)


@dataclass(frozen=True)
class _Input:
    topic: str
    workload: Workload
    timed: int
    expected: dict[str, float]


def measure_throughput(
    kafka: KafkaServer,
    engines: Sequence[Engine],
    *,
    events: int,
    repeats: int,
    folder: Path,
    tell: Callable[[str], None],
) -> dict[str, Measured]:
    """Run every engine `repeats` times.

    Args:
        kafka: an empty broker.
        engines: what to run.
        events: how many events are timed; the slow Faust rival gets the first 60,000 at most.
        repeats: how many times.
        folder: for logs.
        tell: called with what happens now, for the terminal.

    Raises:
        EngineError: an engine failed or its result is wrong.

    """
    tell(f"loading {events:,} events")
    full = _load(kafka, USAGE_TOPIC, make_workload(events + events // _WARM_UP_SHARE), events)
    inputs = dict.fromkeys((engine.name for engine in engines), full)
    if any(isinstance(engine, FaustDocumented) for engine in engines):
        timed = min(events, FAUST_EVENTS)
        prefix = _load(kafka, _FAUST_TOPIC, full.workload.prefix(timed + timed // _WARM_UP_SHARE), timed)
        inputs |= {engine.name: prefix for engine in engines if isinstance(engine, FaustDocumented)}
    results = {engine.name: Measured(engine.label, inputs[engine.name].timed) for engine in engines}
    for repeat in range(1, repeats + 1):
        for engine in engines:
            tell(f"{engine.label}, run {repeat} of {repeats}")
            _run_once(kafka, engine, inputs[engine.name], folder, results[engine.name])
    return results


def _load(kafka: KafkaServer, topic: str, workload: Workload, timed: int) -> _Input:
    kafka.create_topics({topic: {"partitions": PARTITIONS, "config": KEEP}})
    asyncio.run(load(kafka, topic, workload))
    return _Input(topic, workload, timed, final_scores(workload, partitions_of_accounts(ACCOUNTS)))


def _run_once(kafka: KafkaServer, engine: Engine, measured_input: _Input, folder: Path, result: Measured) -> None:
    run = Run(kafka, f"bench-{engine.name}-{uuid.uuid4().hex[:8]}", measured_input.topic, folder)
    total = len(measured_input.workload)
    with kafka.admin() as admin:
        outputs = {engine.scores_topic(run), engine.changes_topic(run)} if engine.publishes else set()
        new = outputs.difference(admin.list_topics())
        if new:
            kafka.create_topics({name: {"partitions": PARTITIONS, "config": KEEP} for name in new})
        before = {name: end_offsets(kafka, name) for name in outputs}
        process = engine.start(run)
        try:
            first = wait_for(admin, process, run.group, measured_input.topic, records=1)
            cpu = read_cpu(process.pid)
            last = wait_for(admin, process, run.group, measured_input.topic, records=total)
            share = between(cpu, read_cpu(process.pid))
        finally:
            process.terminate(_STOP_WITHIN_S)
    timed, timed_s = last.committed - first.committed, last.at_s - first.at_s
    check_span(engine.name, timed, timed_s, measured_input.timed)
    if engine.publishes:
        scores, changes = engine.scores_topic(run), engine.changes_topic(run)
        check_scores(engine.name, _last_scores(engine, run, before[scores]), measured_input.expected)
        result.changes = sum(end_offsets(kafka, changes).values()) - sum(before[changes].values())
        result.changelog_bytes_per_event = kafka.log_bytes(engine.changelog_topic(run)) / total
    result.events_per_s.append(timed / timed_s)
    result.cpu_us_per_event.append(share.engine_s / timed * 1e6)
    result.others.append(share.others)


def check_span(name: str, timed: int, timed_s: float, events: int) -> None:
    """Refuse to give a figure for a run of which too little lies between the first commit and the last.

    Raises:
        EngineError: less than half of the events, or less than `LEAST_S` seconds.

    """
    if timed < events / 2 or timed_s < LEAST_S:
        message = (
            f"{name}: only {timed:,} events in {timed_s:.1f} s lie between its first commit and its last, "
            f"which is too little for a figure: ask for more than {events:,} --events"
        )
        raise EngineError(message)


def _last_scores(engine: Engine, run: Run, before: dict[int, int]) -> dict[str, float]:
    """Every account's last published score."""
    records = asyncio.run(read_all(run.kafka, engine.scores_topic(run), before))
    last = {key: value for key, value, _ in records}
    return {key.decode(): engine.read_score(value) for key, value in last.items() if value is not None}


def check_scores(name: str, published: dict[str, float], expected: dict[str, float]) -> None:
    """Compare every account's last published score with the expected one.

    Raises:
        EngineError: one differs by a point or more, is missing, or is of an account without events.

    """
    wrong = [
        f"{account}: published {published.get(account)}, expected {value}"
        for account, value in expected.items()
        if abs(published.get(account, float("inf")) - value) > MIN_CHANGE - _ROUNDING
    ]
    if wrong or len(published) != len(expected):
        shown = "\n".join(wrong[:5])
        message = (
            f"{name} is wrong for {len(wrong)} of {len(expected)} accounts and published {len(published)}, "
            f"so its speed means nothing:\n{shown}"
        )
        raise EngineError(message)
