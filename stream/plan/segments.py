"""Segments and other conditions on accounts: which accounts they hold for at a given time.

Owns what conditions read of every profile, and which segment of the policy each account is in: one bit for each segment
whose text conditions match, and the numbers that its ranges bound. `Accounts.set_profile` updates it;
`stream.engine.scorer` reads it. A segment can change without a new profile, since days count from the day of the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from schemas.codecs import instant_ms
from schemas.events import ProfileEvent
from schemas.profiles import attribute_of, number_of, texts_of, time_of
from stream.columns.calendar import Calendar
from stream.columns.columns import Rows
from stream.columns.facts import FactColumn
from stream.policy.account_conditions import Range
from stream.policy.fields import account_field
from stream.policy.filters import Condition, Filter, parts_of
from stream.policy.policy import Segment

NO_SEGMENT = -1
NO_PROFILE = ProfileEvent("", "", 0)
"""What an account without a profile has."""


def fact(profile: ProfileEvent, field: str, calendar: Calendar, *, as_day: bool = False) -> float:
    """A number of a profile; NaN where it does not have it.

    `arr`, the day (since 1970) of `started_at` or `renewal_at`, or an attribute as `account.NAME`: the number, or
    `as_day` the day.
    """
    name = account_field(field)
    if name is not None:
        value = attribute_of(profile, name)
        number = time_of(value) if as_day else number_of(value)
        if number is None:
            return np.nan
        return float(calendar.date_of(int(number)) if as_day else number)
    value = getattr(profile, field)
    if value is None:
        return np.nan
    return float(value) if field == "arr" else float(calendar.date_of(instant_ms(value)))


def fact_of(profile: ProfileEvent, column: FactColumn) -> float:
    """What a column keeps of a profile: a number or a day; of conditions, 1 where they hold, else NaN."""
    if column.where:
        return 1.0 if matches(profile, column.where) else np.nan
    return fact(profile, column.name, column.calendar, as_day=column.as_day)


def field_texts(profile: ProfileEvent, field: str) -> tuple[str, ...]:
    """A field of a profile as texts, or an attribute as `account.NAME`."""
    return texts_of(attribute_of(profile, account_field(field) or field))


def matches(profile: ProfileEvent, conditions: Filter) -> bool:
    """Whether all text conditions hold for a profile."""
    return all(_holds(profile, condition) for condition in conditions)


def _holds(profile: ProfileEvent, condition: Condition) -> bool:
    field, operator, operand = parts_of(condition)
    texts = field_texts(profile, field)
    if operator == "exists":
        return bool(texts) == operand
    values = cast("tuple[str, ...]", operand)
    if operator == "prefix":
        return any(text.startswith(values) for text in texts)
    return frozenset(values).isdisjoint(texts) == (operator == "not")


def in_range(bound: Range, numbers: NDArray[np.float64], day: int) -> NDArray[np.bool_]:
    """Which numbers (k,), or days since 1970, are in a range as of a day; NaN is not. bool (k,)."""
    _, days = bound.reads
    if days == "days_since":
        numbers = day - numbers
    elif days == "days_until":
        numbers = numbers - day
    inside = ~np.isnan(numbers)
    if bound.from_ is not None:
        inside &= numbers >= bound.from_
    if bound.below is not None:
        inside &= numbers < bound.below
    return inside


class Segmenter:
    """The segments of one partition's accounts."""

    def __init__(self, segments: Sequence[Segment], calendar: Calendar) -> None:
        """Empty; `segments` are the policy's, in order: an account is in the first that matches."""
        self._segments, self._calendar = segments, calendar
        self._no_profile = self._bits(NO_PROFILE)
        self._matches = np.zeros(0, dtype=np.uint64)
        read = sorted({_column_of(bound) for segment in segments for bound in segment.ranges})
        self._numbers = {column: np.full(0, np.nan) for column in read}

    def _bits(self, profile: ProfileEvent) -> int:
        """The segments, as bits, whose text conditions match a profile."""
        bits = 0
        for number, segment in enumerate(self._segments):
            bits |= matches(profile, segment.texts) << number
        return bits

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        bits = np.full(capacity, self._no_profile, dtype=np.uint64)
        bits[: len(self._matches)] = self._matches
        self._matches = bits
        for column, old in self._numbers.items():
            numbers = np.full(capacity, np.nan)
            numbers[: len(old)] = old
            self._numbers[column] = numbers

    def set_profile(self, row: int, profile: ProfileEvent) -> None:
        """Make a profile the current one of a row."""
        self._matches[row] = self._bits(profile)
        for (field, as_day), numbers in self._numbers.items():
            numbers[row] = fact(profile, field, self._calendar, as_day=as_day)

    def clear(self, row: int) -> None:
        """Forget the profile of a row."""
        self._matches[row] = self._no_profile
        for numbers in self._numbers.values():
            numbers[row] = np.nan

    def of(self, rows: Rows, as_of_ms: int) -> NDArray[np.int8]:
        """Segment of each row as of `as_of_ms` (epoch ms): the first that matches, else `NO_SEGMENT`; int8 (k,)."""
        day = self._calendar.pane_of(as_of_ms, "day")
        bits = self._matches[rows]
        segments = np.full(len(rows), NO_SEGMENT, dtype=np.int8)
        for number in reversed(range(len(self._segments))):
            inside = (bits >> np.uint64(number)) & np.uint64(1) == 1
            for bound in self._segments[number].ranges:
                inside &= in_range(bound, self._numbers[_column_of(bound)][rows], day)
            segments[inside] = number
        return segments


def _column_of(bound: Range) -> tuple[str, bool]:
    """The field of the profile that a range reads, and whether it is read as a day."""
    field, days = bound.reads
    return field, days is not None
