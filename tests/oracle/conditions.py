"""The oracle's conditions on an account: whether its profile is what a `when` of the policy asks for.

Owns a second reading of docs/reference/policy/segments.md for the forms of such a condition. Must not know scores,
events or the product's own code. Called by `tests.oracle.scores` and `tests.oracle.derived`.
"""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import Any

from tests.oracle.events import MILLION, Event
from tests.oracle.policy import DAY_MS
from tests.oracle.profiles import as_day, as_number, as_texts

CALCULATED = {"days_since_start": ("started_at", "days_since"), "days_to_renewal": ("renewal_at", "days_until")}


def fits(when: dict[str, Any], profile: Event | None, as_of_ms: int) -> bool:
    """Say whether a profile is what a condition asks for; without a profile, no field has a value."""
    for name, asked in when.items():
        table = {"in": asked} if isinstance(asked, list) else asked
        field = name.removeprefix("account.")
        if field in CALCULATED and name == field:
            field, days = CALCULATED[field]
            table = {days: table}
        if not all(_holds(field, operator, operand, profile, as_of_ms) for operator, operand in table.items()):
            return False
    return True


def _holds(field: str, operator: str, operand: Any, profile: Event | None, as_of_ms: int) -> bool:
    if operator in ("from", "below"):
        return _ends(operator, operand, field, profile)
    if operator in ("days_since", "days_until"):
        day = _day(field, profile)
        days = 0 if day is None else as_of_ms // DAY_MS - day
        return day is not None and _lies_in(Fraction(days if operator == "days_since" else -days), operand)
    texts = _texts(field, profile)
    listed = any(text in operand for text in texts) if operator in ("in", "not") else False
    beginnings = [operand] if isinstance(operand, str) else operand
    return {
        "exists": lambda: bool(texts) is operand,
        "in": lambda: listed,
        "not": lambda: not listed,
        "prefix": lambda: any(text[: len(each)] == each for text in texts for each in beginnings),
    }[operator]()


def _ends(operator: str, operand: Any, field: str, profile: Event | None) -> bool:
    """Compare with one end of a range, which is a number or a date."""
    value: Fraction | int | None
    if isinstance(operand, date | str):
        limit = Fraction((date.fromisoformat(str(operand)) - date(1970, 1, 1)).days)
        value = _day(field, profile)
    else:
        limit, value = Fraction(operand), _number(field, profile)
    if value is None:
        return False
    return value >= limit if operator == "from" else value < limit


def _lies_in(number: Fraction, span: dict[str, Any]) -> bool:
    return span.get("from", number) <= number and ("below" not in span or number < span["below"])


def _texts(field: str, profile: Event | None) -> list[str]:
    if profile is None:
        return []
    if field in profile.texts:
        return [profile.texts[field]]
    if field in profile.times_ms or field in profile.numbers:
        return ["a value"]  # only ever asked whether it exists
    return as_texts(profile.attributes.get(field))


def _number(field: str, profile: Event | None) -> Fraction | None:
    if profile is None:
        return None
    if field == "arr":
        return Fraction(profile.numbers["arr"], MILLION) if "arr" in profile.numbers else None
    number = as_number(profile.attributes.get(field))
    return None if number is None else Fraction(str(number))


def _day(field: str, profile: Event | None) -> int | None:
    if profile is None:
        return None
    if field in ("started_at", "renewal_at"):
        return profile.times_ms[field] // DAY_MS if field in profile.times_ms else None
    return as_day(profile.attributes.get(field))
