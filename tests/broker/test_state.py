"""`vitals state` with real workers and Apache Kafka: after each command workers publish what the oracle says."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from kafka import KafkaProducer

from agents.kafka.partitions import partition_of
from schemas.topics import changelog
from tests.faults import topic_log, verdict
from tests.faults.deployment import GROUP, PATIENCE_S, Deployment
from tests.faults.events import TEMPLATE, company
from tests.faults.worker_process import ROOT, clean_environment
from tests.oracle import engine as oracle

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.broker

EXIT_REFUSED = 71
CHANGELOG = changelog(GROUP).name
EVENTS = company(40, 30)
THIRDS = EVENTS[: len(EVENTS) // 3], EVENTS[len(EVENTS) // 3 : 2 * len(EVENTS) // 3], EVENTS[2 * len(EVENTS) // 3 :]


def vitals(settings: Mapping[str, object], *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agents", "state", *map(str, arguments)],
        env=clean_environment(settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def done(settings: Mapping[str, object], *arguments: object) -> dict[str, Any]:
    """The JSON of a command that must succeed, once the group does not list a worker that has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        finished = vitals(settings, *arguments, "--json")
        if "stop all workers first" not in finished.stderr or time.monotonic() > deadline:
            break
    assert finished.returncode == 0, finished.stderr
    answer: dict[str, Any] = json.loads(finished.stdout)
    return answer


def work(deployment: Deployment, partitions: int = 4) -> None:
    """Let a worker apply everything, and stop it."""
    worker = deployment.start(partitions=partitions)
    deployment.until(lambda: not deployment.not_committed(), "all records committed")
    assert deployment.stop(worker) == 0


def assert_exact(monkeypatch: pytest.MonkeyPatch, *generations: tuple[Deployment, int]) -> None:
    """Fail unless the scores and the chain of changes are the oracle's for the partition count of the last deployment.

    `generations` are deployments in turn with their partition counts. Of an account with records in two partitions, the
    one with the larger revision is the later one.
    """
    records, scores, changes = list[oracle.Record](), list[dict](), list[dict]()
    for shift, (deployment, partitions) in enumerate(generations):
        monkeypatch.setattr(topic_log, "PARTITIONS", partitions)
        inputs = topic_log.read(deployment.kafka.bootstrap, verdict.SOURCES)
        for record in (record for topic in inputs.values() for record in topic):
            assert record.key is not None
            home = partition_of(record.key, generations[-1][1])
            offset = (shift * 100 + record.partition) * 1_000_000 + record.offset
            records.append(oracle.Record(record.topic, home, offset, record.timestamp_ms, record.key, record.value))
        scores += deployment.documents(verdict.SCORES)
        changes += deployment.documents(verdict.CHANGES)
    expected = oracle.final_scores(records, TEMPLATE, verdict.FAR_FUTURE_MS)
    latest = {message["account_id"]: message for message in sorted(scores, key=lambda message: message["revision"])}
    differences = verdict.score_differences(expected, latest)
    assert not differences, differences[:5]
    differences = verdict.change_differences(sorted(changes, key=lambda change: change["revision"]), expected, 1.0)
    assert not differences, differences[:5]


@pytest.mark.faults  # the longest of all; the test below and that of rights run `vitals state` on a real Kafka in CI
def test_damaged_grown_and_rebuilt_state_stays_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Deployment(tmp_path) as deployment:
        settings = deployment.settings
        deployment.send(THIRDS[0])
        worker = deployment.start()
        deployment.until_done()
        refused = vitals(settings, "rebuild")
        assert (refused.returncode, "stop all workers first" in refused.stderr) == (1, True), refused.stderr
        running = done(settings, "export", tmp_path / "running.jsonl")
        assert deployment.stop(worker) == 0

        exported = done(settings, "export", tmp_path / "stopped.jsonl.gz")
        assert exported["not_final"] == []
        assert exported["accounts"] == running["accounts"] == len(deployment.scores())
        imported = done(settings, "import", tmp_path / "stopped.jsonl.gz", "--replace")
        assert (imported["positions"], imported["moved"]) == ("kept", 0)

        account = min(deployment.scores())
        producer = KafkaProducer(bootstrap_servers=deployment.kafka.bootstrap)
        producer.send(
            CHANGELOG, key=b"r" + account.encode(), value=b"\x01cut", partition=partition_of(account.encode(), 4)
        )
        producer.close()
        worker = deployment.start()
        deployment.workers.remove(worker)
        assert worker.wait(120) == EXIT_REFUSED
        set_aside = done(settings, "quarantine", account, "--to", tmp_path / "aside.jsonl")
        assert set_aside["events"] > 0
        assert set_aside["missing"] == []
        deployment.send(THIRDS[1][:200])
        work(deployment)
        assert_exact(monkeypatch, (deployment, 4))

        deployment.send(THIRDS[1][200:])  # not read before the topics grow
        with deployment.kafka.admin() as admin:
            admin.create_partitions(dict.fromkeys(verdict.SOURCES, 8))
        monkeypatch.setattr(topic_log, "PARTITIONS", 8)
        moved = done(settings, "repartition", tmp_path / "before.jsonl.gz", "--partitions", 8)
        assert 0 < moved["moved"] < moved["accounts"]
        deployment.send(THIRDS[2])
        work(deployment, partitions=8)
        assert_exact(monkeypatch, (deployment, 8))

        rebuilt = done({**settings, "partitions": 8}, "rebuild")
        assert rebuilt["missing"] == []
        work(deployment, partitions=8)
        assert_exact(monkeypatch, (deployment, 8))


@pytest.mark.faults
def test_state_moves_to_another_cluster_with_fewer_partitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.jsonl"
    first, second = Deployment(tmp_path), Deployment(tmp_path, topics=False, partitions=3)
    with first, second:
        first.send([*THIRDS[0], *THIRDS[1]])
        worker = first.start()
        first.until_done()
        assert first.stop(worker) == 0
        done(first.settings, "export", path)
        created = subprocess.run(
            [sys.executable, "-m", "agents", "topics", "--create"],
            env=clean_environment(second.settings),
            cwd=ROOT,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert created.returncode == 0, created.stdout
        imported = done(second.settings, "import", path)
        assert imported["positions"] == "end"
        assert imported["moved"] > 0
        monkeypatch.setattr(topic_log, "PARTITIONS", 3)
        second.send([*THIRDS[1][-100:], *THIRDS[2]])
        work(second, partitions=3)
        assert_exact(monkeypatch, (first, 4), (second, 3))
