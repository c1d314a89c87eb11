"""The live policy and a shadow beside each other: what would be otherwise if the candidate were live.

Owns the comparison of what both say last. Knows no topics. Pure; called by `vitals shadow` and the board.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from msgspec import Struct, field

from schemas.outputs import Alert
from stream.policy.band_index import BAND_DECIMALS

Episode = tuple[str, str]
"""Account and rule of an open alert."""


class Score(Protocol):
    """One score."""

    @property
    def value(self) -> float:
        """0..100."""

    @property
    def band(self) -> str:
        """Its name."""


class ScoredBatch(Protocol):
    """What a policy says of an account: a `ScoreMessage`, or what somebody keeps of it."""

    @property
    def as_of(self) -> int:
        """Epoch ms."""

    @property
    def policy(self) -> str:
        """`name@digest`."""

    @property
    def scores(self) -> Mapping[str, Score]:
        """By name."""


class SaidOfAlerts(ScoredBatch, Protocol):
    """What a candidate says: the rules that would be firing too."""

    @property
    def alerts(self) -> Sequence[str]:
        """Rules."""


S = TypeVar("S", bound=ScoredBatch)


class BandCount(Struct):
    """How many accounts are in a band under each policy; the best bands come first."""

    score: str
    band: str
    live: int
    shadow: int


class Move(Struct):
    """How many accounts would be in another band."""

    score: str
    from_: str = field(name="from")
    to: str
    accounts: int


class Distance(Struct):
    """One account's score under both policies; `delta` is the candidate's minus the live one."""

    account_id: str
    score: str
    live: float
    shadow: float
    delta: float
    band_live: str
    band_shadow: str


class RuleCount(Struct):
    """Open alerts of a rule: under each policy, those that the candidate would have raised, and have spared."""

    rule: str
    live: int
    shadow: int
    raised: int
    spared: int


class AlertOf(Struct):
    """An alert by account and rule."""

    account_id: str
    rule: str


class Differences(Struct):
    """All there is to compare. Policies are `name@digest`, moments epoch ms of the newest score, lists are sorted.

    `accounts` are known to both policies, the others only to one. `changed` of them would have another score, `moved`
    another band; a score that only one policy has is in `bands` alone.
    """

    live: str
    shadow: str
    live_as_of: int | None
    shadow_as_of: int | None
    accounts: int
    only_live: int
    only_shadow: int
    changed: int
    moved: int
    bands: list[BandCount]
    moves: list[Move]
    farthest: list[Distance]
    alerts: list[RuleCount]
    raised: list[AlertOf]
    spared: list[AlertOf]


def open_alerts(alerts: Iterable[Alert]) -> set[Episode]:
    """Accounts and rules whose alerts are open, from all records of `health.alerts` in order, folded by fingerprint."""
    found: dict[str, Alert] = {}
    for alert in alerts:
        if alert.status == "firing":
            found[alert.fingerprint] = alert
        else:
            found.pop(alert.fingerprint, None)
    return {(alert.account_id, alert.rule) for alert in found.values() if alert.account_id}


def main_policy(scored_batch: Iterable[ScoredBatch]) -> str:
    """The policy by which most accounts were scored last; empty where there is none."""
    counts = Counter(one.policy for one in scored_batch)
    return max(counts, key=lambda label: (counts[label], label), default="")


def by_main_policy(scored_batch: Mapping[str, S]) -> dict[str, S]:
    """Without what was said by other policies: it is left from before."""
    policy = main_policy(scored_batch.values())
    return {account: one for account, one in scored_batch.items() if one.policy == policy}


def compare(
    live: Mapping[str, ScoredBatch],
    shadow: Mapping[str, SaidOfAlerts],
    opened: Collection[Episode],
    policies: tuple[str, str],
    most: int,
) -> Differences:
    """The differences of the latest messages by account; `most` limits `farthest`.

    `opened` are the live policy's open alerts, `policies` the labels of the live one and of the candidate.
    """
    distances = distances_of(live, shadow)
    known, would = episodes_of(live, shadow, opened)
    far = sorted((one for one in distances if one.delta), key=lambda one: (-abs(one.delta), one.account_id, one.score))
    return Differences(
        live=policies[0],
        shadow=policies[1],
        live_as_of=max((message.as_of for message in live.values()), default=None),
        shadow_as_of=max((message.as_of for message in shadow.values()), default=None),
        accounts=len(live.keys() & shadow.keys()),
        only_live=len(live.keys() - shadow.keys()),
        only_shadow=len(shadow.keys() - live.keys()),
        changed=len({one.account_id for one in far}),
        moved=len({one.account_id for one in distances if one.band_live != one.band_shadow}),
        bands=_bands(live.values(), shadow.values()),
        moves=moves_of(distances),
        farthest=far[:most],
        alerts=_rules(known, would),
        raised=[AlertOf(*what) for what in sorted(would - known)],
        spared=[AlertOf(*what) for what in sorted(known - would)],
    )


def distances_of(live: Mapping[str, ScoredBatch], shadow: Mapping[str, ScoredBatch]) -> list[Distance]:
    """The scores that both policies have of the same account, by account."""
    found = []
    for account in sorted(live.keys() & shadow.keys()):
        others = shadow[account].scores
        for name, one in live[account].scores.items():
            other = others.get(name)
            if other is not None:
                delta = round(other.value - one.value, BAND_DECIMALS)
                found.append(Distance(account, name, one.value, other.value, delta, one.band, other.band))
    return found


def episodes_of(
    live: Collection[str], shadow: Mapping[str, SaidOfAlerts], opened: Collection[Episode]
) -> tuple[set[Episode], set[Episode]]:
    """The open alerts of the live policy's accounts, and those that the candidate would have open."""
    would = {(account, rule) for account, message in shadow.items() for rule in message.alerts}
    return {what for what in opened if what[0] in live}, would


def _bands(live: Iterable[ScoredBatch], shadow: Iterable[ScoredBatch]) -> list[BandCount]:
    counts: tuple[Counter[tuple[str, str]], ...] = (Counter(), Counter())
    best: dict[tuple[str, str], float] = {}
    for messages, count in zip((live, shadow), counts, strict=True):
        for message in messages:
            for name, one in message.scores.items():
                count[name, one.band] += 1
                best[name, one.band] = max(best.get((name, one.band), one.value), one.value)
    order = sorted(best, key=lambda place: (place[0], -best[place], place[1]))
    return [BandCount(*place, *(count[place] for count in counts)) for place in order]


def moves_of(distances: Sequence[Distance]) -> list[Move]:
    """Accounts that would be in another band, most first."""
    counts = Counter(
        (one.score, one.band_live, one.band_shadow) for one in distances if one.band_live != one.band_shadow
    )
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [Move(score, before, after, count) for (score, before, after), count in ordered]


def _rules(known: set[Episode], would: set[Episode]) -> list[RuleCount]:
    def counted(episodes: Iterable[Episode]) -> Counter[str]:
        return Counter(rule for _, rule in episodes)

    live, shadow, raised, spared = map(counted, (known, would, would - known, known - would))
    return [RuleCount(rule, live[rule], shadow[rule], raised[rule], spared[rule]) for rule in sorted({*live, *shadow})]
