"""Figures over all accounts: bands now and over time, largest changes, open alerts, policies, idle sources.

All are over every account, or over those that match a query. Pure. Called by `agents.board.state.board`, which caches
them: with 10,000 accounts they take a tenth of a second.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import accumulate

from agents.board.state.alerts import state_of
from agents.board.state.series import NO_BAND
from agents.board.state.state import Account, State
from agents.board.views.listing import ListQuery, matches, passes_filters
from agents.board.views.overall_types import (
    AlertSummary,
    Mover,
    Movers,
    OverTime,
    PolicyCount,
    RuleCount,
    ScoreSummary,
    SourceStall,
)
from agents.board.views.rows import SPANS, alert_view, delta_since, move_since
from agents.board.views.text import SMALLEST_SHOWN
from agents.board.views.types import AttributeValues, Filters, Named
from schemas.events import Attribute
from schemas.outputs import Alert
from schemas.profiles import texts_of
from schemas.topics import DAY_MS

MOVERS = 10
MOST_ATTRIBUTES = 100
"""Attributes among the values to filter by."""
MOST_VALUES = 50
"""An attribute with more values has too many to choose from."""
DAYS = 90


def counts_of(state: State) -> dict[str, int]:
    """The numbers of accounts with a score, without data, and ended, by field of `Summary`."""
    without = Counter(account.status for account in state.accounts.values() if not account.scores)
    ended = without["ended"]
    no_data = without.total() - ended
    return {"accounts": len(state.accounts) - ended - no_data, "no_data": no_data, "ended": ended}


def policies_of(state: State) -> list[PolicyCount]:
    """The policies of the latest scores, with most accounts first."""
    counts = Counter(account.policy for account in state.scored())
    return [PolicyCount(label, count) for label, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def scores_of(state: State, past: dict[str, OverTime], query: ListQuery | None = None) -> list[ScoreSummary]:
    """Figures of every score over all accounts; `past` is the result of `past_days`.

    With a query, figures of its score over the accounts that match it. A filter by band applies to the largest changes
    only: the numbers of accounts by band are those to choose from.
    """
    summaries = []
    for name in state.score_names() if query is None else (query.score,):
        scored = _scored(state, name, query)
        moving = scored if query is None else [account for account in scored if matches(state, account, query)]
        counts = Counter(account.scores[name].band for account in scored)
        summaries.append(
            ScoreSummary(
                name=name,
                bands=[Named(band, counts[band]) for band in state.bands(name)],
                over_time=_with_now(state, name, past.get(name, OverTime([], {})), counts),
                movers={span: _movers(state, name, moving, length) for span, length in SPANS.items()},
            )
        )
    return summaries


def _scored(state: State, score: str, query: ListQuery | None) -> list[Account]:
    """The accounts that have a score and match a query in any band."""
    scored = [account for account in state.accounts.values() if score in account.scores]
    return scored if query is None else [each for each in scored if matches(state, each, query, any_band=True)]


def past_days(state: State, query: ListQuery | None = None) -> dict[str, OverTime]:
    """By score, the numbers of accounts by band at the end of each past day; with a query as in `scores_of`."""
    names = state.score_names() if query is None else [query.score]
    # Also those without a score now: they counted until they lost it.
    accounts = [each for each in state.accounts.values() if query is None or passes_filters(state, each, query)]
    return {name: _past(state, name, accounts) for name in names}


def _past(state: State, score: str, accounts: list[Account]) -> OverTime:
    last = state.time // DAY_MS * DAY_MS
    every = [account.series.get(score) for account in accounts]
    all_series = [series for series in every if series is not None and len(series)]
    first = min((next(series.points()).time for series in all_series), default=state.time)
    days = [day for day in range(last - (DAYS - 2) * DAY_MS, last + 1, DAY_MS) if first <= day < state.time]
    totals: dict[int, list[int]] = {}
    for series in all_series:
        series.count_days(days, totals)
    bands = {state.tables.bands.text(number): list(accumulate(steps)) for number, steps in totals.items()}
    return OverTime(days, {band: counts[: len(days)] for band, counts in bands.items()})


def _with_now(state: State, score: str, past: OverTime, now: Counter[str]) -> OverTime:
    if not state.accounts:
        return past
    empty = [0] * len(past.days)
    accounts = {band: [*past.accounts.get(band, empty), now[band]] for band in state.bands(score)}
    return OverTime([*past.days, state.time], accounts)


def _movers(state: State, score: str, accounts: list[Account], length: int) -> Movers:
    time = state.time - length
    moved = []
    for account in accounts:
        delta = delta_since(state, account, score, time)
        if delta is not None and abs(delta) >= SMALLEST_SHOWN:
            moved.append((delta, account.account_id))
    falling = heapq.nsmallest(MOVERS, (move for move in moved if move[0] < 0))
    rising = heapq.nsmallest(MOVERS, ((-delta, account) for delta, account in moved if delta > 0))
    return Movers(
        falling=[_mover(state, account, score, time) for _, account in falling],
        rising=[_mover(state, account, score, time) for _, account in rising],
    )


def _mover(state: State, account_id: str, score: str, time: int) -> Mover:
    account = state.accounts[account_id]
    move = move_since(state, account, score, time)
    assert move is not None  # it has changed since then
    profile = state.profiles.get(account_id)
    band = account.series[score].band_at(time)
    return Mover(
        account_id=account_id,
        name=None if profile is None else profile.name,
        owner=None if profile is None else profile.owner,
        segment=account.segment,
        value=account.scores[score].value,
        shown=account.scores[score].shown,
        band=account.scores[score].band,
        band_from=None if band == NO_BAND else state.tables.bands.text(band),
        delta=move.delta,
        since=move.since,
        reason=move.text(),
        reasons=move.reasons(),
        factors=move.factors(),
    )


def alerts_of(state: State, query: ListQuery | None = None) -> AlertSummary:
    """Open alerts by rule, and operational alerts; with a query, only alerts of the accounts that match it."""
    rules: dict[tuple[str, str], RuleCount] = {}
    for alert in state.episodes.all_open():
        if query is not None and not is_of_match(state, alert, query):
            continue
        count = rules.setdefault((alert.rule, alert.severity), RuleCount(alert.rule, alert.severity, 0, 0, 0))
        count.open += 1
        count.acknowledged += state_of(alert) == "acknowledged"
        count.snoozed += state_of(alert) == "snoozed"
    by_rule = sorted(rules.values(), key=lambda count: (-count.open, count.rule, count.severity))
    return AlertSummary(
        open=sum(rule.open for rule in by_rule),
        acknowledged=sum(rule.acknowledged for rule in by_rule),
        snoozed=sum(rule.snoozed for rule in by_rule),
        by_rule=by_rule,
        operational=[alert_view(state, alert) for alert in state.episodes.open_of("")] if query is None else [],
    )


def is_of_match(state: State, alert: Alert, query: ListQuery) -> bool:
    """Whether an alert is of an account that matches a query; operational alerts match only one without filters."""
    if not query.is_filtered:
        return True
    account = state.accounts.get(alert.account_id)
    return account is not None and matches(state, account, query)


def idle_sources_of(state: State) -> list[SourceStall]:
    """Idle sources, by the scores that name them."""
    counts = Counter(source for account in state.scored() for source in account.stalled)
    return [SourceStall(source, count) for source, count in sorted(counts.items())]


def filters_of(state: State) -> Filters:
    """Values that lists can be filtered by, in the order of names; "" stands for accounts without a value."""
    profiles = [state.profiles.get(account.account_id) for account in state.scored()]
    segments = Counter(account.segment or "" for account in state.scored())
    owners = Counter("" if profile is None else profile.owner or "" for profile in profiles)
    tiers = Counter("" if profile is None else profile.tier or "" for profile in profiles)
    return Filters(
        scores=state.score_names(),
        bands={name: state.bands(name) for name in state.score_names()},
        segments=_named(segments),
        owners=_named(owners),
        tiers=_named(tiers),
        attributes=attributes_of({} if profile is None else profile.attributes for profile in profiles),
    )


def attributes_of(profiles: Iterable[Mapping[str, Attribute]]) -> list[AttributeValues]:
    """The attributes of accounts with their values, which are not listed if there are many. One pass."""
    accounts = 0
    having: Counter[str] = Counter()
    counts: dict[str, Counter[str]] = {}
    for attributes in profiles:
        accounts += 1
        for name, value in attributes.items():
            having[name] += 1
            of_name = counts.setdefault(name, Counter())
            if len(of_name) <= MOST_VALUES:  # more values are not listed, and so not counted
                of_name.update(set(texts_of(value)) or {""})
    most = sorted(having, key=lambda name: (-having[name], name))[:MOST_ATTRIBUTES]
    listed = []
    for name in sorted(most):
        of_name = counts[name]
        if without := accounts - having[name]:
            of_name[""] += without
        listed.append(AttributeValues(name, having[name], _named(of_name) if len(of_name) <= MOST_VALUES else []))
    return listed


def _named(counts: Counter[str]) -> list[Named]:
    return [Named(name, counts[name]) for name in sorted(counts)]
