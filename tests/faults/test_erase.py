"""Row 22: an account is erased, and the worker is killed in the commit with the erasure.

Real Kafka, Redis, board and roll-up. After compaction the segments on disk of every compacted topic are read as bytes:
neither the account's id nor the hash of one of its users is in them.
"""

from __future__ import annotations

import http.client
import json
import struct
import sys
from typing import TYPE_CHECKING, Any, Self

import pytest

from schemas.topics import ALERTS, CHANGES, ROLLUPS, SCORES, SHADOW
from stream.columns.hash_index import stable_hash
from tests.broker.child import ChildProcess
from tests.broker.kafka_server import free_port
from tests.broker.redis_server import RedisServer
from tests.driving.boards import TOKEN
from tests.faults import topic_log, verdict
from tests.faults.deployment import GROUP, Deployment
from tests.faults.events import END_MS, HOUR_MS, USAGE, accounts_of, event
from tests.faults.test_commit_steps import dies_at
from tests.faults.topic_log import PARTITIONS, Message
from tests.faults.worker_process import ROOT, WorkerProcess, clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.faults

VICTIM = "victim-of-partition-"
USERS = [f"secret-user-{number}" for number in range(3)]
GROUP_PARENT = "parent-of-all"
CHANGELOG = f"{GROUP}-accounts-changelog"
COMPACTED = (CHANGELOG, SCORES, SHADOW, ROLLUPS)
POLICY = """
name = "users"

[measures.users]
source = "product-usage"
stat = "distinct_users"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 1000 }
weight = 1

[scores.health]
min_change = 0
bands = [{ name = "many", from = 50 }, { name = "few", from = 0, alert = "warning" }]
"""
AT_ONCE = {
    "log.roll.ms": "500",
    "log.cleaner.backoff.ms": "200",
    "log.cleaner.min.cleanable.ratio": "0.0001",
    "log.cleaner.delete.retention.ms": "100",
}
"""A broker that compacts at once, and removes tombstones at once."""


def use(account: str, user: str, number: int) -> Message:
    return event(USAGE, f"{account}-{user}-{number}", account, END_MS + number, user_id=user)


def profile(account: str) -> Message:
    return event("accounts", f"profile-{account}", account, END_MS, name=f"Name {account}", parent_id=GROUP_PARENT)


def on_disk(deployment: Deployment, *needles: bytes) -> dict[str, int]:
    """How often any of these bytes is in the segments of each compacted topic."""
    counts = dict.fromkeys(COMPACTED, 0)
    for topic in COMPACTED:
        for number in range(PARTITIONS):
            for segment in (deployment.kafka.home / "data" / f"{topic}-{number}").glob("*.log"):
                try:
                    content = segment.read_bytes()
                except FileNotFoundError:  # replaced by a compacted one meanwhile: look again
                    counts[topic] += 1
                else:
                    counts[topic] += sum(content.count(needle) for needle in needles)
    return counts


def hashes() -> list[bytes]:
    """The users as pages have them."""
    return [struct.pack("<Q", stable_hash(user)) for user in USERS]


class Readers:
    """A Redis sink, a board and a roll-up."""

    def __init__(self, deployment: Deployment, redis: RedisServer, folder: Path) -> None:
        self._redis = redis
        port = free_port()
        settings = {**deployment.settings, "board_port": port, "board_token": TOKEN}
        self.board = WorkerProcess(settings, web_port=port, log=folder / "board.log", entry=("-m", "agents", "board"))
        self.others = [
            ChildProcess(
                [sys.executable, "-m", "agents", *command],
                log=folder / f"{command[-1]}.log",
                env=clean_environment({"broker": deployment.kafka.url, **more}),
                cwd=ROOT,
            )
            for command, more in (
                (("sink", "redis"), {"redis_url": redis.url, "redis_metrics_port": free_port()}),
                (("rollup",), {"rollup_port": free_port()}),
            )
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.board.kill()
        for other in self.others:
            other.kill()

    def board_has(self, account: str) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.board.web_port, timeout=30)
        try:
            connection.request("GET", f"/api/accounts/{account}", headers={"Authorization": f"Bearer {TOKEN}"})
            return connection.getresponse().status == http.client.OK
        except OSError:
            return False
        finally:
            connection.close()

    def redis_has(self, account: str) -> bool:
        with self._redis.client() as client:
            return (
                bool(client.exists(f"vitals:account:{account}"))
                or client.zscore("vitals:score:health", account) is not None
            )


def children(deployment: Deployment) -> int | None:
    """Children of the parent by the last record of its roll-up."""
    rolled = [json.loads(each.value) for each in records(deployment, ROLLUPS) if each.value is not None]
    return rolled[-1]["children"] if rolled else None


def records(deployment: Deployment, topic: str) -> list[Any]:
    return topic_log.read(deployment.kafka.bootstrap, [topic])[topic]


def open_alerts(deployment: Deployment, account: str) -> list[str]:
    last = {each["rule"]: each for each in deployment.documents(ALERTS) if each["account_id"] == account}
    return [rule for rule, alert in last.items() if alert["status"] == "firing"]


def test_an_erased_account_leaves_nothing(tmp_path: Path, fault: Callable[[str, dict[str, int]], None]) -> None:
    # long because: one account from its first event to its last byte
    (victim,) = accounts_of(1, 1, VICTIM)
    others = [account for number in range(PARTITIONS) for account in accounts_of(number, 2)]
    with (
        Deployment(tmp_path, policy=POLICY, broker=AT_ONCE) as deployment,
        RedisServer(tmp_path) as redis,
        Readers(deployment, redis, tmp_path) as readers,
    ):
        deployment.send([profile(account) for account in (victim, *others)])
        deployment.send([use(victim, user, number) for number, user in enumerate(USERS)])
        deployment.send([use(account, "somebody", 1) for account in others])
        worker = deployment.start()
        deployment.until_done()
        deployment.until(lambda: readers.board_has(victim) and readers.redis_has(victim), "the account is shown")
        deployment.until(lambda: children(deployment) == len(others) + 1, "the account is rolled up")
        assert open_alerts(deployment, victim) == ["band:health:few"]
        deployment.stop(worker)
        before = on_disk(deployment, victim.encode(), *hashes())
        assert before[CHANGELOG] >= 1 + len(USERS)
        assert before[SCORES], "else this would find nothing of any account"

        deployment.send(
            [event("controls", "erase", victim, END_MS - 400 * 24 * HOUR_MS, timestamp_ms=END_MS + 1000, kind="erase")]
        )
        dies_at(deployment, "outputs", 1)
        deployment.start()
        deployment.until_done()
        assert not open_alerts(deployment, victim)
        resolved = [each for each in deployment.documents(ALERTS) if each["account_id"] == victim][-1]
        assert resolved["annotations"] == {"reason": "the account was erased"}
        for topic in (SCORES, CHANGES):
            assert [each for each in records(deployment, topic) if each.key == victim.encode()][-1].value is None
        deployment.until(lambda: not readers.board_has(victim), "the account leaves the board")
        deployment.until(lambda: not readers.redis_has(victim), "the account leaves Redis")
        deployment.until(lambda: children(deployment) == len(others), "the account leaves its parent")

        rounds = 0

        def compacted() -> bool:
            # Kafka does not compact the segment that it writes to: the others' events begin new ones.
            nonlocal rounds
            rounds += 1
            deployment.send([use(account, f"user-{rounds}", 2000 + rounds) for account in others])
            return not any(on_disk(deployment, victim.encode(), *hashes()).values())

        took_s = deployment.until(compacted, "the bytes are gone")
        deployment.until_done()
        assert on_disk(deployment, others[0].encode())[CHANGELOG]

        deployment.send([use(victim, "new-user", 9000)])
        deployment.until_done()
        log = deployment.input_log()
        expected = log.scores(POLICY)
        assert expected[victim].factors[0][1] == 1, "of four users only the one after the erasure"
        assert verdict.score_differences(expected, deployment.scores()) == []
        figures = {"on disk before": sum(before.values()), "after": 0, "seconds": round(took_s), "rounds": rounds}
    fault("22 erase an account", figures)
