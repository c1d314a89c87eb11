"""The days of time zones: clock changes, skipped days, and times outside the known years."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from stream.columns.calendar import Calendar
from stream.columns.columns import NEVER, LatestColumn, PaneColumn

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NEW_YORK = Calendar(timezone="America/New_York")


def ms(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def day(text: str) -> int:
    return ms(text) // DAY_MS


@pytest.mark.parametrize(
    ("zone", "date", "begins", "hours"),
    [
        ("America/New_York", "2026-03-08", "2026-03-08T05:00", 23),
        ("America/New_York", "2026-11-01", "2026-11-01T04:00", 25),
        ("America/New_York", "2026-11-02", "2026-11-02T05:00", 24),
        ("Asia/Kolkata", "2026-03-08", "2026-03-07T18:30", 24),
        ("Asia/Kathmandu", "2026-03-08", "2026-03-07T18:15", 24),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00", 24.5),
        ("Africa/Cairo", "2026-04-24", "2026-04-23T22:00", 23),  # begins at 01:00
        ("America/Havana", "2026-03-08", "2026-03-08T05:00", 23),  # begins at 01:00
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00", 0),  # there was no such day
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00", 24),
    ],
)
def test_when_days_begin_and_how_long_they_are(zone: str, date: str, begins: str, hours: float) -> None:
    calendar, number = Calendar(timezone=zone), day(date)
    start_ms = calendar.start_ms(number, "day")
    assert datetime.fromtimestamp(start_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M") == begins
    assert (calendar.start_ms(number + 1, "day") - start_ms) / HOUR_MS == hours


@pytest.mark.parametrize(("date", "hours"), [("2026-03-08", 23), ("2026-03-09", 24), ("2026-11-01", 25)])
def test_a_window_of_a_day_has_the_hours_of_that_day(date: str, hours: int) -> None:
    column = PaneColumn("c", "day", 1, "count", NEW_YORK)
    column.grow(1)
    around = np.arange(ms(date) - DAY_MS, ms(date) + 3 * DAY_MS, HOUR_MS)
    column.advance(NEW_YORK.day_end(ms(f"{date}T12:00")))
    rows = np.zeros(1, dtype=np.int64)
    today = around[around <= NEW_YORK.day_end(ms(f"{date}T12:00"))]
    column.aggregate(np.zeros(len(today), dtype=np.int64), today, None)
    assert column.read(rows, 1).tolist() == [hours]


def test_days_that_are_skipped_are_passed_at_once() -> None:
    calendar = Calendar(timezone="Pacific/Apia")
    midnight_ms = calendar.start_ms(day("2011-12-31"), "day")
    assert calendar.pane_of(midnight_ms - 1, "day") == day("2011-12-29")
    assert calendar.pane_of(midnight_ms, "day") == day("2011-12-31")
    assert calendar.boundary_number(midnight_ms, "day") == day("2011-12-30"), "both days begin here"
    assert calendar.boundary_number(midnight_ms + 1, "day") == day("2012-01-01")


def test_where_clocks_are_put_back_over_midnight_days_do_not_overlap() -> None:
    calendar = Calendar(timezone="America/St_Johns")
    # On 2009-11-01 at 00:01 clocks went back to 23:01 of 2009-10-31.
    first_ms = ms("2009-11-01T02:30")
    assert calendar.start_ms(day("2009-11-01"), "day") == first_ms
    days = calendar.panes_of(np.arange(first_ms - HOUR_MS, first_ms + 3 * HOUR_MS, 60_000), "day")
    assert (np.diff(days) >= 0).all()


@pytest.mark.parametrize("text", ["1969-12-30T12:00", "1900-01-01T12:00", "2099-12-31T23:59", "2100-01-02T12:00"])
def test_outside_the_known_years_days_have_24_hours(text: str) -> None:
    calendar, time_ms = Calendar(timezone="America/New_York"), ms(text)
    number = calendar.pane_of(time_ms, "day")
    assert calendar.start_ms(number, "day") <= time_ms <= calendar.day_end(time_ms)
    for each in (number - 1, number, number + 1):
        assert calendar.start_ms(each + 1, "day") - calendar.start_ms(each, "day") == DAY_MS
        assert calendar.pane_of(calendar.start_ms(each, "day"), "day") == each


def test_hours_are_utc_hours_in_every_zone() -> None:
    calendar = Calendar(timezone="Asia/Kolkata")
    assert calendar.pane_of(ms("2026-03-08T05:59"), "hour") == ms("2026-03-08T05:00") // HOUR_MS
    assert calendar.start_ms(7, "hour") == 7 * HOUR_MS


def test_no_event_is_in_no_day() -> None:
    column = LatestColumn("c", "day", NEW_YORK)
    column.grow(2)
    column.advance(ms("2026-03-08T12:00"))
    column.aggregate(np.array([1]), np.array([ms("2026-03-08T04:59")]), None)
    assert column.times[0] == NEVER
    ages, _ = column.read(np.array([0, 1]), 7)
    assert ages.tolist() == [pytest.approx(np.nan, nan_ok=True), 1]


def test_a_span_of_days_is_in_days_of_the_zone() -> None:
    since = np.array([ms("2026-03-07", "America/New_York")])
    two_days_ms = ms("2026-03-09", "America/New_York")
    assert two_days_ms - since[0] == 47 * HOUR_MS
    assert NEW_YORK.elapsed(since, two_days_ms, 2 * DAY_MS).tolist() == [True]
    assert NEW_YORK.elapsed(since, two_days_ms - 1, 2 * DAY_MS).tolist() == [False]
    assert NEW_YORK.elapsed(since, two_days_ms, 47 * HOUR_MS).tolist() == [True]
    assert NEW_YORK.elapsed(since, two_days_ms, 47 * HOUR_MS + 1).tolist() == [False]
    assert Calendar().elapsed(since, two_days_ms, 2 * DAY_MS).tolist() == [False]


def test_a_date_is_the_same_in_every_zone_and_a_time_is_not() -> None:
    assert NEW_YORK.date_of(ms("2026-03-08")) == day("2026-03-08")
    assert NEW_YORK.date_of(ms("2026-03-08T00:00:01")) == day("2026-03-07")
    assert Calendar().date_of(ms("2026-03-08T00:00:01")) == day("2026-03-08")


def test_business_days_are_by_weekday_and_date() -> None:
    calendar = Calendar(("sun", "mon"), ("2026-03-09",))
    friday = np.array([day("2026-03-06")])
    assert [calendar.business_days(friday, int(friday[0]) + days).item() for days in range(-2, 11)] == [
        *[0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 2, 3]
    ]
