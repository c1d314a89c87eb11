"""Row 14: state that earlier versions wrote is restored; rolling upgrade and rollback while events arrive."""

from __future__ import annotations

import time
from itertools import pairwise
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from stream.recovery.writer import WRITER_KEY
from tests.faults import topic_log, verdict
from tests.faults.deployment import SLOWLY, Deployment
from tests.faults.events import DAY_MS, RULES, company
from tests.faults.refusals import CHANGELOG
from tests.faults.versions import VERSIONS, code_of, create_topics_with
from tests.faults.worker_process import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.faults.topic_log import Message
    from tests.faults.worker_process import WorkerProcess

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SLICES = 20
LONGEST_MS = 6 * DAY_MS
"""A day less than the longest window of the policy."""


def judged(deployment: Deployment, sent: int, *, scores: bool = True) -> dict[str, int]:
    """Compare with the oracle, `scores` and what follows from them too; no alert fires or is resolved twice."""
    deployment.until_done()
    figures = deployment.judge() if scores else deployment.judge_counts()
    repeated = verdict.repeated_alerts(deployment.documents(verdict.ALERTS))
    assert not repeated, repeated[:5]
    assert figures["sent"] == sent == figures["applied"]
    return figures


def takeovers(deployment: Deployment) -> int:
    """How often workers of a version with writer records took a partition over."""
    records = topic_log.read(deployment.kafka.bootstrap, [CHANGELOG])[CHANGELOG]
    return sum(record.key == WRITER_KEY for record in records)


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize("version", VERSIONS)
def test_state_of_an_earlier_version_is_restored(
    tmp_path: Path, fault: Callable, version: str, *, killed: bool
) -> None:
    """The earlier version creates the topics and does half of the work; this version goes on."""
    code = code_of(version, tmp_path)
    events = company(40, 20)
    half = len(events) // 2
    with Deployment(tmp_path, policy=RULES, broker=SLOWLY, topics=False, catch_up="exact") as deployment:
        create_topics_with(code, deployment.settings)
        sent = deployment.send(events[:half])
        before = deployment.start(code=code)
        if killed:
            deployment.until_settled(sent / 2)
            deployment.kill(before)
        else:
            deployment.until_done()
            assert deployment.stop(before) == 0
        assert not takeovers(deployment), "the earlier version writes no writer record: it is the one that ran"
        sent += deployment.send(events[half:])
        deployment.start()
        figures = judged(deployment, sent)
        assert takeovers(deployment) == topic_log.PARTITIONS
    fault(f"14 state of version {version}, {'killed' if killed else 'stopped'}", figures)


def never_silent(messages: Sequence[Message]) -> list[Message]:
    """The messages of accounts that always have data: no pause is as long as the longest window.

    This version does not score an account without data, and earlier ones do: while both work, only accounts that always
    have data can be compared with one oracle.
    """
    times: dict[bytes | None, list[int]] = {}
    for message in messages:
        times.setdefault(message.key, [messages[0].timestamp_ms]).append(message.timestamp_ms)
    end_ms = messages[-1].timestamp_ms
    loud = {key for key, moments in times.items() if all(b - a < LONGEST_MS for a, b in pairwise([*moments, end_ms]))}
    return [message for message in messages if message.key in loud]


class Flow:
    """Events that are sent a slice at a time, beside what the test does."""

    def __init__(self, deployment: Deployment, events: Sequence[Message]) -> None:
        """Start sending."""
        size = -(-len(events) // SLICES)
        self._slices = [events[first : first + size] for first in range(0, len(events), size)]
        self._deployment = deployment
        self._sent = 0
        self._thread = Thread(target=self._send, name="flow")
        self._thread.start()

    def _send(self) -> None:
        for events in self._slices:
            self._sent += self._deployment.send(events)
            time.sleep(0.3)

    def end(self) -> int:
        """Wait until all is sent; returns how many records."""
        self._thread.join()
        return self._sent


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize("version", VERSIONS)
def test_rolling_upgrade_and_rollback_under_flow(
    tmp_path: Path, fault: Callable, version: str, *, killed: bool
) -> None:
    """Two workers of an earlier version are replaced one by one, then put back one by one, then replaced again.

    Nothing is lost or counted twice at any step. Scores are compared when both workers are of this version: the oracle
    has its rules, of which earlier versions know only some.
    """
    old = code_of(version, tmp_path)
    steps = [(name, code) for code in (ROOT, old, ROOT) for name in ("one", "two")]
    events = never_silent(company(40, 40))
    size = -(-len(events) // (len(steps) + 1))
    counts: list[int] = []
    versions = {"one": old, "two": old}
    figures: dict[str, int] = {}
    with Deployment(tmp_path, policy=RULES, topics=False) as deployment:
        create_topics_with(old, deployment.settings)
        workers: dict[str, WorkerProcess] = {name: deployment.start(name, code=old) for name in ("one", "two")}

        def both_work() -> bool:
            return all(worker.settled().total() for worker in workers.values())

        sent = deployment.send(events[:size])
        deployment.until(both_work, "both have partitions")
        for number, (name, code) in enumerate(steps, 1):
            flow = Flow(deployment, events[number * size : (number + 1) * size])
            if killed:
                deployment.kill(workers[name])
            else:
                assert deployment.stop(workers[name]) == 0
            workers[name] = deployment.start(name, code=code)
            deployment.until(both_work, "both have partitions again")
            sent += flow.end()
            versions[name] = code
            figures = judged(deployment, sent, scores=set(versions.values()) == {ROOT})
            counts.append(takeovers(deployment))
    assert 0 < counts[1] <= counts[2] == counts[3] < counts[5], "only workers of this version write writer records"
    ends = "killed" if killed else "stopped"
    fault(f"14 rolling upgrade from {version}, back, again, {ends}", figures | {"workers replaced": len(steps)})
