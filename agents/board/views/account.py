"""The page of one account, and the difference of a score between two times.

A page has scores with factors and series, their changes, alerts, parent and children. Pure. Called by
`agents.board.web.app`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice, pairwise
from types import MappingProxyType

import msgspec

from agents.board.state.change_history import PackedChange, factors_of
from agents.board.state.series import NO_BAND
from agents.board.state.state import Account, State
from agents.board.views.rows import UNPUBLISHED, alert_view, row_of, with_remainder
from agents.board.views.text import change_text
from agents.board.views.types import (
    AccountPage,
    ChangeView,
    Child,
    Diff,
    EpisodesView,
    ExplanationView,
    MeasureDelta,
    Moment,
    Parent,
    ProfileView,
    RollupView,
    ScorePage,
    SeriesView,
    ShortScore,
)
from schemas.codecs import instant_ms
from schemas.events import Instant
from schemas.outputs import Cause, ScoreMessage, ScoreValue
from stream.explain.explain import explain_message
from stream.explain.forecast import Forecast, Turn
from stream.explain.forecast import Step as ForecastStep
from stream.explain.selector import select_score
from stream.plan.plan import Plan

CHANGES_SHOWN = 100
CHILDREN_SHOWN = 200
_STATES: Mapping[str | None, str] = MappingProxyType(
    {"ended": "not scored any more: the account ended", "no-data": "not scored any more: no data"}
)
UNKNOWN = "unknown"
"""Factor of the difference between changes that do not join."""


def change_view(state: State, account: str, score: str, change: PackedChange) -> ChangeView:
    """A change in the form of the API."""
    tables, factors = state.tables, factors_of(change, state.tables)
    band = tables.bands.text(change.band_to)
    cause: Cause = msgspec.convert(change.cause, Cause)
    return ChangeView(
        id=change.id,
        account_id=account,
        time=change.time,
        score=score,
        from_=change.from_,
        to=change.to,
        band_from=None if change.band_from is None else tables.bands.text(change.band_from),
        band_to=band,
        cause=cause,
        factors=factors,
        policy=tables.policies.text(change.policy),
        revision=change.revision,
        words=_STATES.get(change.state) or change_text(change.from_, change.to, band, factors),
        override=change.override,
        state=change.state,
    )


def page_of(state: State, account: Account, plan: Plan | None) -> AccountPage:
    """Everything about one account. `plan` is the board's own policy, if it has one."""
    message, key = account.message(), account.account_id
    row = row_of(state, account)
    parent = row.parent_id
    children = [child for child in sorted(state.children.get(key, ())) if state.accounts[child].scores]
    rollup = state.rollups.get(key)
    return AccountPage(
        account=row,
        profile=_profile(state, key),
        scores={name: _score(state, account, message, name, plan) for name in message.scores},
        alerts=EpisodesView(
            open=[alert_view(state, alert) for alert in state.episodes.open_of(key)],
            past=[alert_view(state, alert) for alert in state.episodes.past_of(key)],
        ),
        parent=None if parent is None else Parent(parent, state.profile_name(parent), parent in state.accounts),
        children=[_child(state, child) for child in children[:CHILDREN_SHOWN]],
        rollup=None if rollup is None else RollupView(rollup.account_id, rollup.as_of, rollup.children, rollup.scores),
    )


def _score(state: State, account: Account, message: ScoreMessage, name: str, plan: Plan | None) -> ScorePage:
    score, history = message.scores[name], account.histories.get(name)
    changes = () if history is None else islice(history.newest_first(), CHANGES_SHOWN)
    return ScorePage(
        value=score.value,
        shown=score.shown,
        band=score.band,
        confidence=1.0 if score.confidence is None else score.confidence,
        exceptions=score.exceptions or [],
        factors=score.factors,
        history=_history(state, account, name, score),
        changes=[change_view(state, account.account_id, name, change) for change in changes],
        explanation=_explanation(message, name, plan),
        forecast=_forecast(message, score),
        last=(message.last or {}).get(name),
    )


def _forecast(message: ScoreMessage, score: ScoreValue) -> Forecast | None:
    """The forecast of a score if no event comes, from its outlook."""
    outlook = score.outlook
    if outlook is None or score.value is None or score.band is None:
        return None
    steps, turn = [ForecastStep(message.as_of, score.value, score.band)], None
    if outlook.turn is not None and outlook.turn.at > message.as_of and outlook.turn.band != score.band:
        turn = Turn(outlook.turn.at, outlook.turn.band, outlook.turn.score, [])
        steps.append(ForecastStep(turn.at, turn.score, turn.band))
    return Forecast(outlook.until, final=False, turn=turn, line=steps)


def _history(state: State, account: Account, name: str, now: ScoreValue) -> SeriesView:
    """The series, with the present value as its last point if there is one."""
    tables, view = state.tables, SeriesView([], [], [], [])
    series = account.series.get(name)
    for point in series.points() if series is not None else ():
        view.times.append(point.time)
        view.values.append(point.value)
        view.bands.append("" if point.band == NO_BAND else tables.bands.text(point.band))
        view.policies.append(tables.policies.text(point.policy))
    if now.value is None or now.band is None:
        return view
    view.times.append(max(account.as_of, *view.times[-1:]) if view.times else account.as_of)
    view.values.append(now.value)
    view.bands.append(now.band)
    view.policies.append(account.policy)
    return view


def _explanation(message: ScoreMessage, name: str, plan: Plan | None) -> ExplanationView | None:
    if plan is None or plan.label != message.policy:
        return None
    explanation = explain_message(message, plan, select_score(plan.policy, name))
    return ExplanationView(
        explanation.words, explanation.next_band, explanation.missing_points, explanation.lifts, explanation.notes
    )


def _profile(state: State, key: str) -> ProfileView | None:
    profile = state.profiles.get(key)
    if profile is None:
        return None
    return ProfileView(
        time=instant_ms(profile.time),
        name=profile.name,
        tier=profile.tier,
        plan=profile.plan,
        segment=profile.segment,
        persona=profile.persona,
        started_at=_instant(profile.started_at),
        renewal_at=_instant(profile.renewal_at),
        arr=profile.arr,
        parent_id=profile.parent_id,
        owner=profile.owner,
        aliases=profile.aliases or [],
        attributes=profile.attributes,
    )


def _instant(time: Instant | None) -> int | None:
    return None if time is None else instant_ms(time)


def _child(state: State, key: str) -> Child:
    child, profile = state.accounts[key], state.profiles.get(key)
    return Child(
        key,
        None if profile is None else profile.name,
        None if profile is None else profile.arr,
        {name: ShortScore(score.value, score.band, score.shown) for name, score in child.scores.items()},
    )


def diff_of(state: State, account: Account, score: str, after: int, until: int | None) -> Diff:
    """What changed a score between two times (epoch ms).

    `until` None, or a time that is not before the latest score, means now.
    """
    now, history = account.scores.get(score), account.histories.get(score)
    end = account.as_of if until is None else until
    is_now = end >= account.as_of and now is not None
    base, changes = (None, []) if history is None else history.between(after, 2**62 if is_now else end)
    oldest = None if history is None else history.oldest()
    known_since = account.as_of if oldest is None else oldest.time
    begins = oldest is not None and oldest.band_from is None  # the history has the first change of all
    start = _moment(state, after, base, changes)
    last = changes[-1] if changes else base
    if is_now and now is not None:
        finish = Moment(end, now.value, now.band)
        if oldest is None:
            start = Moment(after, now.value, now.band)  # no change is in the history
    else:
        finish = _moment(state, end, last, [])
    deltas = _deltas(state, base, changes)
    if is_now and now is not None and last is not None:
        deltas.append((UNPUBLISHED, now.value - last.to))
    delta = (finish.value or 0.0) - (start.value or 0.0)
    factors = [MeasureDelta(measure, share) for measure, share in with_remainder(deltas, delta)]
    complete = begins or known_since <= after or oldest is None
    return Diff(account.account_id, score, start, finish, delta, factors, len(changes), complete, known_since)


def _moment(state: State, time: int, base: PackedChange | None, later: list[PackedChange]) -> Moment:
    """The score after the last change before a time, or before the first change after it."""
    if base is not None:
        return Moment(time, base.to, state.tables.bands.text(base.band_to))
    if later and later[0].band_from is not None:
        return Moment(time, later[0].from_, state.tables.bands.text(later[0].band_from))
    return Moment(time, None, None)


def _deltas(state: State, base: PackedChange | None, changes: list[PackedChange]) -> list[tuple[str, float]]:
    """The sum of each measure over these changes, and the difference between changes that do not join."""
    sums: dict[str, list[float]] = {}
    for change in changes:
        for measure, before, after in change.factors:
            sums.setdefault(state.tables.measures.text(measure), []).append(after - before)
    chain = changes if base is None else [base, *changes]
    gaps = [later.from_ - earlier.to for earlier, later in pairwise(chain) if later.from_ != earlier.to]
    if gaps:
        sums[UNKNOWN] = gaps
    return [(measure, math.fsum(deltas)) for measure, deltas in sums.items()]
