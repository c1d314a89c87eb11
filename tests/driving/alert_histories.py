"""Scenarios for alerts: a few events by day and hour for one account, and every firing and resolution with its day.

Scores are made plain: a count of usage events in the last day (or days) is the score, 10 points each.
"""

from __future__ import annotations

import json
from typing import Any

from schemas.outputs import Alert
from stream.engine.engine import Engine
from stream.plan.plan import Plan
from stream.recovery import changelog
from tests.driving.engine import Drive, plan_of
from tests.oracle.engine import Record
from tests.strategies.policies import NOW_MS

DAY = 86_400_000
START = (NOW_MS // DAY - 60) * DAY

POLICY = """
name = "alerts"
[status]
dormant_after = "365d"
[measures.usage]
source = "product-usage"
stat = "count"
window = "{window}"
normalise = {{ kind = "linear", zero_at = 0, hundred_at = 10 }}
weight = 1
[measures.tickets]
source = "support-tickets"
stat = "count"
window = "1d"
normalise = {{ kind = "linear", zero_at = 10, hundred_at = 0 }}
weight = 0
[scores.health]
min_change = 1
bands = [{{ name = "good", from = 60 }}, {{ name = "fair", from = 30 }}, {{ name = "poor", from = 0 }}]
{rules}
"""


class Scenario:
    """An engine that receives events by day and hour, and the alerts that it publishes."""

    def __init__(self, rules: str, *, window: str = "1d", partition: int | None = None, policy: str = POLICY) -> None:
        self.plan = plan_of(policy.format(rules=rules, window=window))
        self.drive = Drive(Engine(self.plan, partition=partition))
        self._offsets: dict[str, int] = {}

    def record(self, day: float, source: str = "product-usage", account: str = "acme", **fields: Any) -> Record:
        moment = START + round(day * DAY)
        offset = self._offsets.get(source, 0)
        self._offsets[source] = offset + 1
        fields = {"id": f"{source}{offset}", "account_id": account, "time": moment, **fields}
        if source == "support-tickets":
            fields = {"ticket_id": "T", "status": "opened", **fields}
        return Record(source, 0, offset, moment, account.encode(), json.dumps(fields).encode())

    def use(self, day: float, count: int, account: str = "acme") -> None:
        """So many uses at a day (fractions are hours)."""
        self.drive.take([self.record(day, account=account) for _ in range(count)])

    def take(self, day: float, source: str, **fields: Any) -> None:
        self.drive.take([self.record(day, source, **fields)])

    def pass_to(self, day: float) -> None:
        """Let the clock pass with no event."""
        self.drive.note(self.drive.engine.tick(START + round(day * DAY)))

    def restart(self, plan: Plan | None = None) -> None:
        """Commit, and go on with what the changelog holds, by another plan if there is one."""
        self.drive.save()
        self.plan = plan or self.plan
        self.drive.engine = Engine(self.plan)
        changelog.restore(self.drive.engine, self.drive.topic)

    @property
    def published(self) -> list[tuple[str, str, float]]:
        """(status, rule, day) of all alerts so far."""
        return [(alert.status, alert.rule, day_of(alert)) for alert in self.drive.alerts]


def day_of(alert: Alert) -> float:
    moment = alert.starts_at if alert.ends_at is None else alert.ends_at
    return (moment - START) / DAY


def rule(text: str, name: str = "r") -> str:
    return f"[alerts.{name}]\n{text}\n"


def daily(scenario: Scenario, *counts: int) -> None:
    """So many uses at noon of day 0, 1, ...: with a window of 2 days the score at midnight is 10 times yesterday's."""
    for day, count in enumerate(counts):
        if count:
            scenario.drive.take([scenario.record(day + 0.5) for _ in range(count)])
