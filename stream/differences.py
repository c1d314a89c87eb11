"""The live policy and a shadow beside each other: what would be otherwise if the candidate were live.

Owns the comparison of their latest messages. Knows no topics. Pure; called by `vitals shadow`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct, field

from schemas.outputs import Alert, ScoreMessage, ShadowMessage
from stream.bands import BAND_DECIMALS

Episode = tuple[str, str]
"""Account and rule of an open alert."""


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


def compare(
    live: Mapping[str, ScoreMessage],
    shadow: Mapping[str, ShadowMessage],
    opened: Collection[Episode],
    policies: tuple[str, str],
    most: int,
) -> Differences:
    """The differences of the latest messages by account; `most` limits `farthest`.

    `opened` are the live policy's open alerts, `policies` the labels of the live one and of the candidate.
    """
    shared = sorted(live.keys() & shadow.keys())
    distances = [one for account in shared for one in _distances(live[account], shadow[account])]
    would = {(account, rule) for account, message in shadow.items() for rule in message.alerts}
    known = {what for what in opened if what[0] in live}
    far = sorted((one for one in distances if one.delta), key=lambda one: (-abs(one.delta), one.account_id, one.score))
    return Differences(
        live=policies[0],
        shadow=policies[1],
        live_as_of=max((message.as_of for message in live.values()), default=None),
        shadow_as_of=max((message.as_of for message in shadow.values()), default=None),
        accounts=len(shared),
        only_live=len(live.keys() - shadow.keys()),
        only_shadow=len(shadow.keys() - live.keys()),
        changed=len({one.account_id for one in far}),
        moved=len({one.account_id for one in distances if one.band_live != one.band_shadow}),
        bands=_bands(live.values(), shadow.values()),
        moves=_moves(distances),
        farthest=far[:most],
        alerts=_rules(known, would),
        raised=[AlertOf(*what) for what in sorted(would - known)],
        spared=[AlertOf(*what) for what in sorted(known - would)],
    )


def _distances(live: ScoreMessage, shadow: ShadowMessage) -> list[Distance]:
    """The scores that both policies have."""
    found = []
    for name, one in live.scores.items():
        other = shadow.scores.get(name)
        if other is not None:
            delta = round(other.value - one.value, BAND_DECIMALS)
            found.append(Distance(live.account_id, name, one.value, other.value, delta, one.band, other.band))
    return found


def _bands(live: Iterable[ScoreMessage], shadow: Iterable[ScoreMessage]) -> list[BandCount]:
    counts: tuple[Counter[tuple[str, str]], ...] = (Counter(), Counter())
    best: dict[tuple[str, str], float] = {}
    for messages, count in zip((live, shadow), counts, strict=True):
        for message in messages:
            for name, one in message.scores.items():
                count[name, one.band] += 1
                best[name, one.band] = max(best.get((name, one.band), one.value), one.value)
    order = sorted(best, key=lambda place: (place[0], -best[place], place[1]))
    return [BandCount(*place, *(count[place] for count in counts)) for place in order]


def _moves(distances: Sequence[Distance]) -> list[Move]:
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
