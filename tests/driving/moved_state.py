"""A group in memory whose workers have applied a part of a company's history, and the comparison with the oracle.

Owns the events and what is compared. Must not know which command was run. Called by the tests of `agents.state`.
"""

from __future__ import annotations

import copy
import functools
from typing import TYPE_CHECKING, Any, Self

from agents.settings.settings import Settings
from schemas.topics import ALERTS, CHANGES
from tests.driving.deployment import MemoryCluster, MemoryWorkers, input_log
from tests.driving.engine import plan_of
from tests.faults import verdict
from tests.faults.events import DAY_MS, END_MS, TEMPLATE, company
from tests.oracle.engine import final_scores

if TYPE_CHECKING:
    from tests.faults.topic_log import Message

GROUP = "g"
EVENTS = company(40, 20)
AS_OF_MS = END_MS + DAY_MS
EPISODE = ("account_id", "rule", "starts_at")
INPUTS = ("product-usage", "support-tickets", "surveys", "billing", "engagement", "controls", "signals", "accounts")


def settings_of(partitions: int, group: str = GROUP) -> Settings:
    return Settings(group=group, partitions=partitions, time="event")


class Scenario:
    """A group whose workers have applied a company's history, or the first part of it."""

    def __init__(self, partitions: int = 4, policy: str = TEMPLATE) -> None:
        self.policy, self.plan = policy, plan_of(policy)
        self.cluster = MemoryCluster(GROUP, partitions)
        self.settings = settings_of(partitions)

    @classmethod
    def halfway(cls, partitions: int = 4, policy: str = TEMPLATE) -> Self:
        """One whose workers have applied `BEFORE`: once for all tests, and each has a copy of what they left."""
        scenario = cls(partitions, policy)
        scenario.cluster = copy.deepcopy(_left_by_workers(partitions, policy))
        return scenario

    def work(self, messages: list[Message], as_of_ms: int | None = None, **how: Any) -> None:
        self.cluster.send(messages)
        MemoryWorkers(self.cluster, self.settings, self.plan).run(as_of_ms, **how)

    def assert_exact(self, *before: MemoryCluster, alerts_once: bool = True) -> None:
        """Fail unless scores, the chain of changes and the open alerts are the oracle's."""
        log = input_log([*before, self.cluster])
        expected = final_scores(log, self.policy, 2**53, AS_OF_MS)
        assert len(expected) > 30
        differences = verdict.score_differences(expected, self.cluster.scores())
        assert not differences, differences[:5]
        messages = [message for cluster in (*before, self.cluster) for message in cluster.published(CHANGES)]
        messages.sort(key=lambda message: message["revision"])
        differences = verdict.change_differences(messages, expected, 1.0)
        assert not differences, differences[:5]
        alerts = [message for cluster in (*before, self.cluster) for message in cluster.published(ALERTS)]
        firing = {(account, f"band:health:{score.band}") for account, score in expected.items() if score.alert}
        opened = {pair for pair in verdict.open_alerts(alerts) if pair[1].startswith("band:")}
        assert opened == firing
        # An alert about a source is one of each partition.
        ids = {
            message["id"]: (*(message[name] for name in EPISODE), message["labels"].get("partition"))
            for message in alerts
        }
        firings = [episode for name, episode in ids.items() if name.startswith("f")]
        assert not alerts_once or len(set(firings)) == len(firings), "no alert is published twice"


HALF = len(EVENTS) // 2
BEFORE, AFTER = EVENTS[:HALF], EVENTS[HALF:]


@functools.cache
def _left_by_workers(partitions: int, policy: str) -> MemoryCluster:
    """All topics after the workers of a group have applied `BEFORE`."""
    scenario = Scenario(partitions, policy)
    scenario.work(BEFORE)
    return scenario.cluster
