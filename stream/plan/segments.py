"""Which segment of the policy each account is in at a moment.

Owns what a segment's `when` needs of every profile: a bit for each segment whose texts fit, and the numbers its ranges
bound. Called by `stream.engine.engine`; profiles are told when they change, days pass with the moment that is asked
about.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.codecs import instant_ms
from schemas.events import ProfileEvent
from stream.columns.columns import Rows
from stream.columns.panes import UNIT_MS
from stream.policy.policy import Segment

NO_SEGMENT = -1


def fact(profile: ProfileEvent, field: str) -> float:
    """A profile's number: `arr`, or the UTC day (since 1970) of `started_at` or `renewal_at`; NaN when it lacks it."""
    value = getattr(profile, field)
    if value is None:
        return np.nan
    return float(value) if field == "arr" else float(instant_ms(value) // UNIT_MS["day"])


class Segmenter:
    """The segments of one partition's accounts."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        """`segments` in the order in which they are tried."""
        self._segments = segments
        self._fits = np.zeros(0, dtype=np.uint64)
        self._numbers = {field: np.full(0, np.nan) for field in ("arr", "started_at", "renewal_at")}

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        fits = np.zeros(capacity, dtype=np.uint64)
        fits[: len(self._fits)] = self._fits
        self._fits = fits
        for field, old in self._numbers.items():
            numbers = np.full(capacity, np.nan)
            numbers[: len(old)] = old
            self._numbers[field] = numbers

    def note(self, row: int, profile: ProfileEvent) -> None:
        """Take a profile as the one that holds."""
        bits = 0
        for at, segment in enumerate(self._segments):
            bits |= all(getattr(profile, field) in values for field, values in segment.texts) << at
        self._fits[row] = bits
        for field, numbers in self._numbers.items():
            numbers[row] = fact(profile, field)

    def of(self, rows: Rows, as_of_ms: int) -> NDArray[np.int8]:
        """Segment of each row: the first that fits, `NO_SEGMENT` for none; int8 (k,)."""
        day = as_of_ms // UNIT_MS["day"]
        numbers = {
            "arr": self._numbers["arr"][rows],
            "days_since_start": day - self._numbers["started_at"][rows],
            "days_to_renewal": self._numbers["renewal_at"][rows] - day,
        }
        fits = self._fits[rows]
        found = np.full(len(rows), NO_SEGMENT, dtype=np.int8)
        for at in reversed(range(len(self._segments))):
            inside = (fits >> np.uint64(at)) & np.uint64(1) == 1
            for bound in self._segments[at].ranges:
                number = numbers[bound.field]
                inside &= ~np.isnan(number)
                if bound.from_ is not None:
                    inside &= number >= bound.from_
                if bound.below is not None:
                    inside &= number < bound.below
            found[inside] = at
        return found
