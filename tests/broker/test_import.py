"""`vitals import` against a real Kafka: killed in the middle it goes on, and workers score what the files score."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.broker.child import ChildProcess
from tests.faults import topic_log
from tests.faults.deployment import Deployment
from tests.faults.events import END_MS, HOUR_MS
from tests.faults.worker_process import ROOT, clean_environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.broker

USAGE, TICKETS = "product-usage", "support-tickets"
_ACCOUNTS, _USES = 40, 12_000
MAPPING = """
[[map]]
name = "use"
from = "uses*"
to = "product-usage"
[map.fields]
account_id = "Customer"
user_id = "Who"
time = { path = "When", unit = "ms" }
"""


def files_of(folder: Path) -> list[str]:
    """Account by account, as exports are: a CSV without ids, and JSON Lines."""
    per_account = _USES // _ACCOUNTS
    rows = [
        f"acct-{account},u{use % (account + 1)},{END_MS - HOUR_MS * use - account}"
        for account in range(_ACCOUNTS)
        for use in range(per_account)
    ]
    (folder / "uses.csv").write_text("\n".join(["Customer,Who,When", *rows]), "utf-8")
    tickets = [
        {"id": f"t{account}", "account_id": f"acct-{account}", "time": END_MS - 500 * HOUR_MS, "ticket_id": "T"}
        for account in range(0, _ACCOUNTS, 2)
    ]
    lines = [json.dumps({**ticket, "status": "opened"}) for ticket in tickets]
    large = json.dumps({**tickets[0], "id": "large", "status": "opened", "kind": "x" * 1_500_000})
    (folder / f"{TICKETS}.jsonl").write_text("\n".join([*lines, "{", large]), "utf-8")
    (folder / "uses.toml").write_text(MAPPING, "utf-8")
    return ["uses.csv", f"{TICKETS}.jsonl", "--mapping", "uses.toml"]


def sends_for_a_moment(pid: int, bootstrap: str) -> bool:
    """Let a process run for a moment, then stop it; whether it has sent events. All would be sent between two looks."""
    os.kill(pid, signal.SIGCONT)
    time.sleep(0.03)
    os.kill(pid, signal.SIGSTOP)
    return sum(topic_log.ends(bootstrap, [USAGE]).values()) > 0


def test_a_killed_import_goes_on_and_workers_score_what_the_files_score(tmp_path: Path) -> None:
    # long because: one deployment; every step starts from the state that the previous one left
    named = files_of(tmp_path)
    with Deployment(tmp_path) as deployment:
        settings = {"broker": deployment.kafka.url, "policy": tmp_path / "policy.toml"}
        environment = {**clean_environment(settings), "PYTHONPATH": str(ROOT)}

        def vitals(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "agents", *arguments]
            return subprocess.run(
                command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
            )

        command = ["import", *named, "--yes"]
        killed = ChildProcess(
            [sys.executable, "-m", "agents", *command], log=tmp_path / "import.log", env=environment, cwd=tmp_path
        )
        deployment.until((tmp_path / ".vitals-import").exists, "it reads the files")
        deployment.until(lambda: sends_for_a_moment(killed.pid, deployment.kafka.bootstrap), "it sends")
        killed.kill()
        assert sum(topic_log.ends(deployment.kafka.bootstrap, [USAGE]).values()) < _USES
        done = vitals(*command)
        assert done.returncode == 1, done.stderr  # two lines were left out
        assert "going on after " in done.stderr
        assert done.stdout.splitlines()[-1] == f"{_USES + 20:,} of {_USES + 21:,} events are in the topics"
        (rejects,) = (tmp_path / ".vitals-import").glob("*.rejects.jsonl")
        reasons = [json.loads(line)["reason"] for line in rejects.read_text("utf-8").splitlines()]
        assert reasons == ["malformed_json", "too_large"]
        assert "these files have been imported" in vitals(*command).stderr

        stored = topic_log.read(deployment.kafka.bootstrap, [USAGE, TICKETS])
        uses = [(json.loads(record.value or b""), record) for record in stored[USAGE]]
        assert {use["id"] for use, _ in uses} == {f"uses.csv:{line}" for line in range(2, _USES + 2)}
        for use, record in uses:
            assert (record.key, record.timestamp_ms) == (use["account_id"].encode(), use["time"])
            assert record.partition == topic_log.partition_of(use["account_id"].encode())
        for number in range(topic_log.PARTITIONS):
            times = {record.value: record.timestamp_ms for record in stored[USAGE] if record.partition == number}
            assert list(times.values()) == sorted(times.values())

        scored = vitals("score", *named)
        expected = {line["account_id"]: line["scores"] for line in map(json.loads, scored.stdout.splitlines())}
        assert len(expected) == _ACCOUNTS
        large_costs = expected.pop("acct-0")
        worker = deployment.start()
        deployment.until_done()
        assert worker.settled()[USAGE, "applied"] == _USES
        published = {account: message["scores"] for account, message in deployment.scores().items()}
        assert large_costs["health"]["value"] < published.pop("acct-0")["health"]["value"]
        assert {account: scores["health"]["value"] for account, scores in published.items()} == {
            account: pytest.approx(scores["health"]["value"]) for account, scores in expected.items()
        }
