"""Rows of lists: an account with its scores, how they changed and why, and its alerts.

Owns the change of a score over a span and its reason, from the series and the change history. Pure. Called by the other
views.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from agents.board.state.alerts import state_of
from agents.board.state.state import Account, State
from agents.board.views.text import SMALLEST_SHOWN, move_text, reasons_text, silence_text
from agents.board.views.types import AlertView, MeasureDelta, Row, RowScore
from schemas.outputs import Alert
from schemas.topics import DAY_MS

SPANS: Mapping[str, int] = MappingProxyType({"1d": DAY_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS})
REASON_SPAN = "7d"
SILENT_MS = 90 * DAY_MS
"""The retention of `health.score-changes`."""
SPARKS = 24
_SPARK_MS = 30 * DAY_MS
UNPUBLISHED = "unpublished"
"""Factor of changes that were too small to be published."""


class Move(NamedTuple):
    """A change of a score over a span.

    `deltas` (measure, delta) sum to `delta`; `since` is the first change in that direction.
    """

    delta: float
    since: int
    deltas: list[tuple[str, float]]

    def text(self) -> str:
        """The change in a sentence."""
        return move_text(self.delta, self.since, self.deltas)

    def reasons(self) -> str:
        """The largest deltas in a few words."""
        return reasons_text(self.delta, self.deltas)

    def factors(self) -> list[MeasureDelta]:
        """The deltas of the measures in the form of the API."""
        return [MeasureDelta(measure, delta) for measure, delta in self.deltas]


def is_silent(state: State, account: Account) -> bool:
    """Whether an account has had no event for 90 days: its score is then not steady but old."""
    return account.as_of < state.time - SILENT_MS


def delta_since(state: State, account: Account, score: str, time: int) -> float | None:
    """The change of a score since a time; None if there was no score then, or if the account is silent."""
    if is_silent(state, account):
        return None
    series = account.series.get(score)
    now = account.scores[score].value
    if series is None or not len(series):
        return 0.0 if account.as_of <= time else None
    then = series.value_at(time)
    return None if then is None else now - then


def move_since(state: State, account: Account, score: str, time: int) -> Move | None:
    """The change of a score since a time with its measures; None as in `delta_since`."""
    delta = delta_since(state, account, score, time)
    if delta is None:
        return None
    sums: dict[int, list[float]] = {}
    since = account.as_of
    history = account.histories.get(score)
    for step in history.newest_first(time) if history is not None else ():
        for measure, before, after in step.factors:
            sums.setdefault(measure, []).append(after - before)
        if (step.to - step.from_) * delta > 0:
            since = step.time
    deltas = [(state.tables.measures.text(measure), math.fsum(moves)) for measure, moves in sums.items()]
    return Move(delta, since, with_remainder(deltas, delta))


def with_remainder(deltas: Iterable[tuple[str, float]], total: float) -> list[tuple[str, float]]:
    """Deltas of measures by size, without zeros; if they do not sum to `total`, one more for the remainder."""
    changed = [(measure, delta) for measure, delta in deltas if delta]
    rest = total - math.fsum(delta for _, delta in changed)
    if abs(rest) > _CLOSE:
        changed.append((UNPUBLISHED, rest))
    return sorted(changed, key=lambda change: (-abs(change[1]), change[0]))


_CLOSE = 1e-9


def spark(account: Account, score: str) -> list[float | None]:
    """The score at `SPARKS` times evenly over 30 days, the last one now."""
    series, end = account.series.get(score), account.as_of
    now = account.scores[score].value
    if series is None or not len(series):
        return [None] * (SPARKS - 1) + [now]
    step = _SPARK_MS / (SPARKS - 1)
    earlier = [series.value_at(round(end - step * (SPARKS - 1 - index))) for index in range(SPARKS - 1)]
    return [*(None if value is None else round(value, 1) for value in earlier), now]


class Reason(NamedTuple):
    """Why a score changed: a sentence, and its time (epoch ms) and reasons for those who write it in another way."""

    text: str = ""
    since: int | None = None
    reasons: str = ""


def reason(state: State, account: Account, score: str) -> Reason:
    """Why the score changed over the last 7 days; since when a silent account has no data."""
    if is_silent(state, account):
        return Reason(silence_text(account.as_of), account.as_of)
    time = state.time - SPANS[REASON_SPAN]
    delta = delta_since(state, account, score, time)
    if delta is None or abs(delta) < SMALLEST_SHOWN:
        return Reason()
    move = move_since(state, account, score, time)
    return Reason() if move is None else Reason(move.text(), move.since, move.reasons())


def row_of(state: State, account: Account) -> Row:
    """The account as lists show it."""
    profile = state.profiles.get(account.account_id)
    alerts = state.episodes.open_of(account.account_id)
    return Row(
        account_id=account.account_id,
        name=None if profile is None else profile.name,
        owner=None if profile is None else profile.owner,
        segment=account.segment,
        tier=None if profile is None else profile.tier,
        arr=None if profile is None else profile.arr,
        parent_id=account.parent_id or (None if profile is None else profile.parent_id),
        attributes={} if profile is None else profile.attributes,
        as_of=account.as_of,
        revision=account.revision,
        policy=account.policy,
        catching_up=account.catching_up,
        stalled_sources=list(account.stalled),
        override=account.override,
        new_until=account.new_until,
        state=account.status,
        ended_at=account.ended_at,
        last_event_at=account.last_event_at,
        merged_into=account.merged_into,
        alerts=len(alerts),
        severity=alerts[0].severity if alerts else None,
        scores={name: _row_score(state, account, name) for name in account.scores},
    )


def _row_score(state: State, account: Account, name: str) -> RowScore:
    score, why = account.scores[name], reason(state, account, name)
    return RowScore(
        value=score.value,
        shown=score.shown,
        band=score.band,
        confidence=score.confidence,
        change={span: delta_since(state, account, name, state.time - length) for span, length in SPANS.items()},
        spark=spark(account, name),
        reason=why.text,
        since=why.since,
        reasons=why.reasons,
    )


def alert_view(state: State, alert: Alert) -> AlertView:
    """An alert with the name and the owner of its account."""
    profile = state.profiles.get(alert.account_id)
    return AlertView(
        id=alert.id,
        fingerprint=alert.fingerprint,
        account_id=alert.account_id,
        name=None if profile is None else profile.name,
        owner=None if profile is None else profile.owner,
        rule=alert.rule,
        severity=alert.severity,
        status=alert.status,
        state=state_of(alert),
        starts_at=alert.starts_at,
        ends_at=alert.ends_at,
        score=alert.score,
        band=alert.band,
        summary=alert.summary,
        labels=alert.labels,
        annotations=alert.annotations,
        acknowledged_at=alert.acknowledged_at,
        acknowledged_by=alert.acknowledged_by,
        snoozed_until=alert.snoozed_until,
        worsened_from=alert.worsened_from,
        worsened_to=alert.worsened_to,
        flaps=alert.flaps or 0,
        digest=alert.digest,
    )
