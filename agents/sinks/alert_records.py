"""Reads alerts from records of `health.alerts`, and refuses those that no sink can deliver.

Owns what sinks need beyond an alert that can be decoded: an id that can be a header. Pure. Called by
`agents.sinks.alert_consumer`.
"""

from __future__ import annotations

from schemas.codecs import INVALID_FIELD
from schemas.outputs import Alert
from schemas.records import UnreadableError, read_message


def read_alert(value: bytes | None) -> Alert:
    """The alert of a record's value. Raises `UnreadableError`."""
    alert = read_message(Alert, value)
    if not (alert.id.isascii() and alert.id.isprintable()):
        raise UnreadableError(
            INVALID_FIELD, f"id {alert.id!a} is not printable ASCII, so it cannot be sent as a header"
        )
    return alert
