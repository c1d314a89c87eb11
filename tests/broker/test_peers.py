"""`vitals peers` against a real Kafka: percentiles include the accounts of all partitions, also after restarts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from schemas.topics import PEERS
from tests.broker.child import ChildProcess
from tests.faults import topic_log
from tests.faults.deployment import Deployment
from tests.faults.events import DAY_MS, END_MS, HOUR_MS, USAGE, accounts_of, event
from tests.faults.worker_process import ROOT, clean_environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.topic_log import Message

pytestmark = pytest.mark.broker

POLICY = """
name = "peers"

[measures.usage]
source = "product-usage"
stat = "count"
window = "30d"
compare = "peers"
normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }
weight = 1
missing = "neutral"

[scores.health]
min_change = 1.0
bands = [{ name = "all", from = 0 }]
"""
ACCOUNTS = [*accounts_of(0, 2), *accounts_of(1, 2)]
"""Two of each of two partitions."""
_MIDNIGHT_MS = END_MS - DAY_MS


def process(deployment: Deployment, log: Path, *arguments: str) -> ChildProcess:
    command = [sys.executable, "-m", "agents", "peers", *arguments]
    return ChildProcess(command, log=log, env=clean_environment({**deployment.settings, "peers_port": 0}), cwd=ROOT)


def use(time_ms: int, *counts: int) -> list[Message]:
    """`counts` events of each account from a time on."""
    return [
        event(USAGE, f"{account}-{time_ms}-{number}", account, time_ms + number)
        for account, count in zip(ACCOUNTS, counts, strict=True)
        for number in range(count)
    ]


def percentiles(deployment: Deployment) -> list[float | None]:
    scores = deployment.scores()
    return [
        scores[account]["scores"]["health"]["factors"][0]["value"] if account in scores else None
        for account in ACCOUNTS
    ]


@pytest.mark.faults
def test_peers_of_all_partitions(tmp_path: Path) -> None:
    with Deployment(tmp_path, policy=POLICY) as deployment:
        deployment.send(use(_MIDNIGHT_MS - 2 * HOUR_MS, 1, 3, 2, 4))
        # Each partition passes midnight.
        deployment.send([event("engagement", f"e{name}", name, _MIDNIGHT_MS + 1, kind="meeting") for name in ACCOUNTS])
        worker = deployment.start()
        deployment.until_done()
        assert percentiles(deployment) == [None] * 4
        once = process(deployment, tmp_path / "once.log", "--once")
        assert once.wait(60) == 0, once.log_tail()
        # 1, 3 in one partition, 2, 4 in the other: 0.5, 2.5, 1.5, 3.5 of 4.
        deployment.until(
            lambda: percentiles(deployment) == [12.5, 62.5, 37.5, 87.5], "all are compared with their peers"
        )
        records = topic_log.read(deployment.kafka.bootstrap, [PEERS])[PEERS]
        assert [record.partition for record in records] == list(range(topic_log.PARTITIONS))
        assert len({record.value for record in records}) == 1
        assert {change["cause"] for change in deployment.documents("health.score-changes")} == {"event", "peers"}

        # Another process finds the table of this midnight and publishes the next; the worker is killed meanwhile.
        follower = process(deployment, tmp_path / "follower.log")
        deployment.kill(worker)
        deployment.send(use(END_MS - HOUR_MS, 9, 0, 0, 0))
        deployment.start()
        deployment.until_done()
        # 10 with those of this day, which is not over and does not count yet. The old table came back with the state.
        assert percentiles(deployment) == [12.5, 62.5, 37.5, 87.5]
        deployment.send(use(END_MS + 1, 0, 1, 2, 0))
        # At midnight 10, 3, 2, 4: 3.5, 1.5, 0.5, 2.5 of 4.
        deployment.until(lambda: percentiles(deployment) == [87.5, 37.5, 12.5, 62.5], "the next table is applied")
        assert follower.terminate(30) == 0, follower.log_tail()
