"""The calendar of a policy: business days are read, mistakes are named, and a policy without it is as before."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.columns.calendar import Calendar
from stream.policy.calendar import MOST_HOLIDAYS
from stream.policy.policy import PolicyError, parse_policy
from stream.policy.windows import Window

TEXT = (Path(__file__).parent / "policies" / "alerts.toml").read_text(encoding="utf-8")
BUSINESS = TEXT.replace('{ silent = "product-usage", within = "14d" }', '{ silent = "product-usage", within = "3bd" }')
WORKING_WEEK = ("mon", "tue", "wed", "thu", "fri")


def test_business_days_are_monday_to_friday_without_a_table() -> None:
    policy = parse_policy(BUSINESS)
    rule = next(rule for rule in policy.alerts if rule.kind == "silent")
    assert rule.within == Window(3, "business day")
    assert policy.calendar == Calendar(WORKING_WEEK)


def test_the_table_is_read() -> None:
    table = '[calendar]\nweekdays = ["thu", "sun", "mon"]\nholidays = ["2027-01-01", 2026-12-25, "2026-12-25"]\n'
    calendar = parse_policy(BUSINESS + table).calendar
    assert calendar == Calendar(("mon", "thu", "sun"), ("2026-12-25", "2027-01-01"))


def test_a_default_that_is_written_out_does_not_change_the_digest() -> None:
    written_out = '[calendar]\nweekdays = ["fri", "mon", "tue", "wed", "thu"]\n'
    assert parse_policy(BUSINESS + written_out) == parse_policy(BUSINESS)
    assert parse_policy(TEXT + "[calendar]\n") == parse_policy(TEXT)


def test_the_digest_changes_with_the_meaning() -> None:
    texts = [
        TEXT,
        BUSINESS,
        BUSINESS.replace("3bd", "4bd"),
        BUSINESS + '[calendar]\nweekdays = ["mon"]\n',
        BUSINESS + '[calendar]\nholidays = ["2026-12-25"]\n',
    ]
    assert len({parse_policy(text).digest for text in texts}) == len(texts)


def test_spans_at_their_limits_are_valid() -> None:
    parse_policy(BUSINESS.replace("3bd", "1bd"))
    parse_policy(BUSINESS.replace("3bd", "260bd"))


SMALL = """
name = "p"
{calendar}
[measures.m]
source = "billing"
stat = "{stat}"
window = "{window}"
weight = 1
{more}
[scores.health]
min_change = 0
bands = [{{ name = "fine", from = 0 }}]
"""
POINTS = 'normalise = { kind = "linear", zero_at = 0, hundred_at = 1 }'


def small(window: str, more: str = "", *, stat: str = "count", calendar: str = "") -> str:
    return SMALL.format(calendar=calendar, stat=stat, window=window, more=f"{POINTS}\n{more}")


@pytest.mark.parametrize("window", ["1bd", "260bd", "1mo", "10mo"])
def test_windows_in_business_days_and_months_at_their_limits(window: str) -> None:
    (measure,) = parse_policy(small(window)).measures
    assert measure.window.text == window
    assert measure.reach <= 365


@pytest.mark.parametrize(
    ("weekdays", "reach"), [('"mon", "tue"', 7), ('"mon", "tue", "wed", "thu", "fri", "sat", "sun"', 2)]
)
def test_a_window_in_business_days_reaches_as_far_back_as_the_calendar_needs(weekdays: str, reach: int) -> None:
    calendar = f"[calendar]\nweekdays = [{weekdays}]"
    assert parse_policy(small("2bd", calendar=calendar)).measures[0].reach == reach


def test_fewer_business_days_fit_into_a_year_with_holidays() -> None:
    holidays = ", ".join(f'"2026-03-{day:02d}"' for day in range(2, 14))
    with pytest.raises(PolicyError, match='business days from "1bd" to "250bd"'):
        parse_policy(small("260bd", calendar=f"[calendar]\nholidays = [{holidays}]"))


@pytest.mark.parametrize(
    ("window", "more", "stat", "message"),
    [
        ("0bd", "", "count", 'window: must be business days from "1bd" to "260bd", because 365 days are kept'),
        ("261bd", "", "count", 'must be business days from "1bd" to "260bd"'),
        ("260bd", 'compare = "previous"', "count", 'must be business days from "1bd" to "130bd", because 365 days'),
        ("11mo", "", "count", 'must be months from "1mo" to "10mo", because 365 days are kept'),
        ("400d", "", "count", "because 365 days are kept: each day of a window takes memory in every account"),
        ("5bd", "", "distinct_users", 'stat "distinct_users" takes no window in business days: write "7d"; stats that'),
        ("3mo", "", "days_since_last", 'stat "days_since_last" takes no window in months: write "91d"; stats that do'),
        ("1mo", 'compare = "previous"', "count", "whose lengths differ: write whole weeks, such as"),
        ("5bd", 'compare = "z"\nhistory = "60d"', "count", 'compare = "z" does not take a window in business days'),
        ("5bd", 'missing = "hold"', "nps", '"hold" does not work with a window in business days: write "7d"'),
        ("1mo", 'complete = "at-least"', "count", 'a window in months does not take "at-least": use true, or remove'),
    ],
)
def test_windows_that_can_not_be_in_business_days_or_months(window: str, more: str, stat: str, message: str) -> None:
    text = small(window, more, stat=stat)
    text = (
        text.replace('"billing"', '"surveys"\nfield = "score"\nwhere = { kind = ["nps"] }') if stat == "nps" else text
    )
    text = text.replace('"billing"', '"product-usage"') if stat == "distinct_users" else text
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    assert message in str(caught.value)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("table", "key", "message"),
    [
        ('weekdays = "mon"', "weekdays", "must be a list of at least one string, which are days of the week: mon, tue"),
        ("weekdays = []", "weekdays", "must be a list of at least one string"),
        ('weekdays = ["mon", "tues"]', "weekdays", '"tues" is not a day of the week; did you mean "tue"? allowed'),
        ('weekdays = ["mon", "Fri"]', "weekdays", '"Fri" is not a day of the week; did you mean "fri"? allowed'),
        ("weekdays = [1, 2]", "weekdays", "must be a list of at least one string"),
        ('holidays = "2026-12-25"', "holidays", 'must be a list of dates, such as ["2026-12-25", "2027-01-01"], not'),
        ("holidays = []", "holidays", "must be a list of dates"),
        ('holidays = ["2026-02-30"]', "holidays", '"2026-02-30" is not a date: write it as year, month and day'),
        ('holidays = ["25.12.2026"]', "holidays", '"25.12.2026" is not a date'),
        ('holidays = ["20261225"]', "holidays", '"20261225" is not a date'),
        ('holidays = ["2026-W52-5"]', "holidays", '"2026-W52-5" is not a date'),
        ("holidays = [20261225]", "holidays", "20261225 is not a date"),
        ("holidays = [2026-12-25T00:00:00Z]", "holidays", "2026-12-25 00:00:00+00:00 is not a date"),
        (
            'workdays = ["mon"]',
            "workdays",
            'unknown key "workdays"; did you mean "weekdays"? allowed here: timezone, w',
        ),
    ],
)
def test_mistakes_are_named(table: str, key: str, message: str) -> None:
    text = f"{BUSINESS}[calendar]\n{table}\n"
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    (problem,) = caught.value.problems
    assert (problem.line, problem.key) == (text.count("\n"), f"calendar.{key}")
    assert problem.message.startswith(message)


def test_more_holidays_than_a_calendar_can_have_are_a_mistake() -> None:
    dates = [f"{year}-01-{day:02}" for year in range(2000, 2040) for day in range(1, 29)][: MOST_HOLIDAYS + 1]
    with pytest.raises(PolicyError, match="must be at most 1000 dates, not 1001"):
        parse_policy(f"{BUSINESS}[calendar]\nholidays = {dates}\n")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("3bd", "0bd", 'must be days from "1d" to "365d", or business days from "1bd" to "260bd", not "0bd"'),
        ("3bd", "261bd", 'must be days from "1d" to "365d", or business days'),
        ("3bd", "3 business days", 'must be days from "1d" to "365d", or business days'),
        ('drop = 15, within = "7d"', 'drop = 15, within = "7bd"', 'must be hours from "1h" to "72h" or days'),
        ('for = "2d"', 'for = "2bd"', 'must be hours from "1h" to "72h" or days'),
    ],
)
def test_business_days_are_for_silence_only(old: str, new: str, message: str) -> None:
    assert old in BUSINESS
    with pytest.raises(PolicyError) as caught:
        parse_policy(BUSINESS.replace(old, new))
    assert caught.value.problems[0].message.startswith(message)


def test_a_calendar_without_business_days_is_a_mistake() -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(TEXT + '[calendar]\nholidays = ["2026-12-25"]\n')
    (problem,) = caught.value.problems
    assert problem.key == "calendar.holidays"
    assert problem.message == (
        'has no effect: nothing is in business days; write a rule with within = "3bd", or remove it'
    )


# ---------------------------------------------------------------------------------------------------------------------
# Time zones

HOURLY = TEXT.replace('drop = 15, within = "7d"', 'drop = 15, within = "7h"')


def zoned(name: str, text: str = TEXT) -> str:
    return f'{text}[calendar]\ntimezone = "{name}"\n'


def test_the_time_zone_is_read() -> None:
    policy = parse_policy(zoned("America/New_York"))
    assert policy.calendar.timezone == "America/New_York"
    assert policy.digest not in {parse_policy(TEXT).digest, parse_policy(zoned("America/Toronto")).digest}


@pytest.mark.parametrize("name", ["UTC", "Etc/UTC"])
def test_utc_is_the_default(name: str) -> None:
    assert parse_policy(zoned(name)) == parse_policy(TEXT)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            '"America/New_Yrok"',
            '"America/New_Yrok" is not a time zone; did you mean "America/New_York"? write a name of',
        ),
        ('"EST5"', '"EST5" is not a time zone'),
        (
            '"+02:00"',
            '"+02:00" is not a time zone; write a name of the IANA time zone database, such as "America/New_York"',
        ),
        ('"America"', '"America" is not a time zone'),
        ('"../etc/passwd"', '"../etc/passwd" is not a time zone'),
        ('"localtime"', '"localtime" is not a time zone'),
        ('""', "must be a name of the IANA time zone database"),
        ("-5", "must be a name of the IANA time zone database"),
    ],
)
def test_names_that_are_no_zone_are_mistakes(value: str, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(f"{TEXT}[calendar]\ntimezone = {value}\n")
    (problem,) = caught.value.problems
    assert problem.key == "calendar.timezone"
    assert problem.message.startswith(message)


@pytest.mark.parametrize("name", ["Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns"])
def test_a_zone_between_full_hours_takes_no_windows_in_hours(name: str) -> None:
    parse_policy(zoned(name))
    with pytest.raises(PolicyError) as caught:
        parse_policy(zoned(name, HOURLY))
    (problem,) = caught.value.problems
    assert problem.key == "calendar.timezone"
    assert problem.message == (
        f'the days of "{name}" do not begin at full UTC hours, so no window and no within can be in hours: write '
        "alerts.drop.when.within in days"
    )


def test_waiting_times_can_be_in_hours_in_every_zone() -> None:
    stalls = '[sources.signals]\nstall_after = "12h"\n'
    rule = '[alerts.waits]\nwhen = { below = 20 }\nfor = "6h"\ncooldown = "6h"\n'
    text = TEXT.replace("min_change", 'dwell = "12h"\nmin_change', 1)
    parse_policy(zoned("Asia/Kolkata", f"{text}{stalls}{rule}"))


@pytest.mark.parametrize("name", ["America/New_York", "Asia/Singapore", "Pacific/Apia", "Europe/London"])
def test_a_zone_at_full_hours_takes_windows_in_hours(name: str) -> None:
    parse_policy(zoned(name, HOURLY))
