"""The gauges of a worker: how far behind it is, what its accounts are like, how large its state is.

Owns what is measured only at a scrape; counters are increased where things happen. Called by
`agents.worker.monitoring.health`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from prometheus_client import Gauge

from agents.worker.monitoring.metrics import Telemetry
from agents.worker.tasks.processor import Processor
from agents.worker.tasks.standby import Standbys
from agents.worker.tasks.task import PartitionTask
from schemas.sources import Sources
from stream.engine.engine import Engine
from stream.engine.statistics import accounts_by_band, accounts_by_state, accounts_full_of_things, state_bytes
from stream.plan.plan import Plan


def measure(processor: Processor, telemetry: Telemetry) -> None:
    """Bring the gauges up to date."""
    tasks = processor.with_engine()
    engines = [task.engine for task in tasks]
    shadows = [task.pair.shadow.engine for task in tasks if task.pair.shadow is not None]
    telemetry.lag.clear()
    for task in tasks:
        for topic, count in processor.lag(task).items():
            telemetry.lag.labels(topic, str(task.partition)).set(count)
    _measure_bands(processor.plan, engines, telemetry.accounts)
    states: Counter[str] = Counter()
    for engine in engines:
        states.update(accounts_by_state(engine))  # the sum of counters would leave out a status that has become empty
    for state, count in states.items():
        telemetry.account_states.labels(state).set(count)
    telemetry.shadow_accounts.clear()
    if shadows:
        _measure_bands(shadows[0].plan, shadows, telemetry.shadow_accounts)
    telemetry.settled.clear()
    topic_of = processor.plan.sources.topic_of
    for (source, outcome), count in sum((engine.settled for engine in engines), Counter()).items():
        telemetry.settled.labels(topic_of.get(source, source), outcome).set(count)
    _measure_sources(tasks, engines, telemetry, processor.plan.sources)
    telemetry.state_rows.set(sum(len(engine.accounts) for engine in engines))
    telemetry.things_full.set(sum(accounts_full_of_things(engine) for engine in (*engines, *shadows)))
    telemetry.state_bytes.set(sum(state_bytes(engine) for engine in (*engines, *shadows)))


def measure_standbys(standbys: Standbys, end_of: Callable[[int], int | None], telemetry: Telemetry) -> None:
    """Bring the gauges of standbys up to date; `end_of` says where the changelog of a partition ends."""
    telemetry.standby_lag.clear()
    for partition, standby in standbys.items():
        lag = max(0, (end_of(partition) or 0) - (standby.read_up_to or 0))
        telemetry.standby_lag.labels(str(partition)).set(lag)
    telemetry.standby_rows.set(sum(standby.collected.rows() for standby in standbys.values()))


def _measure_bands(plan: Plan, engines: Sequence[Engine], gauge: Gauge) -> None:
    by_engine = [accounts_by_band(engine) for engine in engines]
    for index, score in enumerate(plan.policy.scores):
        bands = sum((bands[index] for bands in by_engine), np.zeros(len(score.bands), dtype=np.int64))
        for band, count in zip(score.bands, bands.tolist(), strict=True):
            gauge.labels(score.name, band.name).set(count)


def _measure_sources(
    tasks: Sequence[PartitionTask], engines: Sequence[Engine], telemetry: Telemetry, sources: Sources
) -> None:
    """Idle sources, the age of peer tables, the newest event, and since when ids are known."""
    telemetry.stalled.clear()
    telemetry.peers.clear()
    for task in tasks:
        for source in task.engine.time.source_clocks:
            stalled = source in task.engine.idle_source_alerts.open
            telemetry.stalled.labels(sources.topic_of[source], str(task.partition)).set(stalled)
        if (table := task.engine.peers.message) is not None:
            telemetry.peers.labels(str(task.partition)).set(table.as_of / 1000)
    for source in sources.of_events:
        newest = [engine.time.watermarks[source] for engine in engines if source in engine.time.watermarks]
        if newest:
            telemetry.watermark.labels(sources.topic_of[source]).set(max(newest) / 1000)
        seen = [engine.seen[source].horizon_ms for engine in engines if source in engine.seen]
        horizons = [horizon for horizon in seen if horizon is not None]
        if horizons:
            telemetry.dedup_horizon.labels(sources.topic_of[source]).set(max(horizons) / 1000)
