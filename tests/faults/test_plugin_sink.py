"""The sink of another package delivers alerts of a real Kafka in order, and none again after a restart."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from agents.process.plugins import SINKS
from schemas.outputs import Alert
from schemas.topics import ALERTS
from tests.broker.child import ChildProcess
from tests.broker.kafka_server import free_port
from tests.faults import topic_log
from tests.faults.deployment import Deployment
from tests.faults.worker_process import ROOT, clean_environment
from tests.unit.account_vitals.extension import install

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.broker, pytest.mark.faults]
WITHIN_S = 60.0


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp("plugin")) as started:
        yield started


def send(deployment: Deployment, *alerts: Alert) -> None:
    now_ms = time.time_ns() // 1_000_000
    messages = [
        topic_log.Message(ALERTS, alert.account_id.encode(), msgspec.json.encode(alert), now_ms) for alert in alerts
    ]
    topic_log.send(deployment.kafka.bootstrap, messages)


def alert(identity: str, **more: object) -> Alert:
    fired = Alert(identity, "p1", "acme", "low", "critical", "firing", 1_774_000_000_000, None, None, "s", {}, {})
    return msgspec.structs.replace(fired, **more)


def test_alerts_reach_the_sink_of_another_package(deployment: Deployment, tmp_path: Path) -> None:
    install(tmp_path, "other-package", {SINKS: {"pager": "Pager"}})
    settings = {"broker": deployment.kafka.url, "group": f"plugin-{free_port()}", "plugin_port": free_port()}
    environment = {**clean_environment(settings), "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    command = [sys.executable, "-m", "account_vitals", "sink", "plugin", "pager"]
    delivered = tmp_path / "delivered.jsonl"

    def until(*expected: list[str]) -> None:
        deadline = time.monotonic() + WITHIN_S
        while True:
            lines = delivered.read_text("utf-8").splitlines() if delivered.exists() else []
            if [json.loads(line) for line in lines] == list(expected):
                return
            assert time.monotonic() < deadline, (lines, process.log_tail())
            time.sleep(0.1)

    send(deployment, alert("f1"))
    process = ChildProcess(command, log=tmp_path / "first.log", env=environment, cwd=tmp_path)
    until(["firing", "f1"])
    send(deployment, alert("r1", status="resolved", ends_at=1_774_000_060_000))
    until(["firing", "f1"], ["resolved", "r1"])
    assert process.terminate(30) == 0, process.log_tail()

    process = ChildProcess(command, log=tmp_path / "second.log", env=environment, cwd=tmp_path)
    send(deployment, alert("f2", starts_at=1_774_900_000_000))
    until(["firing", "f1"], ["resolved", "r1"], ["firing", "f2"])
    process.kill()
