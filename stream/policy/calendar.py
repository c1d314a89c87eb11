"""Read the calendar of a policy: the table `calendar`.

Owns the rules of the table. Must not know measures and alerts. Called by the policy parser.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING
from zoneinfo import available_timezones

from stream.columns.calendar import WEEKDAYS, WORKING_WEEK, Calendar
from stream.policy.errors import did_you_mean, listed, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stream.policy.alerts import AlertRule
    from stream.policy.measures import Measure
    from stream.policy.table import Table

MOST_HOLIDAYS = 1000
_KEYS = ("timezone", "weekdays", "holidays")
_NO_PLACES = ("Factory", "localtime")  # names that mean another zone on every machine
_UTC = ("UTC", "Etc/UTC")
_TABLE = 'a table with timezone = "America/New_York", weekdays = ["mon", "tue"] or holidays = ["2026-12-25"]'
_TIMEZONE = 'a name of the IANA time zone database, such as "America/New_York" or "Asia/Kolkata"'
_WEEKDAYS = f", which are days of the week: {', '.join(WEEKDAYS)}"
_HOLIDAYS = 'a list of dates, such as ["2026-12-25", "2027-01-01"]'


def read_calendar(root: Table) -> Calendar:
    """The calendar of a policy; mistakes are recorded."""
    if "calendar" not in root:
        return Calendar()
    table = root.table("calendar", _TABLE, _KEYS)
    if table is None:
        return Calendar()
    return Calendar(_read_weekdays(table), _read_holidays(table), read_timezone(table))


def check_calendar(root: Table, calendar: Calendar, measures: Iterable[Measure], alerts: Iterable[AlertRule]) -> None:
    """Record keys of a calendar that change nothing, and a zone that does not go with windows in hours."""
    spans = {f"measures.{measure.name}.window": measure.window for measure in measures}
    spans |= {f"alerts.{rule.name}.when.within": rule.within for rule in alerts if rule.within is not None}
    table = root.table("calendar", _TABLE, _KEYS) if "calendar" in root else None
    if table is None:
        return
    has_days = (calendar.weekdays, calendar.holidays) != (WORKING_WEEK, ())
    if has_days and not any(span.unit == "business day" for span in spans.values()):
        key = "holidays" if calendar.holidays else "weekdays"
        table.problem(key, 'has no effect: nothing is in business days; write a rule with within = "3bd", or remove it')
    in_hours = [name for name, span in spans.items() if span.unit == "hour"]
    if in_hours and not calendar.begins_at_full_hours:
        zone = f"the days of {shown(calendar.timezone)} do not begin at full UTC hours, so no window and no within"
        table.problem("timezone", f"{zone} can be in hours: write {listed(in_hours)} in days")


def read_timezone(table: Table) -> str | None:
    """The name under `timezone`, None for UTC; a mistake is recorded."""
    name = table.text("timezone", _TIMEZONE, required=False)
    if name is None or name in _UTC:
        return None
    known = available_timezones() - {*_NO_PLACES}
    if name not in known:
        guess = did_you_mean(name, sorted(known))
        table.problem("timezone", f"{shown(name)} is not a time zone{guess or ';'} write {_TIMEZONE}")
        return None
    return name


def _read_weekdays(table: Table) -> tuple[str, ...]:
    if "weekdays" not in table:
        return WORKING_WEEK
    names = table.texts("weekdays", _WEEKDAYS)
    for name in names:
        table.check_name("weekdays", name, WEEKDAYS, "a day of the week")
    return tuple(name for name in WEEKDAYS if name in names) or WORKING_WEEK


def _read_holidays(table: Table) -> tuple[str, ...]:
    value = table.value("holidays")
    if "holidays" not in table:
        return ()
    if not isinstance(value, list) or not value:
        table.wrong("holidays", _HOLIDAYS)
        return ()
    if len(value) > MOST_HOLIDAYS:
        table.problem("holidays", f"must be at most {MOST_HOLIDAYS} dates, not {len(value)}")
    dates = [_date_text(item) for item in value]
    for item, text in zip(value, dates, strict=True):
        if text is None:
            table.problem("holidays", f"{shown(item)} is not a date: write it as year, month and day, {_EXAMPLE}")
    return tuple(sorted({text for text in dates if text is not None}))


_EXAMPLE = 'such as "2026-12-25"'


def _date_text(value: object) -> str | None:
    """A date of TOML, or the text of one, as `2026-12-25`; None for anything else."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    try:
        text = date.fromisoformat(value).isoformat() if isinstance(value, str) else None
    except ValueError:
        return None
    return text if text == value else None
