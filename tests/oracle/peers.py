"""Percentiles among peers from scratch: every value counted by hand, in fractions.

Owns a second reading of docs/reference/policy/peers.md, for a count and a mean over days. Must not share code with the
engine. Called by the property test of peers.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

DAY_MS = 86_400_000
ENTERPRISE = "enterprise"


@dataclass(frozen=True)
class Happened:
    """An event: `score` of a survey, None of product usage."""

    account: str
    time_ms: int
    score: int | None = None


@dataclass(frozen=True)
class Known:
    """A profile of an account: its tier, and the time since which it applies."""

    account: str
    time_ms: int
    tier: str


def percentile(value: Fraction, peers: list[Fraction]) -> Fraction:
    """Percent of peers that are smaller; equal peers count half."""
    smaller = sum(peer < value for peer in peers)
    equal = sum(peer == value for peer in peers)
    return Fraction(100) * (smaller + Fraction(equal, 2)) / len(peers)


def value_at(events: list[Happened], account: str, moment_ms: int, window: int, *, mean: bool) -> Fraction | None:
    """The number of usage events, or the mean of survey scores, in the `window` complete days before the moment's."""
    today = moment_ms // DAY_MS
    inside = [
        event for event in events if event.account == account and today - window <= event.time_ms // DAY_MS < today
    ]
    if not mean:
        return Fraction(sum(event.score is None for event in inside))
    scores = [event.score for event in inside if event.score is not None]
    return Fraction(sum(scores), len(scores)) if scores else None


def segment_at(profiles: list[Known], account: str, moment_ms: int) -> str | None:
    """The account's segment by the latest profile up to the moment."""
    known = [profile for profile in profiles if profile.account == account and profile.time_ms <= moment_ms]
    tier = max(known, key=lambda profile: profile.time_ms).tier if known else None
    return tier if tier == ENTERPRISE else None


class When(NamedTuple):
    """The midnight of the table, and now; the policy's days of the window, and `least_peers`."""

    midnight_ms: int
    now_ms: int
    window: int
    least: int


def percentile_at(
    events: list[Happened],
    profiles: list[Known],
    account: str,
    when: When,
    *,
    mean: bool,
) -> tuple[Fraction | None, Fraction | None]:
    """The account's value and its percentile."""
    midnight, now, window, least = when
    mine = value_at(events, account, now, window, mean=mean)
    alive = sorted({event.account for event in events if event.time_ms <= midnight})
    values = {peer: value_at(events, peer, midnight, window, mean=mean) for peer in alive}
    known = {peer: value for peer, value in values.items() if value is not None}
    segment = segment_at(profiles, account, now)
    inside = [value for peer, value in known.items() if segment_at(profiles, peer, midnight) == segment]
    peers = inside if segment is not None and len(inside) >= least else list(known.values())
    return mine, None if mine is None or not peers else percentile(mine, peers)
