"""The oracle's reading of conditions: which events of an account a measure counts.

Must not know statistics, scores or the product's own code. Called by `tests.oracle.measures` and `tests.oracle.things`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from tests.oracle.events import MILLION, Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.oracle.policy import Measure


def time_of(event: Event) -> int:
    """Return the event's time, to sort by."""
    return event.time_ms


def passes(event: Event, condition: dict[str, Any]) -> bool:
    return all(_meets(event, field, asked) for field, asked in condition.items())


def _meets(event: Event, field: str, asked: list[str] | dict[str, Any]) -> bool:
    """Say whether a field is as asked: one of a list of values, or all that a table of operators says."""
    text, number = event.texts.get(field), event.numbers.get(field)
    if isinstance(asked, list):
        return text in asked
    prefixes = [asked["prefix"]] if isinstance(asked.get("prefix"), str) else asked.get("prefix")
    answers = {
        "in": text in asked.get("in", ()),
        "not": text not in asked.get("not", ()),
        "prefix": text is not None and any(text[: len(prefix)] == prefix for prefix in prefixes or ()),
        "from": number is not None and number >= MILLION * Fraction(asked.get("from", 0)),
        "below": number is not None and number < MILLION * Fraction(asked.get("below", 0)),
        "exists": (text is not None or number is not None) == asked.get("exists"),
    }
    return all(answers[operator] for operator in asked)


def counted(measure: Measure, events: Sequence[Event], first_ms: int, last_ms: int) -> list[Event]:
    """Return the measure's events of a span, both ends in it."""
    span = events[bisect_left(events, first_ms, key=time_of) : bisect_right(events, last_ms, key=time_of)]
    condition = measure.settings.get("where", {})
    return [event for event in span if event.source == measure.source and passes(event, condition)]
