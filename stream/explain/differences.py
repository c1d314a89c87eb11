"""Differences between the live policy and a shadow: scores, bands and alerts if the candidate were live.

Owns the comparison of the latest scores by both policies. Knows no topics. Pure; called by `agents.cli.shadow`,
`agents.shadow.outputs` and `agents.board.views.shadow`.
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
    def value(self) -> float | None:
        """0..100; None without data."""

    @property
    def band(self) -> str | None:
        """Its name; None without data."""


class AccountScores(Protocol):
    """The scores of an account by one policy: a `ScoreMessage`, or what a reader keeps of it."""

    @property
    def as_of(self) -> int:
        """Epoch ms."""

    @property
    def policy(self) -> str:
        """`name@digest`."""

    @property
    def scores(self) -> Mapping[str, Score]:
        """By name."""


class ShadowScores(AccountScores, Protocol):
    """The scores of an account by a candidate, and the rules whose alerts would be open."""

    @property
    def alerts(self) -> Sequence[str]:
        """Names of rules."""


S = TypeVar("S", bound=AccountScores)


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
    """Open alerts of a rule: under each policy, only under the candidate (raised), only under the live one (spared)."""

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
    """The whole comparison. Policies are `name@digest`, `*_as_of` epoch ms of the newest score; lists are sorted.

    `accounts` are scored by both policies, `only_*` by one. `changed` of them would have another score, `moved` another
    band; a score that only one policy has is in `bands` alone.
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
    """Accounts and rules of open alerts, from all records of `health.alerts` in order; operational alerts left out."""
    latest: dict[str, Alert] = {}
    for alert in alerts:
        if alert.status == "firing":
            latest[alert.fingerprint] = alert
        else:
            latest.pop(alert.fingerprint, None)
    return {(alert.account_id, alert.rule) for alert in latest.values() if alert.account_id}


def main_policy(messages: Iterable[AccountScores]) -> str:
    """The policy by which most accounts were scored last; empty where there is none."""
    counts = Counter(message.policy for message in messages)
    return max(counts, key=lambda label: (counts[label], label), default="")


def by_main_policy(messages: Mapping[str, S]) -> dict[str, S]:
    """The messages (by account) of the main policy only: those of other policies are left over from before."""
    policy = main_policy(messages.values())
    return {account: message for account, message in messages.items() if message.policy == policy}


def compare(
    live: Mapping[str, AccountScores],
    shadow: Mapping[str, ShadowScores],
    live_alerts: Collection[Episode],
    policies: tuple[str, str],
    most: int,
) -> Differences:
    """The differences of the latest messages by account; `most` limits `farthest`.

    `live_alerts` are the live policy's open alerts, `policies` the labels of the live one and of the candidate.
    """
    distances = distances_of(live, shadow)
    is_open, would_be_open = episodes_of(live, shadow, live_alerts)
    changed = [distance for distance in distances if distance.delta]
    farthest = sorted(changed, key=lambda distance: (-abs(distance.delta), distance.account_id, distance.score))
    return Differences(
        live=policies[0],
        shadow=policies[1],
        live_as_of=max((message.as_of for message in live.values()), default=None),
        shadow_as_of=max((message.as_of for message in shadow.values()), default=None),
        accounts=len(live.keys() & shadow.keys()),
        only_live=len(live.keys() - shadow.keys()),
        only_shadow=len(shadow.keys() - live.keys()),
        changed=len({distance.account_id for distance in changed}),
        moved=len({distance.account_id for distance in distances if distance.band_live != distance.band_shadow}),
        bands=_bands(live.values(), shadow.values()),
        moves=moves_of(distances),
        farthest=farthest[:most],
        alerts=_rules(is_open, would_be_open),
        raised=[AlertOf(*episode) for episode in sorted(would_be_open - is_open)],
        spared=[AlertOf(*episode) for episode in sorted(is_open - would_be_open)],
    )


def distances_of(live: Mapping[str, AccountScores], shadow: Mapping[str, AccountScores]) -> list[Distance]:
    """The scores that both policies have of the same account, by account; those without data are left out."""
    distances = []
    for account in sorted(live.keys() & shadow.keys()):
        shadow_scores = shadow[account].scores
        for name, score in live[account].scores.items():
            candidate = shadow_scores.get(name)
            if candidate is None or None in {score.band, candidate.band}:
                continue
            assert score.value is not None
            assert score.band is not None
            assert candidate.value is not None
            assert candidate.band is not None
            delta = round(candidate.value - score.value, BAND_DECIMALS)
            distances.append(Distance(account, name, score.value, candidate.value, delta, score.band, candidate.band))
    return distances


def episodes_of(
    live: Collection[str], shadow: Mapping[str, ShadowScores], live_alerts: Collection[Episode]
) -> tuple[set[Episode], set[Episode]]:
    """The open alerts of the live policy's accounts, and those that the candidate would have open."""
    would_be_open = {(account, rule) for account, message in shadow.items() for rule in message.alerts}
    return {episode for episode in live_alerts if episode[0] in live}, would_be_open


def _bands(live: Iterable[AccountScores], shadow: Iterable[AccountScores]) -> list[BandCount]:
    counts: tuple[Counter[tuple[str, str]], ...] = (Counter(), Counter())
    best: dict[tuple[str, str], float] = {}
    for messages, count in zip((live, shadow), counts, strict=True):
        for message in messages:
            for name, score in message.scores.items():
                if score.band is None or score.value is None:
                    continue
                count[name, score.band] += 1
                best[name, score.band] = max(best.get((name, score.band), score.value), score.value)
    order = sorted(best, key=lambda band: (band[0], -best[band], band[1]))
    return [BandCount(*band, *(count[band] for count in counts)) for band in order]


def moves_of(distances: Sequence[Distance]) -> list[Move]:
    """Accounts that would be in another band, most first."""
    moved = (distance for distance in distances if distance.band_live != distance.band_shadow)
    counts = Counter((distance.score, distance.band_live, distance.band_shadow) for distance in moved)
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [Move(score, before, after, count) for (score, before, after), count in ordered]


def _rules(is_open: set[Episode], would_be_open: set[Episode]) -> list[RuleCount]:
    def by_rule(episodes: Iterable[Episode]) -> Counter[str]:
        return Counter(rule for _, rule in episodes)

    live, shadow = by_rule(is_open), by_rule(would_be_open)
    raised, spared = by_rule(would_be_open - is_open), by_rule(is_open - would_be_open)
    return [RuleCount(rule, live[rule], shadow[rule], raised[rule], spared[rule]) for rule in sorted({*live, *shadow})]
