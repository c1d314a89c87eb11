"""`vitals mapper` against a real Kafka: foreign records are scored, also over a kill, and bad ones can be replayed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from schemas.topics import MAPPER_DLQ
from tests.broker.child import ChildProcess
from tests.faults import topic_log
from tests.faults.deployment import Deployment
from tests.faults.events import END_MS, HOUR_MS
from tests.faults.worker_process import ROOT, clean_environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.broker

HOOKS = "stripe-hooks"
_ACCOUNTS = 40


def hook(
    number: int, *, kind: str = "invoice.payment_failed", customer: str | None = None, identity: str = ""
) -> topic_log.Message:
    value = {
        "id": f"evt_{number}{identity}",
        "object": "event",
        "type": kind,
        "created": (END_MS - 24 * HOUR_MS) // 1000 + number,
        "data": {"object": {"customer": customer, "amount_due": 100 * number, "currency": "eur"}},
    }
    return topic_log.Message(
        HOOKS, None, json.dumps(value).encode(), END_MS - 24 * HOUR_MS + 1000 * number, partition=number % 3
    )


def mapper(*arguments: str, mapping: str = "stripe") -> list[str]:
    return [sys.executable, "-m", "agents", "mapper", HOOKS, "--mapping", mapping, *arguments]


def environment(deployment: Deployment) -> dict[str, str]:
    return clean_environment({"broker": deployment.kafka.url, "mapper_port": 0, "partitions": topic_log.PARTITIONS})


def done(deployment: Deployment, *command: str) -> str:
    completed = subprocess.run(
        command, env=environment(deployment), cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


def test_foreign_records_are_scored_and_what_cannot_be_mapped_is_replayed(tmp_path: Path) -> None:
    # long because: one deployment; every step starts from the state that the previous one left
    with Deployment(tmp_path) as deployment:
        deployment.kafka.create_topics({HOOKS: {"partitions": 3, "config": {"max.message.bytes": "3000000"}}})
        hooks = [hook(number, customer=f"cus_{number % _ACCOUNTS}") for number in range(400)]
        deployment.send(hooks[:200])
        killed = ChildProcess(mapper(), log=tmp_path / "mapper.log", env=environment(deployment), cwd=ROOT)
        deployment.until(lambda: any(topic_log.ends(deployment.kafka.bootstrap, ["billing"]).values()), "it writes")
        killed.kill()
        large = hook(402, customer="cus_1", identity="x" * 1_500_000)
        deployment.send([*hooks[200:], large, hook(400), hook(401, kind="charge.refunded", customer="cus_1")])
        done(deployment, *mapper("--once"))
        worker = deployment.start()
        settled = sum(topic_log.ends(deployment.kafka.bootstrap, ["billing"]).values())
        assert settled >= len(hooks)
        deployment.until_settled(settled)
        assert worker.settled()["billing", "applied"] == len(hooks), "each counts once, although some are written twice"
        deployment.until(lambda: len(deployment.scores()) == _ACCOUNTS, "each account has a score")
        letters = topic_log.read(deployment.kafka.bootstrap, [MAPPER_DLQ.name])[MAPPER_DLQ.name]
        assert {dict(letter.headers)["vitals.error.reason"]: letter.value for letter in letters} == {
            b"mapping_failed": hook(400).value,
            b"too_large": large.value,
        }
        done(deployment, sys.executable, "-m", "agents", "dlq", "discard", "--reason", "too_large")
        listed = done(deployment, sys.executable, "-m", "agents", "dlq", "list", "--json")
        groups = {(group["topic"], group["reason"]): group["open"] for group in json.loads(listed)}
        assert groups == {(MAPPER_DLQ.name, "mapping_failed"): 1, (MAPPER_DLQ.name, "too_large"): 0}
        lenient = (ROOT / "deploy/mappings/stripe.toml").read_text("utf-8")
        name = '"data.object.customer.id || data.object.customer"'
        lenient = lenient.replace(name, "\"data.object.customer || 'nobody'\"")
        (tmp_path / "lenient.toml").write_text(lenient, "utf-8")
        done(deployment, sys.executable, "-m", "agents", "dlq", "replay", "--topic", MAPPER_DLQ.name)
        done(deployment, *mapper("--once", mapping=str(tmp_path / "lenient.toml")))
        deployment.until(lambda: "nobody" in deployment.scores(), "the replayed record has a score")
