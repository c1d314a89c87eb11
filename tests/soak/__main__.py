"""`python -m tests.soak --seconds N`: one worker on a real Kafka for hours, and whether its memory grows.

Owns the options, the samples and the exit status: 1 when memory grows by more than 1 % an hour, when descriptors grow,
or when the worker ends or falls behind. The last line of stdout has the figures.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import psutil
import typer

from agents.kafka.topics import create_topics
from tests.broker.kafka_server import KafkaServer, free_port
from tests.faults.events import TEMPLATE
from tests.faults.topic_log import PARTITIONS
from tests.faults.worker_process import LAG, WorkerProcess
from tests.soak.traffic import ACCOUNTS, Traffic
from tests.soak.verdict import Sample, growth

GROUP = "soak"
SAMPLE_S = 5.0
WARM_UP = 0.35
"""The part of a run after which samples count."""
LEAST_WARM_UP_S = 300.0
DEDUP_IDS = 2_000
"""Ids a generation: even those of rare sources are full before the warm-up ends."""
BEHIND = 50_000
_MIB = 1024 * 1024
_STATE = "vitals_state_bytes"
# A broker that keeps little, so that hours fit on a disk.
_BROKER = {
    "log.segment.bytes": str(16 * _MIB),
    "log.retention.bytes": str(64 * _MIB),
    "log.retention.check.interval.ms": "30000",
    "log.cleaner.backoff.ms": "5000",
}


def run(
    seconds: Annotated[float, typer.Option(min=60, help="How long it runs, warm-up included.")] = 7200,
    rate: Annotated[int, typer.Option(min=10, help="Events a second.")] = 2000,
) -> None:
    """Run, print a sample a minute, and judge."""
    with tempfile.TemporaryDirectory(prefix="vitals-soak-") as folder, KafkaServer(settings=_BROKER) as kafka:
        create_topics(kafka.bootstrap, PARTITIONS, GROUP)
        policy = Path(folder) / "policy.toml"
        policy.write_text(TEMPLATE, "utf-8")
        settings = {"broker": kafka.url, "group": GROUP, "policy": policy, "dedup_ids": DEDUP_IDS}
        worker = WorkerProcess(settings, web_port=free_port(), log=Path(folder) / "worker.log")
        try:
            with Traffic(kafka.bootstrap, rate) as traffic:
                samples = _sample(worker, traffic, seconds)
            lag = sum(worker.samples().get(LAG, {}).values())
            sent = traffic.sent
        finally:
            worker.kill()
    warm_up = max(LEAST_WARM_UP_S, seconds * WARM_UP)
    judged = growth([sample for sample in samples if sample.at_s >= min(warm_up, seconds / 2)])
    problems = judged.problems + ([f"{lag:.0f} records behind"] if lag > BEHIND else [])
    typer.echo(
        f"{seconds:.0f} s, {sent:,} events ({sent / seconds:,.0f}/s), {ACCOUNTS:,} accounts: memory "
        f"{judged.rss / _MIB:.1f} MiB, {judged.percent_an_hour:+.2f} % an hour (+-{judged.error:.2f}), descriptors "
        f"{samples[-1].descriptors} ({judged.descriptors:+d})"
    )
    for problem in problems:
        typer.echo(problem, err=True)
    raise typer.Exit(1 if problems else 0)


def _sample(worker: WorkerProcess, traffic: Traffic, seconds: float) -> list[Sample]:
    samples: list[Sample] = []
    process, began = psutil.Process(worker.pid), time.monotonic()
    while (at_s := time.monotonic() - began) < seconds:
        if worker.wait(SAMPLE_S) is not None or traffic.error is not None:
            raise SystemExit(f"it ended after {at_s:.0f} s: {traffic.error}\n{worker.last_words()}")
        samples.append(Sample(at_s, process.memory_info().rss, process.num_fds()))
        if len(samples) % 12 == 0:
            metrics = worker.samples()
            lag, state = (sum(metrics.get(name, {}).values()) for name in (LAG, _STATE))
            typer.echo(
                f"{at_s:6.0f} s  {samples[-1].rss / _MIB:7.1f} MiB, of it state {state / _MIB:.2f}  "
                f"{samples[-1].descriptors} descriptors  {traffic.sent:,} sent  lag {lag:.0f}",
            )
    return samples


if __name__ == "__main__":
    typer.run(run)
