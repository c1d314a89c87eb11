"""Row 4: two workers, of which one is killed and comes back; then one more, and one less. Row 5: the broker dies."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.faults import topic_log
from tests.faults.deployment import Deployment
from tests.faults.events import HOUR_MS, HOURLY, USAGE, accounts_of, company, event

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.topic_log import Message

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def parts_of(events: list[Message], count: int) -> list[list[Message]]:
    """Return events in `count` parts of equal length, in order."""
    size = -(-len(events) // count)
    return [events[first : first + size] for first in range(0, len(events), size)]


def test_two_workers_killed_in_turn_change_nothing(tmp_path: Path, fault: Callable) -> None:
    """What is sent while a worker is away waits for it, or for the other one when it stays away."""
    parts = parts_of(company(100, 60), 8)
    sent = 0
    with Deployment(tmp_path, broker={"fetch.max.bytes": "65536"}) as deployment:
        workers = {name: deployment.start(name) for name in ("one", "two")}
        sent += deployment.send(parts[0])
        deployment.until_done()
        shares = [worker.settled().total() for worker in workers.values()]
        assert all(shares), f"both have partitions: {shares}"
        for number, messages in enumerate(parts[1:6]):
            name = ("one", "two")[number % 2]
            half = len(messages) // 2
            sent += deployment.send(messages[:half])
            deployment.kill(workers[name])
            sent += deployment.send(messages[half:])
            workers[name] = deployment.start(name)
            deployment.until_done()
        assert deployment.stop(workers.pop("two")) == 0
        sent += deployment.send(parts[6])
        deployment.until_done()
        workers["two"] = deployment.start("two")
        workers["three"] = deployment.start("three")
        deployment.until(
            lambda: all(worker.settled().total() for worker in deployment.workers), "all three have partitions"
        )
        sent += deployment.send(parts[7])
        deployment.until_done()
        assert deployment.stop(workers.pop("three")) == 0
        assert deployment.stop(workers.pop("one")) == 0
        deployment.until_done()
        figures = deployment.judge()
        assert figures["sent"] == sent == figures["applied"]
    fault("4 two workers killed in turn; 2 -> 1 -> 3 -> 1", figures)


def test_idle_accounts_age_wherever_they_are(tmp_path: Path, fault: Callable) -> None:
    """Accounts without an event go on to age, after their worker was killed and after they moved to another one."""
    # In the last pane but six: busy as of the last event, silent as of this hour.
    six_hours_ago = (time.time_ns() // 1_000_000 // HOUR_MS - 6) * HOUR_MS
    events = [
        event(USAGE, f"{partition}-{number}", account, six_hours_ago + number * 1000)
        for partition in range(topic_log.PARTITIONS)
        for number, account in enumerate(accounts_of(partition, 5) * 8)
    ]
    with Deployment(tmp_path, policy=HOURLY, time="live") as deployment:
        deployment.send(events)
        first, _ = deployment.start("one"), deployment.start("two")
        deployment.until_done()
        deployment.kill(first)
        deployment.start("one")
        deployment.until_done()
        for worker in list(deployment.workers[:1]):
            assert deployment.stop(worker) == 0
        deployment.until_done()

        def aged() -> bool:
            # In the hours after midnight the events are of the day before: from its end on, accounts have no data.
            return all(score["scores"]["health"]["value"] in {0.0, None} for score in deployment.scores().values())

        deployment.until(aged, "every account has the score of this hour", 60)
        figures = deployment.judge(as_of_ms=time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS)
    fault("4 idle accounts age after a kill and a move", figures)


def test_a_broker_killed_loses_nothing_that_it_acknowledged(tmp_path: Path, fault: Callable) -> None:
    parts = parts_of(company(100, 60), 5)
    slowest = 0.0
    with Deployment(tmp_path) as deployment:
        worker = deployment.start()
        sent = deployment.send(parts[0])
        deployment.until_settled(sent / 2)
        for messages in parts[1:]:
            sent += deployment.send(messages)
            deployment.kafka.kill()
            deployment.until(lambda: not worker.is_ready(), "the worker reports that the broker is unavailable")
            deployment.kafka.restart()
            slowest = max(slowest, deployment.until(worker.is_ready, "ready again", 60))
        deployment.until_done()
        assert deployment.workers == [worker], "it rode the outages out"
        figures = deployment.judge()
        assert figures["sent"] == sent == figures["applied"]
    fault("5 broker SIGKILL and restart x4", figures | {"ready again within (s)": round(slowest)})
