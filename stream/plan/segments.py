"""Segments: which segment of the policy each account is in at a given time.

Owns what a segment's `when` reads of every profile: one bit for each segment whose text conditions match, and the
numbers that its ranges bound. `Accounts.set_profile` updates it; `stream.engine.scorer` reads it. A segment can change
without a new profile, since `days_since_start` and `days_to_renewal` count from the day of the score.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.codecs import instant_ms
from schemas.events import ProfileEvent
from schemas.profiles import attribute_of, day_of, number_of, texts_of
from stream.columns.columns import Rows
from stream.columns.panes import UNIT_MS
from stream.policy.fields import account_field
from stream.policy.policy import Segment

NO_SEGMENT = -1


def fact(profile: ProfileEvent, field: str, *, as_day: bool = False) -> float:
    """A number of a profile; NaN where it does not have it.

    `arr`, the UTC day (since 1970) of `started_at` or `renewal_at`, or an attribute as `account.NAME`: the number, or
    `as_day` the day.
    """
    name = account_field(field)
    if name is not None:
        value = attribute_of(profile, name)
        number = day_of(value) if as_day else number_of(value)
        return np.nan if number is None else float(number)
    value = getattr(profile, field)
    if value is None:
        return np.nan
    return float(value) if field == "arr" else float(instant_ms(value) // UNIT_MS["day"])


def field_texts(profile: ProfileEvent, field: str) -> tuple[str, ...]:
    """A field of a profile as texts, or an attribute as `account.NAME`."""
    return texts_of(attribute_of(profile, account_field(field) or field))


class Segmenter:
    """The segments of one partition's accounts."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        """Empty; `segments` are the policy's, in order: an account is in the first that matches."""
        self._segments = segments
        self._matches = np.zeros(0, dtype=np.uint64)
        attributes = {bound.field for segment in segments for bound in segment.ranges if account_field(bound.field)}
        fields = ("arr", "started_at", "renewal_at", *sorted(attributes))
        self._numbers = {field: np.full(0, np.nan) for field in fields}

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        matches = np.zeros(capacity, dtype=np.uint64)
        matches[: len(self._matches)] = self._matches
        self._matches = matches
        for field, old in self._numbers.items():
            numbers = np.full(capacity, np.nan)
            numbers[: len(old)] = old
            self._numbers[field] = numbers

    def set_profile(self, row: int, profile: ProfileEvent) -> None:
        """Make a profile the current one of a row."""
        bits = 0
        for number, segment in enumerate(self._segments):
            bits |= (
                all(not frozenset(values).isdisjoint(field_texts(profile, field)) for field, values in segment.texts)
                << number
            )
        self._matches[row] = bits
        for field, numbers in self._numbers.items():
            numbers[row] = fact(profile, field)

    def clear(self, row: int) -> None:
        """Forget the profile of a row."""
        self._matches[row] = 0
        for numbers in self._numbers.values():
            numbers[row] = np.nan

    def of(self, rows: Rows, as_of_ms: int) -> NDArray[np.int8]:
        """Segment of each row as of `as_of_ms` (epoch ms): the first that matches, else `NO_SEGMENT`; int8 (k,)."""
        day = as_of_ms // UNIT_MS["day"]
        numbers = {
            **{field: numbers[rows] for field, numbers in self._numbers.items()},
            "days_since_start": day - self._numbers["started_at"][rows],
            "days_to_renewal": self._numbers["renewal_at"][rows] - day,
        }
        matches = self._matches[rows]
        segments = np.full(len(rows), NO_SEGMENT, dtype=np.int8)
        for number in reversed(range(len(self._segments))):
            inside = (matches >> np.uint64(number)) & np.uint64(1) == 1
            for bound in self._segments[number].ranges:
                value = numbers[bound.field]
                inside &= ~np.isnan(value)
                if bound.from_ is not None:
                    inside &= value >= bound.from_
                if bound.below is not None:
                    inside &= value < bound.below
            segments[inside] = number
        return segments
