"""Policies of a round: those of the fault tests, and random ones.

Owns which policy a seed gets, and how late its events may be. Must not know events or faults. Pure: the same random
numbers give the same policy. Called by `tests.torture.plan`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults.events import DAY_MS, HOUR_MS, HOURLY, MOOD, RULES, SHORT

if TYPE_CHECKING:
    import random

_BANDS = """
[scores.health]
min_change = {min_change}
bands = [
  {{ name = "good", from = {good} }},
  {{ name = "fair", from = {fair}, alert = "warning" }},
  {{ name = "poor", from = 0, alert = "critical" }},
]
"""
_STATISTICS = (
    ("product-usage", 'stat = "count"', 30),
    ("product-usage", 'stat = "sum"\nfield = "count"', 90),
    ("product-usage", 'stat = "distinct_users"', 8),
    ("product-usage", 'stat = "distinct_features"', 3),
    ("product-usage", 'stat = "share"\nof = { feature = ["search", "export"] }', 1),
    ("support-tickets", 'stat = "count"\nwhere = { priority = ["high", "urgent"] }', 4),
    ("support-tickets", 'stat = "weighted_count"\nweights = { status = { opened = 2, reopened = 3 } }', 9),
    ("surveys", 'stat = "mean"\nfield = "score"', 10),
    ("surveys", 'stat = "last"\nfield = "score"\nwhere = { kind = ["nps"] }', 10),
    ("surveys", 'stat = "min"\nfield = "score"', 10),
    ("billing", 'stat = "sum"\nfield = "amount"', 900),
    ("billing", 'stat = "max"\nfield = "days_late"', 40),
    ("engagement", 'stat = "count"', 6),
    ("signals", 'stat = "last"\nfield = "value"\nwhere = { name = ["seats"] }', 50),
)
"""Source, statistic, and about the largest value that the events of a round give."""
_WINDOWS = (("6h", 6 * HOUR_MS), ("24h", DAY_MS), ("3d", 3 * DAY_MS), ("7d", 7 * DAY_MS), ("30d", 30 * DAY_MS))
_LONG = 3
"""From this window on, one is long enough for late events."""


@dataclass(frozen=True)
class Policy:
    """A policy, and the longest of its windows: an event is too late for all of them only beyond it."""

    name: str
    text: str
    longest_ms: int


FIXED = (
    Policy("rules", RULES, 7 * DAY_MS),
    Policy("short", SHORT, 7 * DAY_MS),
    Policy("hourly", HOURLY, 6 * HOUR_MS),
    Policy("mood", MOOD, 30 * DAY_MS),
)
RANDOM = "random"


def draw_policy(chance: random.Random) -> Policy:
    """Draw one of the fixed policies, or a random one as often as all of them together."""
    return chance.choice(FIXED) if chance.random() < 0.5 else _random_policy(chance)


def _random_policy(chance: random.Random) -> Policy:
    lines = [f'name = "{RANDOM}"']
    selected = chance.sample(_STATISTICS, chance.randint(2, 5))
    windows = [chance.choice(_WINDOWS[_LONG:]), *(chance.choice(_WINDOWS) for _ in selected[1:])]
    for number, ((source, statistic, largest), (window, _)) in enumerate(zip(selected, windows, strict=True)):
        ends = [0, round(largest * chance.uniform(0.3, 1.0), 3)]
        chance.shuffle(ends)
        lines += [
            "",
            f"[measures.m{number}]",
            f'source = "{source}"',
            statistic,
            f'window = "{window}"',
            f'normalise = {{ kind = "linear", zero_at = {ends[0]}, hundred_at = {ends[1]} }}',
            f"weight = {chance.randint(1, 9)}",
        ]
    fair = chance.randint(15, 45)
    bands = _BANDS.format(min_change=chance.choice((0.5, 1.0, 3.0)), good=fair + chance.randint(10, 40), fair=fair)
    return Policy(RANDOM, "\n".join(lines) + "\n" + bands, max(length_ms for _, length_ms in windows))
