"""Measures how long after an event its account's new score is in Kafka, at steady 10,000 and 1,000 events a second.

Owns the method. Both times are the broker's own: input and output topic stamp records as they append them, so no clock
of a client and no reader is in the figure. Each hundredth event belongs to an account never seen before, so the first
score of that account, and its first alert, answer that event and no other. The first seconds are left out.
Must not know how engines work. Called by `__main__`.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tests.bench.engine import Engine, Run
from tests.bench.loading import end_offsets, load, read_all
from tests.bench.pacer import PROBE
from tests.bench.progress import EngineError, wait_for
from tests.bench.rules import PARTITIONS
from tests.bench.workload import ACCOUNTS, USAGE_TOPIC, first_events
from tests.broker.jars import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.bench.loading import Rows
    from tests.broker.kafka_server import KafkaServer

RATES = (10_000, 1_000)
"""Events a second."""
SECONDS = 20.0
_SETTLE_S = 30.0
_REACHED_SHARE = 0.95
_STOP_WITHIN_S = 30.0
_BY_THE_BROKER = {"message.timestamp.type": "LogAppendTime"}


class Percentiles(NamedTuple):
    """Milliseconds."""

    p50: float
    p99: float
    p999: float


@dataclass(frozen=True)
class Latency:
    """Milliseconds from the append of an event to the append of its score, and of its alert where there are alerts."""

    label: str
    scores: Percentiles
    samples: int
    rate: float
    alerts: Percentiles | None


def measure_latency(
    kafka: KafkaServer, engine: Engine, rate: int, *, folder: Path, tell: Callable[[str], None]
) -> Latency:
    """Start the engine on an empty broker, let it see every account once, then send at the rate for 30 + 20 s.

    Raises:
        EngineError: the engine failed, the sender could not hold the rate, or probes were not answered.

    """
    run = Run(kafka, f"bench-{engine.name}-{uuid.uuid4().hex[:8]}", USAGE_TOPIC, folder, (USAGE_TOPIC,))
    scores = engine.scores_topic(run)
    alerts = engine.alerts_topic()
    names = [name for name in (USAGE_TOPIC, scores, alerts) if name is not None]
    kafka.create_topics({name: {"partitions": PARTITIONS, "config": _BY_THE_BROKER} for name in names})
    known = first_events(ACCOUNTS, until_ms=time.time_ns() // 1_000_000)
    asyncio.run(load(kafka, USAGE_TOPIC, known))
    tell(f"{engine.label}: {rate:,} events/s for {_SETTLE_S + SECONDS:.0f} s")
    with kafka.admin() as admin:
        process = engine.start(run)
        try:
            wait_for(partial(engine.progress, admin, run), process, run.group, records=len(known))
            reached = _pace(kafka, rate)
            wait_for(
                partial(engine.progress, admin, run),
                process,
                run.group,
                records=sum(end_offsets(kafka, USAGE_TOPIC).values()),
            )
        finally:
            process.terminate(_STOP_WITHIN_S)
    events = asyncio.run(read_all(kafka, USAGE_TOPIC, {}))
    waited = answer_times(events, asyncio.run(read_all(kafka, scores, {})))
    alerted = None
    if alerts is not None:
        alerted = percentiles(answer_times(events, asyncio.run(read_all(kafka, alerts, {}))))
    return Latency(engine.label, percentiles(waited), len(waited), reached, alerted)


def percentiles(waited: list[int]) -> Percentiles:
    """Of all samples."""
    return Percentiles(*np.percentile(waited, [50, 99, 99.9]).tolist())


def _pace(kafka: KafkaServer, rate: int) -> float:
    command = [sys.executable, "-m", "tests.bench.pacer", kafka.bootstrap, USAGE_TOPIC, str(rate)]
    seconds = _SETTLE_S + SECONDS
    done = subprocess.run(
        [*command, str(seconds)], cwd=REPOSITORY, capture_output=True, text=True, timeout=seconds * 5, check=True
    )
    reached = float(done.stdout)
    if reached < rate * _REACHED_SHARE:
        message = f"only {reached:,.0f} of {rate:,} events/s could be sent: leave the machine alone while this runs"
        raise EngineError(message)
    return reached


def answer_times(events: Rows, scores: Rows) -> list[int]:
    """Milliseconds from each probe, after the first seconds, to the first score of its account.

    Args:
        events: all input records, stamped with their append times.
        scores: all published scores, likewise, each account's in order.

    Raises:
        EngineError: a probe has no score.

    """
    asked = {key: at_ms for key, _, at_ms in events if key.startswith(PROBE)}
    begin = min(asked.values()) + _SETTLE_S * 1000
    answered: dict[bytes, int] = {}
    for key, _, at_ms in scores:
        answered.setdefault(key, at_ms)
    missing = asked.keys() - answered.keys()
    if missing:
        message = f"{len(missing)} of {len(asked)} new accounts never got a score, such as {min(missing)!r}"
        raise EngineError(message)
    return [answered[key] - at_ms for key, at_ms in asked.items() if at_ms >= begin]
