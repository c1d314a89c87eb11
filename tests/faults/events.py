"""What the fault tests feed: months of a synthetic company, single events, and policies to score them by.

Owns values only. Must not know how they are sent or judged. Called by the tests of this folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from agents.demo.company import Company
from tests.faults.topic_log import PARTITIONS, Message, partition_of

if TYPE_CHECKING:
    from collections.abc import Iterable

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
END_MS = 1_751_328_000_000
"""2025-07-01: histories end here, so that every run is the same."""
USAGE, TICKETS, SURVEYS, BILLING = "product-usage", "support-tickets", "surveys", "billing"

TEMPLATE = (Path(__file__).parents[2] / "deploy" / "policies" / "template.toml").read_text("utf-8")

SHORT = """
name = "short"

[measures.people]
source = "product-usage"
stat = "distinct_users"
window = "3d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 8 }
weight = 40

[measures.pulse]
source = "product-usage"
stat = "count"
window = "12h"
normalise = { kind = "linear", zero_at = 0, hundred_at = 20 }
weight = 20

[measures.trouble]
source = "support-tickets"
stat = "count"
window = "2d"
normalise = { kind = "threshold", good = 0, average = 2 }
weight = 20

[measures.mood]
source = "surveys"
stat = "last"
field = "score"
where = { kind = ["nps"] }
window = "7d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 20

[scores.health]
min_change = 1.0
bands = [
  { name = "healthy", from = 60 },
  { name = "attention", from = 30, alert = "warning" },
  { name = "at-risk", from = 0, alert = "critical" },
]
"""
"""Hours and few days: boundaries every hour, and much falls out of the windows while a log is read."""

RULES = (
    SHORT
    + """
[alerts.sinking]
when = { below = 45 }
clear = 55
for = "6h"

[alerts.fall]
when = { drop = 25, within = "24h" }
cooldown = "12h"

[alerts.gone]
when = { left = "healthy" }
max_per_day = 1

[alerts.quiet]
when = { silent = "product-usage", within = "2d" }
"""
)
"""The same with alert rules that remember boundaries."""

MOOD = """
name = "mood"

[measures.mood]
source = "surveys"
stat = "last"
field = "score"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 1

[scores.health]
min_change = 1.0
bands = [{ name = "good", from = 50 }, { name = "bad", from = 0, alert = "critical" }]
"""
"""The last answer is the score: one event can undo another."""

HOURLY = """
name = "hourly"

[measures.activity]
source = "product-usage"
stat = "count"
window = "6h"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 1

[scores.health]
min_change = 1.0
bands = [{ name = "busy", from = 50 }, { name = "quiet", from = 0, alert = "warning" }]
"""
"""What happened in the last six hours: every hour counts."""


def company(accounts: int, days: int, *, end_ms: int = END_MS, seed: int = 7) -> list[Message]:
    """Return a company's history in the order of its events; a record's time is its event's."""
    return [
        Message(topic, account.encode(), value, time_ms)
        for topic, account, time_ms, value in Company(accounts, days, seed, end_ms=end_ms)
    ]


def event(
    topic: str, identity: str, account: str, time_ms: int, *, timestamp_ms: int | None = None, **fields: object
) -> Message:
    """Return one event; without `timestamp_ms` the record is as old as the event."""
    value = json.dumps({"id": identity, "account_id": account, "time": time_ms, **fields}).encode()
    return Message(topic, account.encode(), value, time_ms if timestamp_ms is None else timestamp_ms)


def accounts_of(partition: int, count: int, prefix: str = "acct") -> list[str]:
    """Return `count` account ids of one partition."""
    names: list[str] = []
    number = 0
    while len(names) < count:
        name = f"{prefix}-{number}"
        if partition_of(name.encode()) == partition:
            names.append(name)
        number += 1
    return names


def misplaced(message: Message) -> Message:
    """Return a message as another partitioner would have put it: in the next partition."""
    assert message.key is not None
    return message._replace(partition=(partition_of(message.key) + 1) % PARTITIONS)


def by_time(messages: Iterable[Message]) -> list[Message]:
    """Return messages in the order of their records' times."""
    return sorted(messages, key=lambda message: message.timestamp_ms)
