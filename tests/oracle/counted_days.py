"""The oracle's windows in business days and months: which days they have, by walking from date to date.

Owns a second reading of docs/reference/policy/calendar.md for these windows. Must not know events, or the product's own
code. Called by `tests.oracle.policy`, `tests.oracle.measures` and `tests.oracle.alerts`.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

EPOCH = date(1970, 1, 1)
LAST_KNOWN = date(2099, 12, 31)


class CountedWindow(NamedTuple):
    """A window of so many business days, or calendar months."""

    length: int
    in_months: bool
    weekdays: tuple[str, ...]
    holidays: tuple[str, ...]

    def days(self, today: int, *, complete: bool, before: int = 0) -> list[int]:
        """Return the days (since 1970) of the window, or of the one that is `before` windows before it."""
        days: list[int] = []
        on, months_left, dates_left = EPOCH + timedelta(days=today), self.length, self.length * (before + 1)
        if self.in_months:
            if complete:
                on = on.replace(day=1) - timedelta(days=1)
            while months_left:
                days.append((on - EPOCH).days)
                months_left -= on.day == 1
                on -= timedelta(days=1)
            return days
        if complete:
            on -= timedelta(days=1)
        while dates_left:
            if is_business_day(on, self.weekdays, self.holidays):
                dates_left -= 1
                days.append((on - EPOCH).days)
            on -= timedelta(days=1)
        return days[-self.length :]

    def most_days(self) -> int:
        """Return the most days from the first day of the window to the end of the day that it is read on."""
        return _most_days(self)


@lru_cache(maxsize=64)
def _most_days(window: CountedWindow) -> int:
    """The longest way from one beginning to that of the window after it; of months, to the end of one month more."""
    begins, on = list[date](), EPOCH
    while on <= LAST_KNOWN:
        if on.day == 1 if window.in_months else is_business_day(on, window.weekdays, window.holidays):
            begins.append(on)
        on += timedelta(days=1)
    ahead = window.length + window.in_months
    return max((begins[index + ahead] - first).days for index, first in enumerate(begins[:-ahead]))


def is_business_day(on: date, weekdays: tuple[str, ...], holidays: tuple[str, ...]) -> bool:
    """Say whether a date counts, by the name of its weekday, and whether it is a holiday."""
    return f"{on:%a}".lower() in weekdays and on.isoformat() not in holidays


def business_calendar(calendar: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the weekdays and holidays that the table `calendar` of a policy has."""
    weekdays = tuple(calendar.get("weekdays", ("mon", "tue", "wed", "thu", "fri")))
    return weekdays, tuple(map(str, calendar.get("holidays", ())))


def counted_window(text: str, calendar: dict[str, Any]) -> CountedWindow | None:
    """Return the window that a text such as `5bd` or `2mo` means; None for hours and days."""
    if not text.endswith(("bd", "mo")):
        return None
    return CountedWindow(int(text[:-2]), text.endswith("mo"), *business_calendar(calendar))
