"""Decodes records of `health.alerts`, and rejects those that no sink can deliver.

Owns what every sink may rely on: the JSON is an alert, its times are valid dates, and its id can be a header. Pure.
Called by `agents.sinks.alert_consumer`.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from schemas.codecs import BAD_UTF8, IMPLAUSIBLE_TIME, INVALID_FIELD, MALFORMED_JSON, NULL_VALUE, TOO_DEEP
from schemas.outputs import Alert

_decode = msgspec.json.Decoder(Alert).decode


class UnreadableError(ValueError):
    """A record that is not an alert; `reason` is one of `schemas.codecs.REASONS`, the message is for a person."""

    def __init__(self, reason: str, message: str) -> None:
        """Set reason and message."""
        super().__init__(message)
        self.reason = reason


def read_alert(value: bytes | None) -> Alert:
    """The alert of a record's value. Raises `UnreadableError`."""
    if value is None:
        raise UnreadableError(NULL_VALUE, "the record has no value; an alert is a JSON object")
    try:
        value.decode()
        alert = _decode(value)
    except UnicodeDecodeError as error:
        raise UnreadableError(BAD_UTF8, str(error)) from None
    except RecursionError:
        raise UnreadableError(TOO_DEEP, "the JSON is nested too deeply") from None
    except msgspec.ValidationError as error:
        raise UnreadableError(INVALID_FIELD, str(error)) from None
    except msgspec.DecodeError as error:
        raise UnreadableError(MALFORMED_JSON, str(error)) from None
    if not (alert.id.isascii() and alert.id.isprintable()):
        raise UnreadableError(
            INVALID_FIELD, f"id {alert.id!a} is not printable ASCII, so it cannot be sent as a header"
        )
    for name in ("starts_at", "ends_at", "acknowledged_at", "snoozed_until"):
        if not _is_valid_time(getattr(alert, name)):
            raise UnreadableError(IMPLAUSIBLE_TIME, f"{name} {getattr(alert, name)} is not in the years 1 to 9999")
    return alert


def _is_valid_time(time_ms: int | None) -> bool:
    try:
        datetime.fromtimestamp((time_ms or 0) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return False
    return True
