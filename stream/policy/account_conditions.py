"""Read conditions on an account: what its profile must be, in `when` of segments and measures.

Owns `AccountFilter` and `Range`, and the forms of a condition on a text, a number or a date of the profile. Must not
know what a condition is for. Called by the readers of segments and measures; `stream.plan.segments` evaluates them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Literal

from schemas.profiles import day_of, is_date
from stream.policy.fields import ACCOUNT, account_field, read_account_field
from stream.policy.filters import TEXT_KEYS, Condition, Filter, read_exists, text_conditions
from stream.policy.table import Number, finite

if TYPE_CHECKING:
    from stream.policy.table import Table

TEXTS = ("tier", "plan", "segment", "persona", "owner")
"""Text fields of a profile that `when` can use."""
RANGES = ("arr", "days_since_start", "days_to_renewal")
"""Numbers that `when` can bound; days are UTC days to the time of the score."""
DATES = ("started_at", "renewal_at")
"""Dates of a profile that `when` can use."""

KEYS = (*TEXTS, *RANGES, *DATES)

Days = Literal["date", "days_since", "days_until"]
"""How a date is bounded: itself, or the UTC days from it to the time of the score, or from that to it."""

_ACCOUNT = ACCOUNT.rstrip(".")
_DAYS: tuple[Days, Days] = ("days_since", "days_until")
_RANGE_KEYS = ("from", "below")
_DATE_KEYS = (*_RANGE_KEYS, *_DAYS, "exists")
_ATTRIBUTE_KEYS = (*_RANGE_KEYS, "in", "not", "prefix", *_DAYS, "exists")
_ATTRIBUTE = 'a list of texts, such as ["DE", "AT"], or a range, such as { from = 30, below = 90 }'
_WHEN = 'a table of what the profile must be, such as { tier = ["enterprise"] }'
_TEXT = 'a list of texts, such as ["enterprise"], or a condition such as { not = ["free"] }'
_RANGE = "a table such as { from = 30, below = 90 }, or with one of the two"
_DATE = "a table such as { from = 2026-01-31 }, { days_since = { below = 90 } } or { days_until = { below = 30 } }"
_LIMIT = Number("a number")
_NOBODY = ": no account would match"
_CALCULATED: Mapping[str, tuple[str, Days]] = {
    "days_since_start": ("started_at", "days_since"),
    "days_to_renewal": ("renewal_at", "days_until"),
}


@dataclass(frozen=True, slots=True)
class Range:
    """`from_ <= number < below`; None leaves that side open. With `days` it is about a date, in UTC days since 1970."""

    field: str
    from_: float | None
    below: float | None
    days: Days | None = None

    @property
    def reads(self) -> tuple[str, Days | None]:
        """The field of the profile, and how it is bounded if it is a date."""
        return _CALCULATED.get(self.field, (self.field, self.days))


@dataclass(frozen=True, slots=True)
class AccountFilter:
    """A condition on an account: every text condition holds, and every number or date is in its range."""

    texts: Filter
    ranges: tuple[Range, ...]


def read_when(table: Table, *, required: bool = True) -> AccountFilter | None:
    """The condition in `when`; None if there is none. Mistakes are recorded."""
    if not required and "when" not in table:
        return None
    when = table.table("when", _WHEN, (*KEYS, *_attribute_keys(table)))
    if when is None:
        return None
    if not len(when):
        table.wrong("when", _WHEN)
    conditions = _Conditions()
    for field in filter(lambda field: _has(when, field, list), TEXTS):
        conditions.texts += _read_texts(when, field, field)
    for field in filter(lambda field: _has(when, field, dict), RANGES):
        conditions.ranges += _read_range(when, field, field)
    for field in filter(lambda field: _has(when, field, dict), DATES):
        _read_operators(when, field, field, conditions)
    for key, attributes in _attributes(when):
        _read_attribute(attributes, key, conditions)
    return AccountFilter(tuple(conditions.texts), tuple(conditions.ranges))


class _Conditions:
    """The conditions read so far."""

    def __init__(self) -> None:
        self.texts: list[Condition] = []
        self.ranges: list[Range] = []

    def has(self, field: str) -> bool:
        """Whether a field has a condition already."""
        return any(field == name for name, *_ in self.texts) or any(field == each.field for each in self.ranges)


def _attribute_keys(table: Table) -> tuple[str, ...]:
    """Keys of `when` that name attributes: `account`, whose keys are names, and quoted ones such as "account.seats"."""
    when = table.value("when")
    quoted = [key for key in when if isinstance(key, str) and key.startswith(ACCOUNT)] if isinstance(when, dict) else []
    return (_ACCOUNT, *quoted)


def _attributes(when: Table) -> list[tuple[str, Table]]:
    """Every key that names an attribute, with the table it is in."""
    attributes = [(key, when) for key in when if key.startswith(ACCOUNT)]
    if _has(when, _ACCOUNT, dict):
        nested = when.table(_ACCOUNT, 'a table of attributes, such as { country = ["DE"] }', None)
        attributes += [(key, nested) for key in nested or () if nested is not None]
    return sorted(attributes, key=lambda attribute: attribute[0].removeprefix(ACCOUNT))


def _read_attribute(table: Table, key: str, conditions: _Conditions) -> None:
    """Add the condition on one attribute, or on a known field by its path."""
    field = read_account_field(table, key, account_field(key) or key, (*TEXTS, "arr", *DATES))
    if field is None:
        return
    if conditions.has(field):
        table.problem(key, f"{field} has a condition already")
    if field in TEXTS:
        conditions.texts += _read_texts(table, key, field)
    elif isinstance(table.value(key), dict):
        _read_operators(table, key, field, conditions)
    elif field.startswith(ACCOUNT) and isinstance(table.value(key), list):
        conditions.texts += _read_texts(table, key, field)
    else:
        table.wrong(key, _DATE if field in DATES else _RANGE if field == "arr" else _ATTRIBUTE)


def _has(when: Table, field: str, kind: type) -> bool:
    """Whether a field is there; a misspelled one counts only if its value has the right type."""
    return field in when and (when.path_of(field)[-1] == field or isinstance(when.value(field), kind))


def _read_texts(when: Table, key: str, field: str) -> list[Condition]:
    """The conditions on a text: a list of values, or a table."""
    if not isinstance(when.value(key), dict):
        values = when.texts(key, printable=False)
        return [(field, tuple(sorted(set(values))))] if values else []
    table = when.table(key, _TEXT, TEXT_KEYS)
    if table is None or not len(table):
        when.wrong(key, _TEXT)
        return []
    return [*text_conditions(table, field), *read_exists(table, field)]


def _read_operators(when: Table, key: str, field: str, conditions: _Conditions) -> None:
    """Add what a table says of an attribute, of `arr`, or of a known date."""
    if field == "arr":
        conditions.ranges += _read_range(when, key, field)
        return
    known = field in DATES
    table = when.table(key, _DATE if known else _ATTRIBUTE, _DATE_KEYS if known else _ATTRIBUTE_KEYS)
    if table is None:
        return
    if not len(table):
        when.wrong(key, _DATE if known else _RANGE)
    conditions.texts += [] if known else text_conditions(table, field)
    conditions.texts += read_exists(table, field)
    conditions.ranges += _read_ends(table, field, dates_only=known)
    for days in _DAYS:
        conditions.ranges += _read_range(table, days, field, days) if days in table else []


def _read_range(when: Table, key: str, field: str, days: Days | None = None) -> list[Range]:
    """A range of numbers, or of days."""
    table = when.table(key, _RANGE, _RANGE_KEYS)
    if table is None:
        return []
    if not len(table):
        when.wrong(key, _RANGE)
    from_, below = (table.number(end, _LIMIT, required=False) for end in _RANGE_KEYS)
    if from_ is not None and below is not None and below <= from_:
        table.wrong("below", f"above from, which is {from_:g}", _NOBODY)
        return []
    return [Range(field, from_, below, days)]


def _read_ends(table: Table, field: str, *, dates_only: bool) -> list[Range]:
    """The range between `from` and `below`, which are numbers or dates."""
    ends = [_read_end(table, key, dates_only=dates_only) for key in _RANGE_KEYS if key in table]
    if not ends or None in ends:
        return []
    bounds = dict(zip([key for key in _RANGE_KEYS if key in table], ends, strict=True))
    from_, below = bounds.get("from"), bounds.get("below")
    if from_ is not None and below is not None:
        if from_[1] != below[1]:
            table.problem("below", "from and below must both be numbers, or both dates")
            return []
        if below[0] <= from_[0]:
            table.wrong("below", f"above from, which is {_end_text(table.value('from'))}", _NOBODY)
            return []
    days: Days | None = "date" if (from_ or below or (0.0, False))[1] else None
    return [Range(field, None if from_ is None else from_[0], None if below is None else below[0], days)]


def _read_end(table: Table, key: str, *, dates_only: bool) -> tuple[float, bool] | None:
    """One end of a range: the number, or the day since 1970, and whether it is a day."""
    value, number = table.value(key), finite(table.value(key))
    if number is not None and not dates_only:
        return number, False
    text = value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else value
    day = day_of(text) if isinstance(text, str) and is_date(text) else None
    if day is None:
        table.wrong(key, "a date such as 2026-01-31" if dates_only else "a number, or a date such as 2026-01-31")
        return None
    return float(day), True


def _end_text(value: object) -> str:
    number = finite(value)
    return str(value) if number is None else f"{number:g}"
