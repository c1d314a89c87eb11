"""Measures processor time and events per second of every engine on the same events, broker and machine.

Owns the method. Every engine starts from nothing on a topic that is loaded beforehand and reads to its end. An outside
process watches what is committed. The clock starts with a commit at least `WARM_UP_S` seconds after the first one: by
then the group has formed, Python has imported, the JVM has compiled, and caches and state have grown. It stops when
everything is committed, at least `LEAST_S` seconds later; what was committed in between is divided by the time, and so
is the processor time that was spent in between. account-vitals and Kafka Streams commit every five seconds while they
have more to read, and soon after they have not.

The topic has the same million events over and over, each time ninety days later, so that windows and scores go on as
they began whatever the number of events. Slower engines read a topic with fewer rounds of them, or a part of one.

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
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tests.bench.cpu import between, peak_mb, read_cpu
from tests.bench.engine import Engine, Run
from tests.bench.loading import KEEP, end_offsets, load, read_all
from tests.bench.progress import EngineError, wait_for
from tests.bench.rules import MIN_CHANGE, PARTITIONS
from tests.bench.workload import DAYS, USAGE_TOPIC, Workload
from tests.bench.workloads import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.broker.kafka_server import KafkaServer

_STOP_WITHIN_S = 30.0
WARM_UP_S = 10.0
LEAST_S = 30.0
"""A run that is timed for less says little of a steady state."""
_ROUNDING = 1e-9


@dataclass
class Measured:
    """What the repeats of one engine gave."""

    label: str
    events_per_s: list[float] = field(default_factory=list)
    cpu_us_per_event: list[float] = field(default_factory=list)  # of the engine, all its processes and threads
    broker_us_per_event: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)  # of the engine's processes, the sum of their peaks
    others: list[float] = field(default_factory=list)  # share of the machine that went to anything else, 0..1
    changes: int = 0
    changelog_bytes_per_event: float = 0.0

    def last_run(self) -> str:
        """The figures of the last run, for people who wait for the others."""
        cpu, broker = self.cpu_us_per_event[-1], self.broker_us_per_event[-1]
        speed, peak = self.events_per_s[-1], self.peak_mb[-1]
        return f"{self.label}: {cpu:.2f} µs of CPU, broker {broker:.2f} µs, {speed:,.0f} events/s, {peak:,.0f} MB"

    @property
    def median(self) -> float:
        """Events per second."""
        return statistics.median(self.events_per_s)


@dataclass(frozen=True)
class _Input:
    prefix: str
    kind: Kind
    one_round: Workload
    rounds: int

    @property
    def topics(self) -> tuple[str, ...]:
        return tuple(self.prefix + source for source in self.kind.sources)

    @property
    def events(self) -> int:
        return self.rounds * len(self.one_round)


def measure_throughput(
    kafka: KafkaServer,
    engines: Sequence[Engine],
    kind: Kind,
    *,
    events: int,
    repeats: int,
    folder: Path,
    tell: Callable[[str], None],
    failures: list[str],
) -> dict[str, Measured]:
    """Run every engine `repeats` times; one that fails, or whose result is wrong, has no figures and is not run again.

    Args:
        kafka: an empty broker.
        engines: what to run.
        kind: which events they read.
        events: how many events the fastest engines read; the others read a share of it, or no more than their limit.
        repeats: how many times.
        folder: for logs.
        tell: called with what happens now, for the terminal.
        failures: gets why an engine has no figures.

    """
    one_round = kind.make(min(events, kind.round), kind.accounts)
    loaded: dict[str, _Input] = {}
    inputs: dict[str, _Input] = {}
    for engine in engines:
        needed = _input_of(engine, events, kind, one_round)
        if needed.prefix not in loaded:
            tell(f"loading {needed.events:,} events for {engine.label}")
            _load(kafka, needed)
        inputs[engine.name] = loaded.setdefault(needed.prefix, needed)
    results = {engine.name: Measured(engine.label) for engine in engines}
    for repeat in range(1, repeats + 1):
        for engine in [engine for engine in engines if engine.name in results]:
            tell(f"{engine.label}, run {repeat} of {repeats}")
            try:
                _run_once(kafka, engine, inputs[engine.name], folder, results[engine.name])
            except EngineError as error:
                failures.append(str(error))
                del results[engine.name]
            else:
                tell(results[engine.name].last_run())
    return results


def _input_of(engine: Engine, events: int, kind: Kind, one_round: Workload) -> _Input:
    wanted = min(round(events * engine.share), engine.limit)
    if wanted < len(one_round):
        return _Input(f"first{wanted}.", kind, one_round.prefix(wanted), 1)
    rounds = max(1, round(wanted / kind.round))
    return _Input(f"r{rounds}.", kind, one_round, rounds)


def _load(kafka: KafkaServer, needed: _Input) -> None:
    """Load a round as often as it is needed, the last time as it is and each time before ninety days earlier."""
    kafka.create_topics({topic: {"partitions": PARTITIONS, "config": KEEP} for topic in needed.topics})
    for number in range(needed.rounds):
        first_id = number * len(needed.one_round)
        events = needed.one_round.later(DAYS * (number - needed.rounds + 1))
        asyncio.run(load(kafka, needed.prefix + USAGE_TOPIC, events, first_id))


def _run_once(kafka: KafkaServer, engine: Engine, measured_input: _Input, folder: Path, result: Measured) -> None:
    group = f"bench-{engine.name}-{uuid.uuid4().hex[:8]}"
    run = Run(kafka, group, measured_input.prefix + USAGE_TOPIC, folder, measured_input.topics)
    total = measured_input.events
    with kafka.admin() as admin:
        outputs = {engine.scores_topic(run), engine.changes_topic(run)} if engine.publishes else set()
        new = outputs.difference(admin.list_topics())
        if new:
            kafka.create_topics({name: {"partitions": PARTITIONS, "config": KEEP} for name in new})
        before = {name: end_offsets(kafka, name) for name in outputs}
        process = engine.start(run)
        read = partial(engine.progress, admin, run)
        try:
            wait_for(read, process, run.group, records=1)
            process.wait(WARM_UP_S)
            warm = read()
            begin = wait_for(read, process, run.group, records=min(total, warm.committed + 1))
            cpu, broker = read_cpu(process.pid), read_cpu(kafka.pid)
            last = wait_for(read, process, run.group, records=total)
            share, of_broker = between(cpu, read_cpu(process.pid)), between(broker, read_cpu(kafka.pid))
            peak = peak_mb(process.pid)
            process.wait(engine.settle_s)
        finally:
            process.terminate(_STOP_WITHIN_S)
    timed, timed_s = last.committed - begin.committed, last.at_s - begin.at_s
    check_span(engine.name, begin.at_s, last.at_s, total)
    if engine.publishes:
        scores, changes = engine.scores_topic(run), engine.changes_topic(run)
        _check(engine, measured_input, _last_scores(engine, run, before[scores]))
        result.changes = sum(end_offsets(kafka, changes).values()) - sum(before[changes].values())
        result.changelog_bytes_per_event = kafka.log_bytes(engine.changelog_topic(run)) / total
    result.events_per_s.append(timed / timed_s)
    result.cpu_us_per_event.append(share.engine_s / timed * 1e6)
    result.broker_us_per_event.append(of_broker.engine_s / timed * 1e6)
    result.peak_mb.append(peak)
    result.others.append(share.others)


def check_span(name: str, begin_s: float, end_s: float, events: int) -> None:
    """Refuse to give a figure for a run of which too little lies between the commit that starts the clock and the last.

    Raises:
        EngineError: less than `LEAST_S` seconds.

    """
    if end_s - begin_s < LEAST_S:
        message = (
            f"{name}: its {events:,} events were done {end_s - begin_s:.1f} s after the warm-up of {WARM_UP_S:.0f} s, "
            f"which is too little for a figure: ask for more --events"
        )
        raise EngineError(message)


def _check(engine: Engine, measured_input: _Input, published: dict[str, float]) -> None:
    one_round, kind = measured_input.one_round, measured_input.kind
    expected = kind.expected(one_round, measured_input.rounds, timers=engine.timers)
    accounts = len(np.unique(one_round.account))
    if len(published) != accounts:
        message = f"{engine.name} published scores of {len(published)} accounts, and {accounts} have events"
        raise EngineError(message)
    check_scores(engine.name, {account: published[account] for account in expected if account in published}, expected)


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
