"""The calendar of a policy: where days and hours begin, and which days are business days.

Owns `Calendar`: the days of a time zone, panes and window boundaries by it, and business days. Must not know policy
files, measures and alerts. Made by `stream.policy.calendar`; read by whoever needs the day of a time. The definitions
are in docs/reference/policy/calendar.md.

Hours are UTC hours in every zone. A day begins when the clocks of the zone show a later date for the first time, so a
day has 23 or 25 hours where they are changed, and days never overlap. The rules of a zone come from the system's time
zone database, or from the package tzdata.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from stream.columns.panes import UNIT_MS, Unit

Times = NDArray[np.int64]

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WORKING_WEEK = WEEKDAYS[:5]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS, _HOUR_MS = UNIT_MS["day"], UNIT_MS["hour"]
_DAYS = (date(2100, 1, 1) - date(1970, 1, 1)).days
"""Days of a zone are known from 1970 to 2099; before and after, they have 24 hours."""
_HOURS_FROM = (date(2000, 1, 1) - date(1970, 1, 1)).days
_LEAST = -(2**60)
"""Earlier times, which stand for none, are this one: so that nothing overflows."""


@dataclass(frozen=True)
class Calendar:
    """The days of `timezone` (None: UTC), and business days: the `weekdays`, except `holidays` (`2026-12-25`).

    A day is a whole number since 1970-01-01, an hour one since its midnight UTC. Times are epoch milliseconds.
    """

    weekdays: tuple[str, ...] = WORKING_WEEK
    holidays: tuple[str, ...] = ()
    timezone: str | None = None

    # -- panes --------------------------------------------------------------------------------------------------------

    @cached_property
    def _starts(self) -> Times | None:
        return None if self.timezone is None else _starts_of(self.timezone)

    @property
    def begins_at_full_hours(self) -> bool:
        """Whether every day from 2000 on begins at a full UTC hour."""
        return self._starts is None or not (self._starts[_HOURS_FROM:] % _HOUR_MS).any()

    def panes_of(self, times_ms: Times, unit: Unit) -> Times:
        """The pane that each time is in, same shape."""
        starts = self._starts
        if starts is None or unit == "hour":
            return np.asarray(times_ms // UNIT_MS[unit], dtype=np.int64)
        times_ms = np.maximum(times_ms, _LEAST)
        days = np.searchsorted(starts, times_ms, side="right") - 1
        outside = (days < 0) | (days == len(starts) - 1)
        if outside.any():
            nearest = np.where(days < 0, 0, len(starts) - 1)
            days = np.where(outside, nearest + (times_ms - starts[nearest]) // _DAY_MS, days)
        return np.asarray(days, dtype=np.int64)

    def pane_of(self, time_ms: int, unit: Unit) -> int:
        """The pane that a time is in.

        >>> noon = 1_774_612_800_000  # 2026-03-27T12:00:00Z
        >>> [Calendar(timezone=zone).pane_of(noon, "day") for zone in (None, "Asia/Kolkata", "Pacific/Kiritimati")]
        [20539, 20539, 20540]
        """
        if self._starts is None or unit == "hour":
            return time_ms // UNIT_MS[unit]
        return int(self.panes_of(np.array([time_ms], dtype=np.int64), unit)[0])

    def starts_ms(self, panes: Times, unit: Unit) -> Times:
        """When each pane begins, same shape."""
        starts = self._starts
        if starts is None or unit == "hour":
            return np.asarray(panes * UNIT_MS[unit], dtype=np.int64)
        known = np.clip(panes, 0, len(starts) - 1)
        return np.asarray(starts[known] + (panes - known) * _DAY_MS, dtype=np.int64)

    def start_ms(self, pane: int, unit: Unit) -> int:
        """When a pane begins.

        >>> start_ms = Calendar(timezone="Europe/Berlin").start_ms
        >>> [(start_ms(day + 1, "day") - start_ms(day, "day")) // 3_600_000 for day in (20540, 20541, 20542)]
        [24, 23, 24]
        """
        if self._starts is None or unit == "hour":
            return pane * UNIT_MS[unit]
        return int(self.starts_ms(np.array([pane], dtype=np.int64), unit)[0])

    # -- window boundaries --------------------------------------------------------------------------------------------

    def boundary_numbers(self, times_ms: Times, unit: Unit) -> Times:
        """The number of the window boundary at or after each time, same shape: boundary `k` is where pane `k` begins.

        An event exactly on a boundary belongs to the interval that the boundary ends, since the score at a boundary
        counts the events that are not after it.
        """
        return self.panes_of(times_ms - 1, unit) + 1

    def boundary_number(self, time_ms: int, unit: Unit) -> int:
        """The number of the window boundary at or after a time.

        >>> [Calendar().boundary_number(time_ms, "day") for time_ms in (86_400_000, 86_400_001)]
        [1, 2]
        """
        return self.pane_of(time_ms - 1, unit) + 1

    # -- days ---------------------------------------------------------------------------------------------------------

    def is_midnight(self, time_ms: int) -> bool:
        """Whether a day begins at a time."""
        return self.start_ms(self.pane_of(time_ms, "day"), "day") == time_ms

    def midnights_after(self, time_ms: int, days: int) -> list[int]:
        """When each of the `days` days after that of a time begins."""
        today = self.pane_of(time_ms, "day")
        midnights: list[int] = self.starts_ms(np.arange(today + 1, today + days + 1, dtype=np.int64), "day").tolist()
        return midnights

    def midnights_between(self, after_ms: int, until_ms: int) -> list[int]:
        """When each day begins that begins after one time, and at or before another."""
        return self.midnights_after(after_ms, self.pane_of(until_ms, "day") - self.pane_of(after_ms, "day"))

    def day_end(self, time_ms: int) -> int:
        """The last millisecond of the day that a time is in."""
        return self.start_ms(self.pane_of(time_ms, "day") + 1, "day") - 1

    def date_of(self, time_ms: int) -> int:
        """The day of a date, which is the same in every zone, or of a time.

        A time at midnight UTC stands for a date: systems that know dates only write them so.
        """
        return time_ms // _DAY_MS if time_ms % _DAY_MS == 0 else self.pane_of(time_ms, "day")

    def elapsed(self, since_ms: Times, until_ms: int, span_ms: int) -> NDArray[np.bool_]:
        """Whether a span has passed since each time, same shape.

        A span of whole days is in days of the zone: from midnight to the midnight of the second day after it are two
        days, although these may be 47 hours.
        """
        if self._starts is None or span_ms % _DAY_MS:
            return np.asarray(until_ms - since_ms >= span_ms, dtype=np.bool_)
        return np.asarray(self._as_utc(np.array([until_ms])) - self._as_utc(since_ms) >= span_ms, dtype=np.bool_)

    def _as_utc(self, times_ms: Times) -> Times:
        """Each time as if the days of the zone were those of UTC."""
        days = self.panes_of(times_ms, "day")
        return np.asarray(days * _DAY_MS + np.maximum(times_ms, _LEAST) - self.starts_ms(days, "day"), dtype=np.int64)

    # -- business days ------------------------------------------------------------------------------------------------

    @cached_property
    def _business(self) -> np.busdaycalendar:
        mask = [name in self.weekdays for name in WEEKDAYS]
        return np.busdaycalendar(mask, np.array(self.holidays, dtype="datetime64[D]"))

    def business_days(self, since: NDArray[np.int64], until: int) -> NDArray[np.int64]:
        """Business days after the days `since`, up to and including `until`, int64 (k,); not negative.

        From a Friday to the Monday after it there is one, and none to the Sunday.

        >>> friday = 20539  # 2026-03-27
        >>> [Calendar().business_days(np.array([friday]), friday + days).item() for days in range(5)]
        [0, 0, 0, 1, 2]
        """
        first = (np.minimum(since, until) + 1).astype("datetime64[D]")
        counts = np.busday_count(first, np.datetime64(until + 1, "D"), busdaycal=self._business)
        return np.asarray(counts, dtype=np.int64)

    def latest_business_days(self, newest: int, count: int) -> NDArray[np.int64]:
        """The last `count` business days up to the day `newest`, newest first, int64 (count,).

        >>> saturday = 20540  # 2026-03-28
        >>> Calendar().latest_business_days(saturday, 6).tolist()
        [20539, 20538, 20537, 20536, 20535, 20532]
        """
        back = -np.arange(count)
        days = np.busday_offset(np.datetime64(newest, "D"), back, roll="backward", busdaycal=self._business)
        return np.asarray(days.astype(np.int64), dtype=np.int64)

    def most_days(self, unit: str, count: int) -> int:
        """The most days from the first to the last of `count` business days, or of months, and up to the next one.

        >>> [Calendar().most_days("business day", count) for count in (1, 5)], Calendar().most_days("month", 2)
        ([3, 7], 62)
        """
        if unit == "month":
            firsts = np.arange(0, _DAYS // 28).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
        else:
            every_day = np.arange(_DAYS).astype("datetime64[D]")
            firsts = np.flatnonzero(np.is_busday(every_day, busdaycal=self._business))
        return int((firsts[count:] - firsts[:-count]).max())


def latest_months(newest: int, count: int, *, complete: bool) -> NDArray[np.int64]:
    """The days of the month of the day `newest` and of the `count - 1` before it, newest first, int64 (k,).

    With `complete`, those of the `count` months before it.

    >>> days = latest_months(20514, 1, complete=True)  # 2026-03-02
    >>> len(days), latest_months(20514, 1, complete=False).tolist()
    (28, [20514, 20513])
    """
    month = np.datetime64(newest, "D").astype("datetime64[M]")
    end = month if complete else month + 1
    first = (end - count).astype("datetime64[D]").astype(np.int64)
    last = end.astype("datetime64[D]").astype(np.int64) - 1 if complete else newest
    return np.arange(last, first - 1, -1, dtype=np.int64)


UTC_DAYS = Calendar()
"""The calendar of a policy that names none."""


@lru_cache(maxsize=16)
def _starts_of(timezone: str) -> Times:
    """When each day of a zone from 1970 to 2099 begins, epoch ms, ascending, int64 (k,)."""
    zone = ZoneInfo(timezone)
    changes = _changes(zone)
    starts: list[Times] = []
    begun = 0
    for number, (from_s, offset_s) in enumerate(changes):
        until_s = changes[number + 1][0] if number + 1 < len(changes) else (_DAYS + 2) * _DAY_MS // 1000
        # Days that the clocks have passed over, or that begin exactly here, begin here; the others at their midnights.
        skipped = (from_s + offset_s) * 1000 // _DAY_MS + 1 if number else 0
        last = -(-(until_s + offset_s) * 1000 // _DAY_MS)
        starts.append(np.full(max(skipped - begun, 0), from_s * 1000, dtype=np.int64))
        begun = max(begun, skipped)
        starts.append(np.arange(begun, last, dtype=np.int64) * _DAY_MS - offset_s * 1000)
        begun = max(begun, last)
    return np.concatenate(starts)[:_DAYS]


def _changes(zone: ZoneInfo) -> list[tuple[int, int]]:
    """The UTC offset (s) of a zone before 1970 to 2100, and from when (s since 1970) each applies.

    No zone of the database changes twice in less than six days: the shortest time between two changes is 6.96 days.
    """
    first = -2 * _DAY_MS // 1000
    changes = [(first, _offset_s(zone, first))]
    step = 3 * _DAY_MS // 1000
    for end_s in range(first + step, (_DAYS + 2) * _DAY_MS // 1000, step):
        offset_s = _offset_s(zone, end_s)
        if offset_s == changes[-1][1]:
            continue
        before_s, after_s = end_s - step, end_s
        while after_s - before_s > 1:
            middle_s = (before_s + after_s) // 2
            if _offset_s(zone, middle_s) == changes[-1][1]:
                before_s = middle_s
            else:
                after_s = middle_s
        changes.append((after_s, offset_s))
    return changes


def _offset_s(zone: ZoneInfo, time_s: int) -> int:
    offset = (_EPOCH + timedelta(seconds=time_s)).astimezone(zone).utcoffset()
    assert offset is not None, "zones have offsets"
    return round(offset.total_seconds())
