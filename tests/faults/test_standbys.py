"""Row 33: a worker is killed whose partitions have standbys: another one takes over, with the end of the changelog."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.deployment import Deployment
from tests.faults.events import company
from tests.faults.refusals import CHANGELOG
from tests.faults.topic_log import PARTITIONS, ends

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.worker_process import WorkerProcess

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

_LAG = "vitals_standby_lag_records"


def log_lines(folder: Path, instance: str, event: str) -> list[dict[str, Any]]:
    """The log records of a worker with this event."""
    lines = (folder / f"{instance}.log").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines if line.startswith("{") and f'"{event}"' in line]
    return [record for record in records if record.get("event") == event]


def until_standbys_are_ready(deployment: Deployment, workers: list[WorkerProcess]) -> None:
    """Wait until each partition has a standby that has read all of its changelog."""

    def are_ready() -> bool:
        lags = [lag for worker in workers for lag in worker.samples().get(_LAG, {}).values()]
        return len(lags) == PARTITIONS and not any(lags)

    deployment.until(are_ready, "each partition has a standby that is ready")


def test_a_standby_takes_over_and_reads_only_the_end_of_the_changelog(tmp_path: Path, fault: Callable) -> None:
    events = company(60, 40)
    first, half = len(events) // 10, len(events) // 2
    with Deployment(tmp_path, standbys=1) as deployment:
        sent = deployment.send(events[:first])
        workers = {name: deployment.start(name) for name in ("one", "two")}
        deployment.until(lambda: all(worker.settled() for worker in deployment.workers), "both have partitions")
        sent += deployment.send(events[first:half])
        deployment.until_done()
        until_standbys_are_ready(deployment, deployment.workers)
        deployment.kill(workers["one"])
        changelog = ends(deployment.kafka.bootstrap, [CHANGELOG])
        sent += deployment.send(events[half:])
        deployment.until_done()
        taken = {line["partition"]: line for line in log_lines(tmp_path, "two", "standby_took_over")}
        assert len(taken) == PARTITIONS // 2
        for partition, line in taken.items():
            end = changelog[CHANGELOG, partition]
            assert line["read_up_to"] > 50, "a standby that has read nothing reads only the end of nothing"
            assert end - 20 <= line["read_up_to"] <= end
            assert 0 <= line["read_since"] <= 20
        figures = deployment.judge()
        assert figures["sent"] == sent == figures["applied"]
    fault("33 a worker with standbys is killed", figures)


def test_standbys_of_two_workers_killed_in_turn_change_nothing(tmp_path: Path, fault: Callable) -> None:
    events = company(60, 40)
    size = len(events) // 5
    with Deployment(tmp_path, standbys=1) as deployment:
        workers = {name: deployment.start(name) for name in ("one", "two")}
        sent = 0
        for number in range(4):
            sent += deployment.send(events[number * size : (number + 1) * size])
            name = ("one", "two")[number % 2]
            deployment.kill(workers[name])
            deployment.until_done()
            workers[name] = deployment.start(name)
            if number % 2:
                deployment.until_done()
                until_standbys_are_ready(deployment, deployment.workers)
        assert deployment.stop(workers.pop("one")) == 0
        sent += deployment.send(events[4 * size :])
        deployment.until_done()
        figures = deployment.judge()
        assert figures["sent"] == sent == figures["applied"]
    fault("33 workers with standbys killed in turn", figures)
