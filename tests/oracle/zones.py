"""The oracle of time zones: logs that mean in a zone what a log means in UTC, day by day.

Owns a second reading of docs/reference/policy/calendar.md: which date a moment has, asked of `zoneinfo` for each moment
by itself, and how long each day is. A policy of days sees the day of a time and the order of times, so a log whose
times keep their day and their share of it has the same scores in a zone as the log that it was made from has in UTC.
Must not know the product's own code. Called by the property tests.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from tests.oracle.events import read_time_ms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.oracle.engine import Record

DAY_MS = 86_400_000
QUARTER_MS = 900_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DATES = ("started_at", "renewal_at", "ended_at", "trained")


def date_in(zone: str, time_ms: int) -> date:
    """Return the date that the clocks of a zone show at a moment."""
    return (EPOCH + timedelta(milliseconds=time_ms)).astimezone(ZoneInfo(zone)).date()


@cache
def midnight_ms(zone: str, day: int) -> int:
    """Return the first moment with a date, by trying every quarter of an hour: clocks are changed at these only."""
    on = date(1970, 1, 1) + timedelta(days=day)
    return next(
        time_ms for time_ms in range((day - 2) * DAY_MS, (day + 2) * DAY_MS, QUARTER_MS) if date_in(zone, time_ms) >= on
    )


def in_zone(zone: str, time_ms: int) -> int:
    """Return the moment of the same day, and of the same share of it, in a zone."""
    day, rest_ms = divmod(time_ms, DAY_MS)
    start_ms = midnight_ms(zone, day)
    return start_ms + round(rest_ms * (midnight_ms(zone, day + 1) - start_ms) / DAY_MS)


def log_in_zone(zone: str, log: Iterable[Record], latest_ms: int) -> list[Record]:
    """Return the records of a log with their times in a zone; `log` must have no time after `latest_ms`."""
    assert in_zone(zone, latest_ms) <= latest_ms + DAY_MS
    return [
        replace(record, timestamp_ms=_not_a_date(zone, record.timestamp_ms), value=_moved(zone, record.value))
        for record in log
    ]


def limited(log: Iterable[Record], latest_ms: int) -> list[Record]:
    """Return the records of a log with their times limited."""

    def limit(document: dict[str, Any]) -> None:
        if _is_time(document.get("time")):
            document["time"] = min(read_time_ms(document["time"]), latest_ms)

    return [
        replace(record, timestamp_ms=min(record.timestamp_ms, latest_ms), value=_changed(record.value, limit))
        for record in log
    ]


def _moved(zone: str, value: bytes | None) -> bytes | None:
    def move(document: dict[str, Any]) -> None:
        for name in ("time", "until"):
            if _is_time(document.get(name)):
                document[name] = in_zone(zone, read_time_ms(document[name]))
        for table in (document, document.get("attributes", {})):
            for name in DATES:
                if _is_time(table.get(name)):
                    table[name] = _written(zone, read_time_ms(table[name]), table[name])

    return _changed(value, move)


def _written(zone: str, time_ms: int, before: object) -> object:
    """Write a time of a profile; one of midnight UTC is a date, which is the same in every zone."""
    moved_ms = time_ms if time_ms % DAY_MS == 0 else _not_a_date(zone, time_ms)
    return moved_ms if isinstance(before, int) else (EPOCH + timedelta(milliseconds=moved_ms)).isoformat()


def _not_a_date(zone: str, time_ms: int) -> int:
    moved_ms = in_zone(zone, time_ms)
    return moved_ms + (1 if moved_ms % DAY_MS == 0 and time_ms % DAY_MS else 0)


def _is_time(raw: object) -> bool:
    if isinstance(raw, bool) or not isinstance(raw, int | str):
        return False
    try:
        read_time_ms(raw)
    except ValueError:
        return False
    return True


def _changed(value: bytes | None, change: Any) -> bytes | None:
    """Apply a change to a JSON object; leave everything else as it is."""
    try:
        document = json.loads(value or b"")
    except ValueError:
        return value
    if not isinstance(document, dict):
        return value
    change(document)
    return json.dumps(document).encode()
