"""Sentences of the board: why a score moved, what an input event was.

Owns the words only. Pure. Called by `agents.board.views.rows`, `summary`, `accounts` and `timeline`; the words of
factors are in `stream.explain.text`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from schemas.outputs import FactorChange
from stream.explain.text import label_of, number

TOLD = 3
"""So many factors of a move are told."""
TELLING = 0.05
"""Smaller deltas would read as 0."""
LONGEST_TEXT = 60
"""Texts of events are cut to so many characters in a title."""


def points(delta: float) -> str:
    """A delta of points: "-14", "+2.5"."""
    return f"{delta:+.1f}".removesuffix(".0")


def day_words(time: int) -> str:
    """A day as people say it: "Tuesday 24 Nov" (UTC)."""
    moment = datetime.fromtimestamp(time / 1000, UTC)
    return f"{moment:%A} {moment.day} {moment:%b}"


def silence_words(time: int) -> str:
    """Since when nothing is known of an account: "no data since 4 Aug 2026" (UTC)."""
    moment = datetime.fromtimestamp(time / 1000, UTC)
    return f"no data since {moment.day} {moment:%b %Y}"


def parts_words(parts: Sequence[tuple[str, float]]) -> str:
    """The factors that tell most, largest first: "support tickets -8, product usage -6"."""
    telling = [(measure, delta) for measure, delta in parts if abs(delta) >= TELLING]
    telling.sort(key=lambda part: (-abs(part[1]), part[0]))
    return ", ".join(f"{label_of(measure)} {points(delta)}" for measure, delta in telling[:TOLD])


def move_words(delta: float, since: int, parts: Sequence[tuple[str, float]]) -> str:
    """Why a score moved since a moment; nothing where it did not."""
    if abs(delta) < TELLING:
        return ""
    begin = f"{points(delta)} since {day_words(since)}"
    told = parts_words(parts)
    return f"{begin}: {told}" if told else begin


def change_words(before: float, after: float, band: str, factors: Sequence[FactorChange]) -> str:
    """One change: "-8 to 67.5, attention: support tickets -8"."""
    begin = f"{points(after - before)} to {number(round(after, 1))}, {band}"
    told = parts_words([(factor.measure, factor.delta) for factor in factors])
    return f"{begin}: {told}" if told else begin


def event_words(topic: str, event: Mapping[str, Any]) -> str:
    """What an input event was, in a few words; events of unknown form by their topic's name."""
    tell = _TITLES.get(topic)
    return (tell(event) if tell else "").strip() or f"{label_of(topic.replace('-', ' '))} event"


def _text(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    if value is None:
        return ""
    text = number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def _usage(event: Mapping[str, Any]) -> str:
    what = " ".join(part for part in (_text(event, "action"), _text(event, "feature")) if part) or "used the product"
    who = _text(event, "user_id")
    return f"{who}: {what}" if who else what


def _ticket(event: Mapping[str, Any]) -> str:
    priority = _text(event, "priority") or "normal"
    return f"{priority} ticket {_text(event, 'ticket_id')} {_text(event, 'status')}"


def _survey(event: Mapping[str, Any]) -> str:
    return f"{_text(event, 'kind').upper()} answer {_text(event, 'score')}"


def _billing(event: Mapping[str, Any]) -> str:
    words = label_of(_text(event, "kind"))
    if event.get("amount"):
        words += f", {_text(event, 'amount')} {_text(event, 'currency')}".rstrip()
    if event.get("days_late"):
        words += f", {_text(event, 'days_late')} days late"
    return words


def _engagement(event: Mapping[str, Any]) -> str:
    who = _text(event, "user_id") or _text(event, "role")
    return label_of(_text(event, "kind")) + (f" by {who}" if who else "")


def _signal(event: Mapping[str, Any]) -> str:
    return f"{label_of(_text(event, 'name'))} is {_text(event, 'value')}"


def _profile(event: Mapping[str, Any]) -> str:
    fields = ("name", "tier", "plan", "segment", "owner", "arr")
    told = [f"{name} {_text(event, name)}" for name in fields if event.get(name) is not None]
    return "profile: " + ", ".join(told) if told else "profile changed"


def _control(event: Mapping[str, Any]) -> str:
    kind, by = _text(event, "kind"), _text(event, "by")
    words = {
        "pulse": f"pulse {_text(event, 'value')}",
        "override": f"override to {_text(event, 'score') or _text(event, 'band')}: {_text(event, 'reason')}",
        "clear_override": "override ended",
        "acknowledge": f"alert {_text(event, 'rule')} acknowledged",
        "snooze": f"alert {_text(event, 'rule')} snoozed",
    }.get(kind, label_of(kind))
    return words + (f", by {by}" if by else "")


_TITLES = {
    "product-usage": _usage,
    "support-tickets": _ticket,
    "surveys": _survey,
    "billing": _billing,
    "engagement": _engagement,
    "signals": _signal,
    "accounts": _profile,
    "controls": _control,
}
