"""Decide which event times are plausible, and recognise times that are not in milliseconds.

Owns the limits of event times, the reasons for which a time is refused, and the texts of these refusals. Knows no
clock: the newest plausible time is an argument. Called by `schemas.codecs`, `stream.ingest.batch` and `agents.files`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
IN_THE_FUTURE = "in_the_future"
IMPLAUSIBLE_TIME = "implausible_time"

FUTURE_TOLERANCE_MS = 5 * 60 * 1000
EARLIEST_MS = 946_684_800_000
"""2000-01-01: an earlier time is in seconds instead of milliseconds, or from a clock that was never set."""
_LATEST_KNOWN_MS = 4_102_444_800_000
"""2100-01-01: up to here a number is recognised as a time in another unit where no clock is known."""

_UNITS = (("seconds", 1_000, 1), ("microseconds", 1, 1_000), ("nanoseconds", 1, 1_000_000))
"""Each unit other than milliseconds: name, and the fraction by which its numbers become milliseconds."""


def unit_of(time: float, latest_ms: int | None = None) -> str | None:
    """The unit in which a number is a time from 2000 to `latest_ms` (None: 2100), if not milliseconds."""
    latest = _LATEST_KNOWN_MS if latest_ms is None else latest_ms
    return next((name for name, times, by in _UNITS if EARLIEST_MS <= time * times / by <= latest), None)


def unit_hint(time: float, latest_ms: int | None = None) -> str:
    """What is wrong with a time in another unit, as the end of a message; empty if it is in no other unit."""
    unit = unit_of(time, latest_ms)
    return "" if unit is None else f"; it is a time in {unit}, and milliseconds are expected"


def refusal(time_ms: int, earliest_ms: int, latest_ms: int | None) -> tuple[str, str] | None:
    """Why a time (ms) is refused: reason and message; None if it lies between the limits.

    `latest_ms` None: every time is early enough.
    """
    if time_ms < earliest_ms:
        limit = "2000" if earliest_ms == EARLIEST_MS else date_of(earliest_ms)
        return IMPLAUSIBLE_TIME, f"time {time_ms} ms is before {limit}{unit_hint(time_ms, latest_ms)}"
    if latest_ms is None or time_ms <= latest_ms:
        return None
    hint = unit_hint(time_ms, latest_ms)
    if hint:
        return IMPLAUSIBLE_TIME, f"time {time_ms} ms is far in the future{hint}"
    when = date_of(time_ms)
    return IN_THE_FUTURE, f"time {time_ms} ms{f' ({when})' if when else ''} is after {date_of(latest_ms)}"


def date_of(time_ms: int) -> str:
    """A time (ms) as RFC 3339 in UTC, with seconds; empty where the calendar of Python ends."""
    try:
        return (EPOCH + timedelta(milliseconds=time_ms)).isoformat(timespec="seconds").replace("+00:00", "Z")
    except OverflowError:
        return ""
