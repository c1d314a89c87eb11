"""The state of a deployment on one screen: lag, freshness, workers, restores, idle sources, dead letters, problems.

Owns what is a problem. The broker's figures come from `agents.status.broker`, those of workers from
`agents.status.workers`. Called by `agents.cli.status`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from agents.dlq import groups as letters
from agents.dlq.letters import Selection
from agents.settings.settings import Settings
from agents.status.broker import Broker, Group, Lag, Output
from agents.status.workers import WorkerStatus, ask
from schemas.sources import Sources

NO_PROGRESS_S = 10.0
_PAUSE_S = 0.5


class Report(msgspec.Struct):
    """What `vitals status --json` prints. Times are epoch ms; `now` is this machine's clock.

    `dead_letters`: those that are open.
    """

    now: int
    group: Group
    inputs: list[Lag]
    outputs: list[Output]
    workers: list[WorkerStatus]
    dead_letters: list[letters.Group]
    problems: list[str]


def report(settings: Settings, sources: Sources, workers: Sequence[str]) -> Report:
    """Ask the broker and the workers at these URLs; if records wait, watch for some seconds whether any is committed.

    Raises `BrokerError`.
    """
    broker = Broker(settings, sources)
    try:
        group, inputs = broker.group(), broker.inputs()
        stuck: list[int] = []
        if group.members and any(lag.records for lag in inputs):
            stuck = _stuck(broker, inputs, max(NO_PROGRESS_S, 3 * settings.commit_interval_s))
        outputs = broker.outputs()
    finally:
        broker.close()
    dead_letters = [each for each in letters.groups_of(settings, sources, Selection()) if each.open]
    asked = [ask(url) for url in workers]
    problems = [*_group_problems(group, inputs), *_input_problems(inputs, stuck), *_worker_problems(asked)]
    return Report(round(time.time() * 1000), group, inputs, outputs, asked, dead_letters, problems)


def _stuck(broker: Broker, before: list[Lag], within_s: float) -> list[int]:
    """Partition numbers with waiting records of which nothing is committed within a time, in any topic."""
    first = _committed(before)
    waiting = {lag.partition for lag in before if lag.records}
    until_s = time.monotonic() + within_s
    while waiting and time.monotonic() < until_s:
        time.sleep(_PAUSE_S)
        now = broker.inputs()
        moved = {lag.partition for lag in now if first.get((lag.topic, lag.partition)) != lag.committed}
        lagging = {lag.partition for lag in now if lag.records}
        waiting = (waiting - moved) & lagging
    return sorted(waiting)


def _committed(lags: list[Lag]) -> dict[tuple[str, int], int | None]:
    return {(lag.topic, lag.partition): lag.committed for lag in lags}


def _group_problems(group: Group, inputs: list[Lag]) -> list[str]:
    if not group.members:
        return [f"no worker runs in the group {group.name} (state {group.state}): start one with `vitals worker`"]
    if group.state != "Stable":
        return [f"the group {group.name} is in the state {group.state}: partitions are being assigned"]
    assigned = {
        (topic, number) for member in group.members for topic, numbers in member.tasks.items() for number in numbers
    }
    missing = sorted({lag.partition for lag in inputs if (lag.topic, lag.partition) not in assigned})
    return [f"no worker has the partition {number}" for number in missing]


def _input_problems(inputs: list[Lag], stuck: list[int]) -> list[str]:
    problems = []
    for number in stuck:
        records = sum(lag.records for lag in inputs if lag.partition == number)
        problems.append(
            f"partition {number}: {records} records wait, and none was committed while this command watched"
        )
    return problems


def _worker_problems(workers: list[WorkerStatus]) -> list[str]:
    return [f"{worker.url}: {problem}" for worker in workers for problem in worker.problems]
