"""Texts of the board: why a score changed, what an input event was.

Pure. Called by `agents.board.views.rows`, `account` and `timeline`; texts of factors are in `stream.explain.text`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from schemas.outputs import FactorChange
from schemas.records import LARGEST_NUMBER
from stream.explain.text import label_of, number

FACTORS_SHOWN = 3
"""The number of factors in the text of a change."""
SMALLEST_SHOWN = 0.05
"""Smaller deltas would be shown as 0."""
LONGEST_TEXT = 60
"""Longest text of an event in a title, in characters."""


_FACTORS = {"unpublished": "changes too small to publish", "redistribution": "weight of missing measures"}
"""Texts for factors that are no measures."""


def points(delta: float) -> str:
    """A delta of points: "-14", "+2.5"."""
    return f"{delta:+.1f}".removesuffix(".0")


def day_text(time: int) -> str:
    """A day: "Tuesday 24 Nov" (UTC)."""
    moment = datetime.fromtimestamp(time / 1000, UTC)
    return f"{moment:%A} {moment.day} {moment:%b}"


def silence_text(time: int) -> str:
    """The text for a silent account: "no data since 4 Aug 2026" (UTC)."""
    moment = datetime.fromtimestamp(time / 1000, UTC)
    return f"no data since {moment.day} {moment:%b %Y}"


def deltas_text(deltas: Sequence[tuple[str, float]]) -> str:
    """The largest deltas: "support tickets -8, product usage -6"."""
    shown = [(measure, delta) for measure, delta in deltas if abs(delta) >= SMALLEST_SHOWN]
    shown.sort(key=lambda item: (-abs(item[1]), item[0]))
    return ", ".join(
        f"{_FACTORS.get(measure, label_of(measure))} {points(delta)}" for measure, delta in shown[:FACTORS_SHOWN]
    )


def move_text(delta: float, since: int, deltas: Sequence[tuple[str, float]]) -> str:
    """Why a score changed since a time: "-14 since Tuesday 24 Nov: support tickets -8"; "" if it did not."""
    if abs(delta) < SMALLEST_SHOWN:
        return ""
    begin = f"{points(delta)} since {day_text(since)}"
    reasons = deltas_text(deltas)
    return f"{begin}: {reasons}" if reasons else begin


def reasons_text(delta: float, deltas: Sequence[tuple[str, float]]) -> str:
    """Why a score changed, without since when: "support tickets -8"; "" if it did not."""
    return "" if abs(delta) < SMALLEST_SHOWN else deltas_text(deltas)


def change_text(before: float, after: float, band: str, factors: Sequence[FactorChange]) -> str:
    """One change: "-8 to 67.5, attention: support tickets -8"."""
    begin = f"{points(after - before)} to {number(round(after, 1))}, {band}"
    reasons = deltas_text([(factor.measure, factor.delta) for factor in factors])
    return f"{begin}: {reasons}" if reasons else begin


def event_text(source: str, event: Mapping[str, Any]) -> str:
    """An input event in a few words; an event of a source of the policy by the name of the source."""
    title = _TITLES.get(source)
    return (title(event) if title else "").strip() or f"{label_of(source.replace('-', ' '))} event"


def _text(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value) if abs(value) <= LARGEST_NUMBER else "a very large number"
    text = str(value)
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def _usage(event: Mapping[str, Any]) -> str:
    what = " ".join(filter(None, (_text(event, "action"), _text(event, "feature")))) or "used the product"
    who = _text(event, "user_id")
    return f"{who}: {what}" if who else what


def _ticket(event: Mapping[str, Any]) -> str:
    priority = _text(event, "priority") or "normal"
    return f"{priority} ticket {_text(event, 'ticket_id')} {_text(event, 'status')}"


def _survey(event: Mapping[str, Any]) -> str:
    return f"{_text(event, 'kind').upper()} answer {_text(event, 'score')}"


def _billing(event: Mapping[str, Any]) -> str:
    text = label_of(_text(event, "kind"))
    if event.get("amount"):
        text += f", {_text(event, 'amount')} {_text(event, 'currency')}".rstrip()
    if event.get("days_late"):
        text += f", {_text(event, 'days_late')} days late"
    return text


def _engagement(event: Mapping[str, Any]) -> str:
    who = _text(event, "user_id") or _text(event, "role")
    return label_of(_text(event, "kind")) + (f" by {who}" if who else "")


def _signal(event: Mapping[str, Any]) -> str:
    return f"{label_of(_text(event, 'name'))} is {_text(event, 'value')}"


def _profile(event: Mapping[str, Any]) -> str:
    fields = ("name", "tier", "plan", "segment", "owner", "arr")
    values = [f"{name} {_text(event, name)}" for name in fields if event.get(name) is not None]
    return "profile: " + ", ".join(values) if values else "profile changed"


def _control(event: Mapping[str, Any]) -> str:
    kind, by = _text(event, "kind"), _text(event, "by")
    text = {
        "pulse": f"pulse {_text(event, 'value')}",
        "override": f"override to {_text(event, 'score') or _text(event, 'band')}: {_text(event, 'reason')}",
        "clear_override": "override ended",
        "acknowledge": f"alert {_text(event, 'rule')} acknowledged",
        "snooze": f"alert {_text(event, 'rule')} snoozed",
    }.get(kind, label_of(kind))
    return text + (f", by {by}" if by else "")


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
