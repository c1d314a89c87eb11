"""The line of one score of one account: points in time, kept small.

Owns how many points are kept and which are left out. Pure. Called by `agents.board.state.state`, which feeds it the
changes of `health.score-changes` in order.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

POINTS = 400
"""A line holds at most so many; above it, every second point of its older half goes that says no more than its
neighbours (same band, same policy)."""
TURNS = 120
"""Changes of band that are remembered for counting accounts by band over time."""
NO_BAND = 65_535


class Point(NamedTuple):
    """The score from `time` (epoch ms) on; `band` and `policy` are numbers of names."""

    time: int
    value: float
    band: int
    policy: int


class Series:
    """Points in order of time: 20 bytes each, and 10 for each change of band."""

    __slots__ = ("_bands", "_policies", "_times", "_turn_bands", "_turn_times", "_values", "before", "before_band")

    def __init__(self) -> None:
        """Empty."""
        self.before: float | None = None
        """What the score was before the first point; None: there was none, as far as is known."""
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
        """Add the newest point. A time before the last one's counts as the last one's."""
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
        """Take the newest `count` points back."""
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
        """The score at a moment, None before the first."""
        place = bisect_right(self._times, time)
        return self._values[place - 1] if place else self.before

    def band_at(self, time: int) -> int:
        """The band's number at a moment, `NO_BAND` before the first."""
        place = bisect_right(self._times, time)
        return self._bands[place - 1] if place else self.before_band

    def points(self) -> Iterator[Point]:
        """All points, oldest first."""
        return map(Point, self._times, self._values, self._bands, self._policies)

    def count_days(self, days: list[int], totals: dict[int, list[int]]) -> None:
        """Add this account to `totals` (band -> count by day, as differences from one day to the next).

        `days` are ends of days in order; an account counts in the band it has then.
        """
        band, place = self.before_band, 0
        if band != NO_BAND:
            totals.setdefault(band, [0] * (len(days) + 1))[0] += 1
        for time, turned in zip(self._turn_times, self._turn_bands, strict=True):
            place = bisect_left(days, time)
            if band != NO_BAND:
                totals[band][place] -= 1
            band = turned
            totals.setdefault(band, [0] * (len(days) + 1))[place] += 1

    def _thin(self) -> None:
        bands, policies, half = self._bands, self._policies, POINTS // 2
        plain = [
            place
            for place in range(1, half)
            if bands[place - 1] == bands[place] == bands[place + 1]
            and policies[place - 1] == policies[place] == policies[place + 1]
        ]
        gone = set(plain[::2])
        if len(gone) < POINTS // 16:  # hardly a plain point: the oldest go
            gone = set(range(POINTS // 8))
            self.before, self.before_band = self._values[len(gone) - 1], bands[len(gone) - 1]
        kept = [place for place in range(len(self._times)) if place not in gone]
        self._times = array("q", [self._times[place] for place in kept])
        self._values = array("d", [self._values[place] for place in kept])
        self._bands = array("H", [bands[place] for place in kept])
        self._policies = array("H", [policies[place] for place in kept])
