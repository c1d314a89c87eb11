"""The series of one score of one account: points in time, at most 400.

Owns which points are removed when there are too many. Pure. Called by `agents.board.state.state`, which feeds it the
changes of `health.score-changes` in order.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

POINTS = 400
"""Points in a series. Above it, every second point of the older half is removed if its neighbours have the same band
and policy."""
TURNS = 120
"""Changes of band in a series, for counting accounts by band over time."""
NO_BAND = 65_535


class Point(NamedTuple):
    """The score from `time` (epoch ms) on; `band` and `policy` are numbers of `NameTables`.

    From a point with `NO_BAND` on, the account is not scored; the value is its last one.
    """

    time: int
    value: float
    band: int
    policy: int


class Series:
    """Points in the order of time: 20 bytes each, and 10 for each change of band."""

    __slots__ = ("_bands", "_policies", "_times", "_turn_bands", "_turn_times", "_values", "before", "before_band")

    def __init__(self) -> None:
        """Empty."""
        self.before: float | None = None
        """The score before the first point; None if there was none."""
        self.before_band = NO_BAND
        self._times = array("q")
        self._values = array("d")
        self._bands = array("H")
        self._policies = array("H")
        self._turn_times = array("q")
        self._turn_bands = array("H")

    def __len__(self) -> int:
        return len(self._times)

    def append(self, point: Point) -> None:
        """Add the newest point. A time before the last point counts as the time of the last point."""
        time = max(point.time, self._times[-1]) if self._times else point.time
        if not self._turn_bands or self._turn_bands[-1] != point.band:
            self._turn_times.append(time)
            self._turn_bands.append(point.band)
            if len(self._turn_bands) > TURNS:
                del self._turn_times[: TURNS // 4], self._turn_bands[: TURNS // 4]
        self._times.append(time)
        self._values.append(point.value)
        self._bands.append(point.band)
        self._policies.append(point.policy)
        if len(self._times) > POINTS:
            self._thin()

    def pop(self, count: int) -> None:
        """Remove the newest `count` points."""
        keep = max(len(self._times) - count, 0)
        for column in (self._times, self._values, self._bands, self._policies):
            del column[keep:]
        newest = self._times[-1] if keep else None
        while self._turn_times and (newest is None or self._turn_times[-1] > newest):
            self._turn_times.pop()
            self._turn_bands.pop()
        if keep and self._turn_bands and self._turn_bands[-1] != self._bands[-1]:
            self._turn_times.pop()
            self._turn_bands.pop()

    def value_at(self, time: int) -> float | None:
        """The score at a time, `before` if that is before the first point."""
        index = bisect_right(self._times, time)
        return self._values[index - 1] if index else self.before

    def band_at(self, time: int) -> int:
        """The number of the band at a time, `before_band` if that is before the first point."""
        index = bisect_right(self._times, time)
        return self._bands[index - 1] if index else self.before_band

    def points(self) -> Iterator[Point]:
        """All points, oldest first."""
        return map(Point, self._times, self._values, self._bands, self._policies)

    def count_days(self, days: list[int], totals: dict[int, list[int]]) -> None:
        """Add this account to `totals`: by band, the number of accounts as differences from one day to the next.

        `days` are the ends of days in order; an account counts in the band that it has then.
        """
        band = self.before_band
        if band != NO_BAND:
            totals.setdefault(band, [0] * (len(days) + 1))[0] += 1
        for time, turned in zip(self._turn_times, self._turn_bands, strict=True):
            day = bisect_left(days, time)
            if band != NO_BAND:
                totals[band][day] -= 1
            band = turned
            if band == NO_BAND:
                continue
            totals.setdefault(band, [0] * (len(days) + 1))[day] += 1

    def _thin(self) -> None:
        bands, policies, half = self._bands, self._policies, POINTS // 2
        plain = [
            index
            for index in range(1, half)
            if bands[index - 1] == bands[index] == bands[index + 1]
            and policies[index - 1] == policies[index] == policies[index + 1]
        ]
        removed = set(plain[::2])
        if len(removed) < POINTS // 16:  # hardly any plain points: remove the oldest
            removed = set(range(POINTS // 8))
            self.before, self.before_band = self._values[len(removed) - 1], bands[len(removed) - 1]
        remaining = [index for index in range(len(self._times)) if index not in removed]
        self._times = array("q", [self._times[index] for index in remaining])
        self._values = array("d", [self._values[index] for index in remaining])
        self._bands = array("H", [bands[index] for index in remaining])
        self._policies = array("H", [policies[index] for index in remaining])
