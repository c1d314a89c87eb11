"""Rows 8 and 9: events that come twice, in another order, or too late to count."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.faults.deployment import Deployment
from tests.faults.events import DAY_MS, END_MS, HOUR_MS, SHORT, USAGE, company, event

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.topic_log import Message

pytestmark = pytest.mark.broker


@pytest.mark.faults
def test_duplicates_change_no_score(tmp_path: Path, fault: Callable) -> None:
    """Nearly a third come twice: close by, far apart, and after the worker was killed and after it was stopped."""
    chance = random.Random(8)
    events = company(30, 50)
    metric = [message for message in events if message.topic != "accounts"]
    half = len(events) // 2
    copies = 0
    with Deployment(tmp_path) as deployment:
        worker = deployment.start()
        parts: list[list[Message]] = [events[:half], events[half:], []]
        for number, messages in enumerate(parts):
            again = chance.sample(metric[: half if number == 0 else len(metric)], len(metric) // 10)
            copies += len(again)
            late_part = [message._replace(timestamp_ms=END_MS) for message in again]
            if number == 0:  # copies among their originals: a producer that tried again
                deployment.send(sorted([*messages, *again], key=lambda message: message.timestamp_ms))
            else:
                deployment.send([*messages, *late_part])
            deployment.until_done()
            if number == 0:
                deployment.kill(worker)
                worker = deployment.start()
            elif number == 1:
                assert deployment.stop(worker) == 0
                worker = deployment.start()
        figures = deployment.judge()
        assert figures["duplicate"] == copies
        assert figures["applied"] == len(events)
        once = deployment.input_log()
        unique = {(record.source, record.value): record for record in reversed(once.records)}
        once.records = list(unique.values())
        assert len(once.records) == len(events)
        assert once.scores(deployment.policy) == deployment.input_log().scores(deployment.policy)
    fault("8 30 % duplicates, across restarts too", figures)


def shuffled(events: list[Message], within_ms: int, seed: int) -> list[Message]:
    """Return events as they arrive when each is held up by up to `within_ms`; the record's time is the arrival's."""
    chance = random.Random(seed)
    late = [message._replace(timestamp_ms=message.timestamp_ms + chance.randrange(within_ms)) for message in events]
    return sorted(late, key=lambda message: message.timestamp_ms)


@pytest.mark.faults
def test_any_order_within_the_window_gives_the_same_scores(tmp_path: Path, fault: Callable) -> None:
    """Events come up to two days late, where the longest window has seven days."""
    with Deployment(tmp_path, policy=SHORT) as deployment:
        sent = deployment.send(shuffled(company(30, 50), 2 * DAY_MS, seed=9))
        worker = deployment.start()
        deployment.until_done()
        figures = deployment.judge()
        assert figures["applied"] == sent
        in_order = deployment.scores()
        assert deployment.stop(worker) == 0
        assert in_order
    fault("9 input shuffled within the longest window", figures)


@pytest.mark.faults
def test_what_is_older_than_the_window_is_counted_as_late_and_changes_nothing(tmp_path: Path, fault: Callable) -> None:
    late = 500
    chance = random.Random(10)
    events = shuffled(company(30, 50), 2 * DAY_MS, seed=10)
    behind = []
    for number in range(late):
        where = chance.choice(events[len(events) // 2 :])
        assert where.key is not None
        # Held up by two days at most, the newest event is younger than this record by no more than that.
        time_ms = where.timestamp_ms - 12 * DAY_MS - chance.randrange(10 * DAY_MS)
        account = where.key.decode()
        behind.append(
            event(USAGE, f"late-{number}", account, time_ms, timestamp_ms=where.timestamp_ms, user_id=f"ghost{number}")
        )
    with Deployment(tmp_path, policy=SHORT) as deployment:
        deployment.send(sorted([*events, *behind], key=lambda message: message.timestamp_ms))
        deployment.start()
        deployment.until_done()
        figures = deployment.judge()
        assert figures["late"] == late
        assert figures["applied"] == len(events)
    fault("9 input shuffled beyond the longest window", figures)


@pytest.mark.faults
def test_half_a_commit_of_shuffled_input_counts_late_once(tmp_path: Path, fault: Callable) -> None:
    """Killed while late events are on their way: what was applied stays applied, what was late stays late."""
    events = shuffled(company(40, 40), 6 * DAY_MS, seed=11)
    behind = [
        event(USAGE, f"late-{number}", "acct-1", END_MS - (40 - number) * DAY_MS - 20 * DAY_MS,
              timestamp_ms=END_MS - (40 - number) * DAY_MS + HOUR_MS, user_id="ghost")
        for number in range(20, 40)
    ]  # fmt: skip
    with Deployment(tmp_path, policy=SHORT, broker={"fetch.max.bytes": "65536"}) as deployment:
        sent = deployment.send(sorted([*events, *behind], key=lambda message: message.timestamp_ms))
        for share in (0.2, 0.5, 0.7):
            worker = deployment.start()
            deployment.until_settled(share * sent)
            deployment.kill(worker)
        deployment.start()
        deployment.until_done()
        figures = deployment.judge()
    fault("9 input shuffled, and the worker killed x3", figures)
