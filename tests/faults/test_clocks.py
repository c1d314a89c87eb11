"""Row 12: times that can't be true, and a worker whose clock is wrong. Nobody may age by either."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from schemas.topics import REPARTITION
from tests.faults import topic_log, verdict
from tests.faults.deployment import GROUP, Deployment
from tests.faults.events import (
    DAY_MS,
    END_MS,
    HOUR_MS,
    HOURLY,
    SHORT,
    SURVEYS,
    USAGE,
    accounts_of,
    company,
    event,
    misplaced,
)
from tests.faults.worker_process import wrong_clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.broker


def not_in_ci(value: str) -> Any:
    """A parameter of the long suite: the other one is enough for CI."""
    return pytest.param(value, marks=pytest.mark.faults)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.mark.parametrize("clock", ["event", not_in_ci("live")])
def test_times_that_cannot_be_true_age_nobody(tmp_path: Path, fault: Callable, clock: str) -> None:
    # By the clock, the history would be over; its last day is today then.
    end_ms = END_MS if clock == "event" else now_ms()
    events = company(40, 20, end_ms=end_ms)
    now = now_ms()
    wrong = {
        "in a year": now + 365 * DAY_MS,
        "in six minutes": now + 6 * 60_000 + 30_000,
        "epoch 0": 0,
        "seconds": end_ms // 1000,
        "before the epoch": -1000,
        "1999": 946_684_799_999,
    }
    stamp = events[len(events) // 2].timestamp_ms
    bad = [
        event(topic, f"{name} {number}", f"acct-{number}", time_ms, timestamp_ms=stamp, kind="nps", score=1)
        for name, time_ms in wrong.items()
        for number in range(8)
        for topic in (USAGE, SURVEYS)
    ]
    with Deployment(tmp_path, policy=SHORT, time=clock) as deployment:
        deployment.send(sorted([*events, *bad], key=lambda message: message.timestamp_ms))
        deployment.start()
        deployment.until_done()
        # The oracle judges by this moment what lies ahead: before the worker did, and far from the limits of both.
        log = deployment.input_log(now)
        assert len(log.rejected) == len(bad)
        figures = deployment.judge(log, as_of_ms=until_aged(deployment) if clock == "live" else None)
        assert figures["rejected"] == len(bad)
        letters = topic_log.read(deployment.kafka.bootstrap, [f"{USAGE}.dlq"])[f"{USAGE}.dlq"]
        reasons = sorted(dict(letter.headers)["vitals.error.reason"] or b"" for letter in letters)
        assert reasons == [b"implausible_time"] * 32 + [b"in_the_future"] * 16
    fault(f"12 +1 year, epoch 0, seconds; VITALS_TIME={clock}", figures)


def until_aged(deployment: Deployment) -> int:
    """Wait until the clock has brought idle accounts to the hour that it is; returns the moment."""

    def aged() -> bool:
        # Between two boundaries nothing ages: any moment of this hour does, from the last event on.
        log = deployment.input_log(now_ms())
        return not verdict.score_differences(log.scores(deployment.policy, now_ms()), deployment.scores())

    deployment.until(aged, "idle accounts have the scores of this hour", 60)
    return now_ms()


@pytest.mark.faults
@pytest.mark.parametrize("offset", ["+1h", "-1h", "+2h", "-2h"])
def test_a_wrong_clock_of_the_worker_ages_nobody_and_refuses_nothing(
    tmp_path: Path, fault: Callable, offset: str
) -> None:
    """Idle accounts fall silent at the right hour, events of this minute are applied, those far ahead are not."""
    start = now_ms()
    idle = [
        event(USAGE, f"{partition}-{number}", account, start - 5 * HOUR_MS + number * 60_000)
        for partition in range(topic_log.PARTITIONS)
        for number, account in enumerate(accounts_of(partition, 5) * 24)
    ]
    with Deployment(tmp_path, policy=HOURLY, time="live") as deployment:
        deployment.send(idle)
        worker = deployment.start(variables=wrong_clock(offset))
        deployment.until_done()
        deployment.judge(as_of_ms=until_aged(deployment))
        moment = now_ms()
        live = [event(USAGE, f"l{number}", f"live-{number}", moment) for number in range(40)]
        ahead = [event(USAGE, f"a{number}", f"live-{number}", moment + 30 * 60_000) for number in range(40)]
        deployment.send([message._replace(timestamp_ms=moment) for message in (*live, *ahead)])
        deployment.until_done()
        now = until_aged(deployment)
        figures = deployment.judge(deployment.input_log(now), as_of_ms=now)
        assert figures["applied"] == len(idle) + len(live)
        assert figures["rejected"] == len(ahead)
        assert max(score["as_of"] for score in deployment.scores().values()) <= now
        assert worker.is_running
    fault(f"12 worker clock {offset}", figures)


@pytest.mark.faults
@pytest.mark.parametrize("offset", ["+1h", "-1h", "+2h", "-2h"])
def test_a_wrong_clock_is_known_before_the_first_event_is_judged(tmp_path: Path, fault: Callable, offset: str) -> None:
    """A worker that starts with a wrong clock finds events of this very minute, and some half an hour ahead."""
    moment = now_ms()
    live = [event(USAGE, f"l{number}", f"live-{number}", moment) for number in range(40)]
    ahead = [event(USAGE, f"a{number}", f"live-{number}", moment + 30 * 60_000) for number in range(40)]
    with Deployment(tmp_path, policy=HOURLY, time="live") as deployment:
        deployment.send([message._replace(timestamp_ms=moment) for message in (*live, *ahead)])
        deployment.start(variables=wrong_clock(offset))
        deployment.until_done()
        figures = deployment.judge(deployment.input_log(now_ms()))
        assert figures["applied"] == len(live)
        assert figures["rejected"] == len(ahead)
    fault(f"12 worker clock {offset} from the first event on", figures)


@pytest.mark.faults
@pytest.mark.parametrize("offset", ["+2h", "-2h"])
def test_what_a_worker_with_a_wrong_clock_writes_has_the_brokers_time(
    tmp_path: Path, fault: Callable, offset: str
) -> None:
    """Scores, changes and alerts, dead letters, and events that it forwards: these keep their own time."""
    start = now_ms()
    events = company(40, 20, end_ms=start)
    bad = [event(USAGE, f"bad{number}", f"acct-{number}", 0, timestamp_ms=start) for number in range(20)]
    elsewhere = [misplaced(message) for message in events if message.topic == USAGE][-100:]
    moved = {message.value for message in elsewhere}
    others = [message for message in events if message.value not in moved]
    with Deployment(tmp_path, policy=SHORT) as deployment:
        deployment.send(sorted([*others, *elsewhere, *bad], key=lambda message: message.timestamp_ms))
        deployment.start(variables=wrong_clock(offset))
        deployment.until_done()
        figures = deployment.judge()
        assert figures["forwarded"] == len(elsewhere)
        assert figures["rejected"] == len(bad)
        written = topic_log.read(
            deployment.kafka.bootstrap,
            [verdict.SCORES, verdict.CHANGES, verdict.ALERTS, f"{USAGE}.dlq", f"{GROUP}-accounts-changelog"],
        )
        for topic, records in written.items():
            assert records, topic
            assert all(start <= record.timestamp_ms <= now_ms() for record in records), topic
        (forwarded,) = topic_log.read(deployment.kafka.bootstrap, [REPARTITION]).values()
        times = {record.value: record.timestamp_ms for record in forwarded}
        assert times == {message.value: message.timestamp_ms for message in elsewhere}
    fault(f"12 worker clock {offset}: times of what it writes", figures)
