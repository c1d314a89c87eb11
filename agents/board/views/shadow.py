"""The candidate policy beside the live one: who would be in another band, which alerts it would raise or spare.

Owns how the comparison of `stream.explain.differences` is shown. Pure. Called by `agents.board.web.app`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

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
    """Compare all accounts that both policies have scored; of one score that both have, or all."""
    shadow = {key: said for key, said in by_main_policy(state.shadows).items() if key in state.accounts}
    if not shadow:
        return ShadowView(available=False, policy=None, accounts=0, scores=[], alerts=ShadowAlerts([], []))
    live = {key: state.accounts[key] for key in shadow}
    opened = [(key, alert.rule) for key in live for alert in state.episodes.open_of(key)]
    known, would = episodes_of(live, shadow, opened)
    distances: dict[str, list[Distance]] = {name: [] for name in state.score_names() if score in {None, name}}
    for one in distances_of(live, shadow):
        if one.score in distances:
            distances[one.score].append(one)
    return ShadowView(
        available=True,
        policy=main_policy(shadow.values()),
        accounts=len(shadow),
        scores=[_score(state, name, found, limit) for name, found in distances.items()],
        alerts=ShadowAlerts(_rules(would - known), _rules(known - would)),
    )


def _score(state: State, name: str, distances: list[Distance], limit: int) -> ShadowScore:
    live, shadow = Counter(one.band_live for one in distances), Counter(one.band_shadow for one in distances)
    differing = [one for one in distances if one.delta or one.band_live != one.band_shadow]
    differing.sort(key=lambda one: (one.band_live == one.band_shadow, -abs(one.delta), one.account_id))
    known = state.bands(name)
    return ShadowScore(
        name=name,
        bands=[ShadowBand(band, live[band], shadow[band]) for band in (*known, *sorted(shadow.keys() - set(known)))],
        moves=[ShadowMove(move.from_, move.to, move.accounts) for move in moves_of(distances)],
        differing=len(differing),
        accounts=[
            ShadowAccount(
                one.account_id,
                state.profile_name(one.account_id),
                ShortScore(one.live, one.band_live),
                ShortScore(one.shadow, one.band_shadow),
                one.delta,
            )
            for one in differing[:limit]
        ],
    )


def _rules(episodes: Collection[Episode]) -> list[ShadowRule]:
    """Alerts by rule, those of most accounts first, with examples."""
    accounts: dict[str, list[str]] = {}
    for account, rule in sorted(episodes):
        accounts.setdefault(rule, []).append(account)
    return [
        ShadowRule(rule, len(found), found[:EXAMPLES])
        for rule, found in sorted(accounts.items(), key=lambda one: (-len(one[1]), one[0]))
    ]
