"""One account as lists show it, and its alerts: rows, moves, reasons.

Owns how far a score moved and why, from the account's line and its changes. Pure. Called by whatever shows accounts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from agents.board.state.alerts import state_of
from agents.board.state.state import Account, State
from agents.board.views.text import SMALLEST_SHOWN, move_text, silence_text
from agents.board.views.types import AlertView, MeasureDelta, Row, RowScore
from schemas.outputs import Alert
from schemas.topics import DAY_MS

SPANS: Mapping[str, int] = MappingProxyType({"1d": DAY_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS})
REASON_SPAN = "7d"
SILENT_MS = 90 * DAY_MS
"""As long as `health.score-changes` are kept."""
SPARKS = 24
_SPARK_MS = 30 * DAY_MS
UNPUBLISHED = "unpublished"
"""Factor of steps that were too small to be published."""


class Move(NamedTuple):
    """How far a score moved: `parts` (measure, delta) sum to `delta`; `since` is the first change that way."""

    delta: float
    since: int
    parts: list[tuple[str, float]]

    def words(self) -> str:
        """The move in a sentence."""
        return move_text(self.delta, self.since, self.parts)

    def factors(self) -> list[MeasureDelta]:
        """The parts as the API has them."""
        return [MeasureDelta(measure, delta) for measure, delta in self.parts]


def is_silent(state: State, account: Account) -> bool:
    """Whether nothing is known of an account lately: what stands there is no sign of steadiness."""
    return account.as_of < state.time - SILENT_MS


def delta_since(state: State, account: Account, score: str, time: int) -> float | None:
    """How far a score moved since a moment; None where there was none then, and of an account that is silent."""
    if is_silent(state, account):
        return None
    series = account.series.get(score)
    now = account.scores[score].value
    if series is None or not len(series):
        return 0.0 if account.as_of <= time else None
    then = series.value_at(time)
    return None if then is None else now - then


def move_since(state: State, account: Account, score: str, time: int) -> Move | None:
    """How far a score moved since a moment, and what moved it; None where there was none then."""
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
    parts = [(state.tables.measures.text(measure), math.fsum(deltas)) for measure, deltas in sums.items()]
    return Move(delta, since, with_remainder(parts, delta))


def with_remainder(parts: Iterable[tuple[str, float]], delta: float) -> list[tuple[str, float]]:
    """Parts by size without zeros, and what they leave of `delta` as one more."""
    found = [part for part in parts if part[1]]
    rest = delta - math.fsum(part for _, part in found)
    if abs(rest) > _CLOSE:
        found.append((UNPUBLISHED, rest))
    return sorted(found, key=lambda part: (-abs(part[1]), part[0]))


_CLOSE = 1e-9


def spark(account: Account, score: str) -> list[float | None]:
    """The score at `SPARKS` moments evenly over 30 days, the last one now."""
    series, end = account.series.get(score), account.as_of
    now = account.scores[score].value
    if series is None or not len(series):
        return [None] * (SPARKS - 1) + [now]
    step = _SPARK_MS / (SPARKS - 1)
    found = [series.value_at(round(end - step * (SPARKS - 1 - place))) for place in range(SPARKS - 1)]
    return [*(None if value is None else round(value, 1) for value in found), now]


def reason(state: State, account: Account, score: str) -> str:
    """Why the score moved over the last 7 days, in a sentence; of a silent account, since when; else empty."""
    if is_silent(state, account):
        return silence_text(account.as_of)
    time = state.time - SPANS[REASON_SPAN]
    delta = delta_since(state, account, score, time)
    if delta is None or abs(delta) < SMALLEST_SHOWN:
        return ""
    move = move_since(state, account, score, time)
    return "" if move is None else move.words()


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
        as_of=account.as_of,
        revision=account.revision,
        policy=account.policy,
        catching_up=account.catching_up,
        stalled_sources=list(account.stalled),
        override=account.override,
        alerts=len(alerts),
        severity=alerts[0].severity if alerts else None,
        scores={
            name: RowScore(
                value=score.value,
                band=score.band,
                confidence=score.confidence,
                change={span: delta_since(state, account, name, state.time - length) for span, length in SPANS.items()},
                spark=spark(account, name),
                reason=reason(state, account, name),
            )
            for name, score in account.scores.items()
        },
    )


def alert_view(state: State, alert: Alert) -> AlertView:
    """An alert with what people call its account."""
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
        flaps=alert.flaps or 0,
        digest=alert.digest,
    )
