"""`vitals status` against a real Kafka and real workers: what it shows while they work, are frozen, and are gone."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.broker.test_dlq import vitals
from tests.faults.deployment import Deployment
from tests.faults.events import END_MS, HOUR_MS, USAGE, event
from tests.faults.topic_log import PARTITIONS, Message

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.worker_process import WorkerProcess

pytestmark = pytest.mark.broker

TIME_MS = END_MS - HOUR_MS


def status(deployment: Deployment, *workers: WorkerProcess) -> tuple[int, Any]:
    """Status and answer of the command."""
    urls = [argument for worker in workers for argument in ("--worker", f"http://127.0.0.1:{worker.web_port}")]
    done = vitals(deployment, "status", "--json", *urls)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def uses(first: int, count: int) -> list[Message]:
    return [
        event(USAGE, f"e{number}", f"acct-{number % 20}", TIME_MS + number, user_id=f"u{number}")
        for number in range(first, first + count)
    ]


def waiting(answer: Any, topic: str = USAGE) -> int:
    return sum(lag["records"] for lag in answer["inputs"] if lag["topic"] == topic)


@pytest.mark.faults
def test_workers_lag_and_dead_letters_are_shown_and_a_frozen_worker_is_a_problem(tmp_path: Path) -> None:
    # long because: one deployment; each step changes what the previous one left
    with Deployment(tmp_path, session_timeout_s=60) as deployment:
        code, answer = status(deployment)
        assert code == 1
        assert answer["problems"][0].startswith("no worker runs in the group")
        bad = Message(USAGE, b"acct-1", b"{", TIME_MS)
        deployment.send([*uses(0, 100), bad])
        assert waiting(status(deployment)[1]) == 101
        worker = deployment.start()
        deployment.until_done()
        code, answer = status(deployment, worker)
        assert (code, answer["problems"], waiting(answer)) == (0, [], 0)
        (member,) = answer["group"]["members"]
        assert (member["instance"], member["host"]) == ("one", "127.0.0.1")
        assert member["tasks"][USAGE] == list(range(PARTITIONS))
        (letters,) = answer["dead_letters"]
        assert (letters["topic"], letters["reason"], letters["open"]) == (f"{USAGE}.dlq", "malformed_json", 1)
        assert max(lag["newest"] for lag in answer["inputs"] if lag["newest"]) == TIME_MS + 99
        assert answer["outputs"][0]["newest"] is not None
        (shown,) = answer["workers"]
        assert (shown["accounts"], shown["restore_left"]) == (20, 0)
        assert shown["version"]
        assert shown["watermarks"][USAGE] == TIME_MS + 99
        assert "no problems" in vitals(deployment, "status").stdout
        os.kill(worker.pid, signal.SIGSTOP)
        deployment.send(uses(100, 40))
        code, answer = status(deployment)
        assert code == 1
        assert "records wait, and none was committed" in answer["problems"][0]
        os.kill(worker.pid, signal.SIGCONT)
        deployment.until_done()
        assert status(deployment, worker)[0] == 0
