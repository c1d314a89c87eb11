"""Moments that people write: RFC 3339, a date, or epoch milliseconds.

Owns what a date means: the end or the start of its day. Called by the commands and by `account_vitals`.
"""

from __future__ import annotations

from datetime import date, datetime

from stream.columns.calendar import UTC_DAYS, Calendar

_DATE_LENGTH = len("2026-01-31")
_EPOCH = date(1970, 1, 1)


def moment_ms(text: str, *, day_end: bool = True, calendar: Calendar | None = None) -> int:
    """Epoch ms of RFC 3339 with an offset, of a date (its end or its start), or of epoch milliseconds.

    The day of a date is that of `calendar`; without one it is a UTC day. Raises ValueError that says what is expected.
    """
    if text.lstrip("-").isdigit():
        return int(text)
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(
            "expected RFC 3339 (2026-01-31T12:00:00Z), a date (2026-01-31) or epoch milliseconds"
        ) from error
    if len(text) == _DATE_LENGTH:
        start_ms, day = (calendar or UTC_DAYS).start_ms, (when.date() - _EPOCH).days
        return start_ms(day + 1, "day") - 1 if day_end else start_ms(day, "day")
    if when.tzinfo is None:
        raise ValueError("a time needs an offset, such as Z or +02:00")
    return round(when.timestamp() * 1000)
