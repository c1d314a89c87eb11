"""Simulated runs in which accounts are merged across partitions, while workers and networks fail.

Owns when accounts are merged and what is compared in the end. Called by `tests.simulation.test_merges`.
"""

from __future__ import annotations

from typing import ClassVar

from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy
from tests.faults import verdict
from tests.faults.events import event
from tests.faults.topic_log import Message
from tests.oracle.engine import REPARTITION, Record, final_scores_all
from tests.simulation.schedule import ACCOUNTS, RUN_S, Simulation
from tests.simulation.virtual_loop import STARTED_MS

POLICY = """
name = "merged"
[measures.events]
source = "product-usage"
stat = "count"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }
weight = 1
[measures.users]
source = "product-usage"
stat = "distinct_users"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 1
[measures.nps]
source = "surveys"
stat = "mean"
field = "score"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 1
[scores.health]
min_change = 0
bands = [{ name = "good", from = 50 }, { name = "poor", from = 0, alert = "warning" }]
"""


class MergeSimulation(Simulation):
    """A run with some merges: of accounts into later ones, so that there is no circle."""

    plan: ClassVar = compile_plan(parse_policy(POLICY))

    def _events(self) -> list[tuple[float, Message]]:
        merges = []
        for number, account in enumerate(ACCOUNTS[:-1]):
            if self.random.random() < 0.6:
                into = self.random.choice(ACCOUNTS[number + 1 :])
                control = event("controls", f"m{number}", account, STARTED_MS, kind="merge", into=into)
                merges.append((self.random.uniform(0, RUN_S * 0.5), control))
        return sorted([*super()._events(), *merges], key=lambda timed: timed[0])

    def differences(self) -> list[str]:
        """Return in words what is not as the oracle says."""
        topics = [topic for topic in verdict.INPUTS if topic != REPARTITION]
        stored = [record for topic in topics for record in self.broker.read(topic)]
        log = [
            Record(each.topic, 0, number, each.timestamp_ms, each.key, each.value) for number, each in enumerate(stored)
        ]
        expected = final_scores_all(log, POLICY, verdict.FAR_FUTURE_MS)
        published = verdict.latest_scores(self.broker.read(verdict.SCORES))
        wrong = [
            f"{account}: published {published.get(account)}, expected {scores.scores['health']}"
            for account, scores in expected.items()
            if not _is_same(published.get(account, {}), scores.scores["health"].value)
        ]
        wrong += [f"not expected: {account}" for account in published.keys() - expected.keys()]
        wrong += verdict.twice_named(verdict.documents(self.broker.read(verdict.ALERTS)))
        return wrong + verdict.twice_named(verdict.documents(self.broker.read(verdict.CHANGES)))


def _is_same(message: dict[str, dict], expected: float | None) -> bool:
    """An account that was merged before its first event was applied is not published at all."""
    value = message["scores"]["health"]["value"] if message else None
    if value is None or expected is None:
        return value is expected
    return bool(abs(value - expected) <= verdict.TOLERANCE)
