"""Compare the candidate policy with the live one: accounts in other bands, alerts of only one of them.

Owns the form of the comparison, which `stream.explain.differences` computes. Pure. Called by `agents.board.web.app`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from statistics import fmean

from agents.board.state.state import State
from agents.board.views.overall_types import (
    ShadowAccount,
    ShadowAlerts,
    ShadowBand,
    ShadowMove,
    ShadowRule,
    ShadowScore,
    ShadowView,
)
from agents.board.views.types import ShortScore
from stream.explain.differences import (
    Distance,
    Episode,
    by_main_policy,
    distances_of,
    episodes_of,
    main_policy,
    moves_of,
)

EXAMPLES = 5


def shadow_of(state: State, score: str | None, limit: int) -> ShadowView:
    """Compare all accounts that both policies have scored, by one score or by all that both have."""
    shadow = {key: scored for key, scored in by_main_policy(state.shadows).items() if key in state.accounts}
    if not shadow:
        return ShadowView(available=False, policy=None, accounts=0, scores=[], alerts=ShadowAlerts([], []))
    live = {key: state.accounts[key] for key in shadow}
    opened = [(key, alert.rule) for key in live for alert in state.episodes.open_of(key)]
    live_alerts, shadow_alerts = episodes_of(live, shadow, opened)
    distances: dict[str, list[Distance]] = {name: [] for name in state.score_names() if score in {None, name}}
    for distance in distances_of(live, shadow):
        if distance.score in distances:
            distances[distance.score].append(distance)
    return ShadowView(
        available=True,
        policy=main_policy(shadow.values()),
        accounts=len(shadow),
        scores=[_score(state, name, of_score, limit) for name, of_score in distances.items()],
        alerts=ShadowAlerts(_rules(shadow_alerts - live_alerts), _rules(live_alerts - shadow_alerts)),
    )


def _score(state: State, name: str, distances: list[Distance], limit: int) -> ShadowScore:
    live, shadow = Counter(each.band_live for each in distances), Counter(each.band_shadow for each in distances)
    differing = [each for each in distances if each.delta or each.band_live != each.band_shadow]
    differing.sort(key=lambda each: (-abs(each.delta), each.band_live == each.band_shadow, each.account_id))
    return ShadowScore(
        name=name,
        bands=[ShadowBand(band, live[band], shadow[band]) for band in _bands(state.bands(name), distances)],
        moves=[ShadowMove(move.from_, move.to, move.accounts) for move in moves_of(distances)],
        differing=len(differing),
        accounts=[
            ShadowAccount(
                each.account_id,
                state.profile_name(each.account_id),
                ShortScore(each.live, each.band_live),
                ShortScore(each.shadow, each.band_shadow),
                each.delta,
            )
            for each in differing[:limit]
        ],
    )


def _bands(known: list[str], distances: list[Distance]) -> list[str]:
    """All bands of both policies, best first: those that only the candidate has are put in by their mean score."""
    values: dict[str, list[float]] = {}
    for each in distances:
        values.setdefault(each.band_live, []).append(each.live)
        values.setdefault(each.band_shadow, []).append(each.shadow)
    bands = list(known)
    for new in sorted(values.keys() - set(known)):
        mean = fmean(values[new])
        worse = (index for index, band in enumerate(bands) if band in values and fmean(values[band]) < mean)
        bands.insert(next(worse, len(bands)), new)
    return bands


def _rules(episodes: Collection[Episode]) -> list[ShadowRule]:
    """Alerts by rule, with examples; rules with most accounts first."""
    accounts: dict[str, list[str]] = {}
    for account, rule in sorted(episodes):
        accounts.setdefault(rule, []).append(account)
    return [
        ShadowRule(rule, len(keys), keys[:EXAMPLES])
        for rule, keys in sorted(accounts.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
