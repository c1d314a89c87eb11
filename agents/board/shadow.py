"""The candidate policy beside the live one: who would be in another band, which alerts it would raise or spare.

Owns the comparison. Pure. Called by `agents.board.app`.
"""

from __future__ import annotations

from collections import Counter

from agents.board.state import State
from agents.board.views import ShortScore
from agents.board.views_overall import (
    ShadowAccount,
    ShadowAlerts,
    ShadowBand,
    ShadowMove,
    ShadowRule,
    ShadowScore,
    ShadowView,
)
from stream.bands import BAND_DECIMALS

EXAMPLES = 5


def shadow_of(state: State, score: str | None, limit: int) -> ShadowView:
    """Compare all accounts that both policies have scored; of one score, or all."""
    both = [key for key in state.shadows if key in state.accounts]
    if not both:
        return ShadowView(available=False, policy=None, accounts=0, scores=[], alerts=ShadowAlerts([], []))
    policies = Counter(state.shadows[key].policy for key in both)
    names = [name for name in state.score_names() if score in {None, name}]
    return ShadowView(
        available=True,
        policy=max(policies, key=lambda label: (policies[label], label)),
        accounts=len(both),
        scores=[_score(state, name, both, limit) for name in names],
        alerts=_alerts(state, both),
    )


def _score(state: State, name: str, both: list[str], limit: int) -> ShadowScore:
    live: Counter[str] = Counter()
    shadow: Counter[str] = Counter()
    moves: Counter[tuple[str, str]] = Counter()
    differing: list[ShadowAccount] = []
    for key in both:
        here, there = state.accounts[key].scores.get(name), state.shadows[key].scores.get(name)
        if here is None or there is None:
            continue
        live[here.band] += 1
        shadow[there[1]] += 1
        if here.band != there[1]:
            moves[here.band, there[1]] += 1
        delta = there[0] - here.value
        if here.band != there[1] or round(delta, BAND_DECIMALS):
            account = ShadowAccount(
                key, state.profile_name(key), ShortScore(here.value, here.band), ShortScore(*there), delta
            )
            differing.append(account)
    differing.sort(key=lambda one: (one.live.band == one.shadow.band, -abs(one.delta), one.account_id))
    order = [*state.bands(name), *sorted(shadow.keys() - set(state.bands(name)))]
    return ShadowScore(
        name=name,
        bands=[ShadowBand(band, live[band], shadow[band]) for band in order],
        moves=[ShadowMove(*pair, count) for pair, count in sorted(moves.items(), key=lambda one: (-one[1], one[0]))],
        differing=len(differing),
        accounts=differing[:limit],
    )


def _alerts(state: State, both: list[str]) -> ShadowAlerts:
    raised: dict[str, list[str]] = {}
    spared: dict[str, list[str]] = {}
    for key in both:
        live = {alert.rule for alert in state.episodes.open_of(key)}
        shadow = set(state.shadows[key].alerts)
        for rule in shadow - live:
            raised.setdefault(rule, []).append(key)
        for rule in live - shadow:
            spared.setdefault(rule, []).append(key)
    return ShadowAlerts(_rules(raised), _rules(spared))


def _rules(found: dict[str, list[str]]) -> list[ShadowRule]:
    return [
        ShadowRule(rule, len(accounts), sorted(accounts)[:EXAMPLES])
        for rule, accounts in sorted(found.items(), key=lambda one: (-len(one[1]), one[0]))
    ]
