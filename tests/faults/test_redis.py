"""Row 13: Redis is killed, slow, full and emptied while records are published; a reader checks it all the time.

Real Kafka, real Redis, a real sink process. The test publishes the records, some with an older revision, as a worker
does after a crash; workers know nothing of Redis.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from schemas.topics import SCORES
from tests.broker.child import ChildProcess
from tests.broker.kafka_server import KafkaServer, free_port
from tests.broker.redis_server import RedisServer
from tests.faults import topic_log
from tests.faults.topic_log import PARTITIONS, Message
from tests.faults.worker_process import ROOT, clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.broker

ACCOUNTS = [f"acct-{number}" for number in range(300)]
MORTALS = [f"mortal-{number}" for number in range(20)]
"""Accounts that are deleted and created again: their revisions restart."""
RETURNS_WITHIN_S = 30.0
TIME_MS = 1_750_000_000_000


class ScoreProducer:
    """Publishes scores until it is stopped, about a hundred records at a time; revisions mostly grow."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._random = random.Random(13)
        self._revisions = dict.fromkeys([*ACCOUNTS, *MORTALS], 20_000)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def __enter__(self) -> Self:
        self.publish(ACCOUNTS)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            self.publish(self._random.choices(ACCOUNTS, k=100) + self._random.choices(MORTALS, k=5))

    def publish(self, accounts: list[str]) -> None:
        self.sent += topic_log.send(self._bootstrap, [self._message(account) for account in accounts])

    def _message(self, account: str) -> Message:
        if account in MORTALS and self._random.random() < 0.4:
            self._revisions[account] = 10
            return Message(SCORES, account.encode(), None, TIME_MS)
        self._revisions[account] += 1
        revision = self._revisions[account] - self._random.choice([0, 0, 0, 0, 3])
        value = round(self._random.uniform(0, 100), 3)
        health = {"value": value, "band": "poor" if value < 40 else "good", "factors": [{"measure": "nps"}]}
        record: dict[str, Any] = {"account_id": account, "as_of": TIME_MS + self.sent, "revision": revision}
        record |= {"policy": "p@1", "segment": None, "scores": {"health": health}}
        return Message(SCORES, account.encode(), json.dumps(record).encode(), TIME_MS)


class Watcher:
    """Reads all accounts repeatedly and records every revision that is smaller than one read before."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._seen: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.dropped: list[tuple[str, int, int]] = []
        self.looks = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            try:
                with self._server.client(socket_timeout=1) as client:
                    self._watch(client)
            except redis.RedisError:
                continue

    def _watch(self, client: Any) -> None:
        while not self._stop.wait(0.02):
            with client.pipeline(transaction=False) as pipe:
                for account in ACCOUNTS:
                    pipe.hget(f"vitals:account:{account}", "revision")
                revisions = pipe.execute()
            self.looks += 1
            for account, revision in zip(ACCOUNTS, revisions, strict=True):
                if revision is not None:
                    before, now = self._seen.get(account, 0), int(revision)
                    if now < before:
                        self.dropped.append((account, before, now))
                    self._seen[account] = max(before, now)


class Sink:
    """The sink's process and its metrics."""

    def __init__(self, kafka: KafkaServer, url: str, log: Path) -> None:
        self._port = free_port()
        settings = {"broker": kafka.url, "redis_url": url, "redis_metrics_port": self._port}
        command = [sys.executable, "-m", "agents", "sink", "redis"]
        self.process = ChildProcess(command, log=log, env=clean_environment(settings), cwd=ROOT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()

    def samples(self) -> dict[str, int]:
        """Return its metrics by name and labels; 0 for each until it serves them."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as answer:
                families = text_string_to_metric_families(answer.read().decode())
        except OSError:
            return Counter()
        named = [sample for family in families for sample in family.samples if not sample.name.endswith("_created")]
        return Counter({"/".join([sample.name, *sample.labels.values()]): int(sample.value) for sample in named})


def expected(bootstrap: str) -> dict[str, tuple[int, int, float]]:
    """Return revision, offset and score of each account by the topic: the highest revision since its deletion."""
    latest: dict[str, tuple[int, int, float]] = {}
    for stored in topic_log.read(bootstrap, [SCORES])[SCORES]:
        account = (stored.key or b"").decode()
        if stored.value is None:
            latest.pop(account, None)
            continue
        record = json.loads(stored.value)
        version = (record["revision"], stored.offset, record["scores"]["health"]["value"])
        latest[account] = max(latest.get(account, (0, 0, 0.0)), version)
    return latest


def in_redis(client: Any) -> dict[str, tuple[int, int, float]]:
    """Return the same from Redis."""
    keys = client.keys("vitals:account:*")
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hmget(key, "revision", "offset", "value:health")
        hashes = pipe.execute()
    return {
        key.removeprefix("vitals:account:"): (int(values[0]), int(values[1]), float(values[2]))
        for key, values in zip(keys, hashes, strict=True)
        if None not in values  # deleted meanwhile
    }


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path, "--enable-debug-command", "yes") as started:
        yield started


@pytest.fixture
def kafka() -> Iterator[KafkaServer]:
    with KafkaServer() as started:
        started.create_topics({SCORES: {"partitions": PARTITIONS, "config": {"cleanup.policy": "compact"}}})
        yield started


def until(holds: Callable[[], bool], what: str, within_s: float = RETURNS_WITHIN_S) -> None:
    pause = threading.Event()
    for _ in range(int(within_s / 0.1)):
        if holds():
            return
        pause.wait(0.1)
    pytest.fail(f"not within {within_s:.0f} s: {what}")


def test_redis_killed_slow_full_and_emptied(
    kafka: KafkaServer, server: RedisServer, tmp_path: Path, fault: Callable
) -> None:
    # long because: one Redis; every fault starts from the state that the previous one left
    server.kill()  # unavailable at the start
    with (
        Sink(kafka, server.url, tmp_path / "sink.log") as sink,
        ScoreProducer(kafka.bootstrap) as producer,
        Watcher(server) as watcher,
    ):

        def catches_up(what: str) -> None:
            """Wait until Redis has the records that are in the topic now, while more are published."""
            wanted = {account: revision for account, (revision, _, _) in expected(kafka.bootstrap).items()}

            def there() -> bool:
                with server.client() as client:
                    has = {account: revision for account, (revision, _, _) in in_redis(client).items()}
                return all(has.get(account, 0) >= wanted[account] for account in ACCOUNTS)

            until(there, f"Redis is up to date after it was {what}:\n{sink.process.log_tail()}")

        until(lambda: sink.samples()["vitals_redis_errors_total/away"] > 0, "the sink notices that Redis is away")
        server.start()
        catches_up("unavailable at the start")
        server.kill()
        until(lambda: sink.samples()["vitals_redis_connected"] == 0, "the sink notices the kill")
        server.start()
        catches_up("killed")
        with server.client(socket_timeout=None) as client:
            client.execute_command("DEBUG", "SLEEP", "6.5")
        until(lambda: sink.samples()["vitals_redis_errors_total/slow"] > 0, "the sink notices that Redis is slow")
        catches_up("slow")
        with server.client() as client:
            client.config_set("maxmemory", 1)
            until(lambda: sink.samples()["vitals_redis_errors_total/full"] > 0, "the sink notices that Redis is full")
            client.config_set("maxmemory", 0)
            catches_up("full")
            client.flushall()
            catches_up("emptied")
            producer.stop()
            wanted = expected(kafka.bootstrap)
            until(lambda: in_redis(client) == wanted, "Redis equals the topic")
            ranked = dict(client.zrange("vitals:score:health", 0, -1, withscores=True))
            assert ranked == {account: value for account, (_, _, value) in wanted.items()}
            assert client.hget("vitals:epoch", "complete") == "1"
        assert sink.process.poll() is None, sink.process.log_tail()
        until(lambda: not any(count for name, count in sink.samples().items() if "lag" in name), "no lag is left")
        figures = {name.removeprefix("vitals_redis_"): count for name, count in sink.samples().items()}
        assert sink.process.terminate(30) == 0, sink.process.log_tail()
    assert watcher.dropped == []
    assert figures["rebuilds_total"] == 3, "at the start, after the kill and after FLUSHALL"
    assert figures["records_total/stale"] > 0
    counted = {name.partition("/")[2]: count for name, count in figures.items() if name.startswith("records")}
    fault("13 Redis killed, slow, full, emptied", {"sent": producer.sent, "looks": watcher.looks, **counted})
