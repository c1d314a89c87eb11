"""The event in a record that is not written as documented: the oracle's own reading of what is recognised.

Owns the forms (framing, envelopes, CloudEvents in structured mode, track calls of Segment) and what is converted. Slow
and separate: uses no code of the product. Headers are not known here, so nothing is in binary mode.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from tests.oracle.events import (
    FIELDS,
    Event,
    Fields,
    RejectedError,
    Text,
    Time,
    read_event,
    read_time_ms,
)

PROFILE_TEXTS = ("name", "tier", "plan", "segment", "persona", "parent_id", "owner")
PROFILE_TIMES = ("started_at", "renewal_at", "ended_at")


def read_record(
    source: str,
    value: bytes | None,
    now_ms: int,
    bands: list[str] | None = None,
    added: dict[str, Fields] | None = None,
    *,
    key: bytes | None = None,
) -> Event:
    """The event in a record as documented, else as it is recognised. Raises RejectedError."""
    try:
        return read_event(source, value, now_ms, bands, added)
    except RejectedError as refusal:
        if value is None:
            raise
        try:
            document = _fields_of(_unwrapped(value), source, key)
        except (ValueError, RecursionError):
            raise refusal from None
        if not isinstance(document, dict):
            raise
        rules = (added or {})[source] if source not in (*FIELDS, "accounts") else FIELDS.get(source, {})
        converted = {name: _converted(name, raw, source, rules) for name, raw in document.items()}
        return read_event(source, json.dumps(converted).encode(), now_ms, bands, added)


def _unwrapped(value: bytes) -> Any:
    if len(value) > 5 and value[:1] == b"\0":
        value = value[5:]
    if value.startswith(b"\xef\xbb\xbf"):
        value = value[3:]
    content = json.loads(value.decode())
    if isinstance(content, str) and content.lstrip().startswith(("{", "[")):
        content = json.loads(content)
    if isinstance(content, dict) and set(content) == {"schema", "payload"}:
        content = content["payload"]
    return content


def _fields_of(content: Any, source: str, key: bytes | None) -> Any:
    if not isinstance(content, dict):
        return content
    if {"specversion", "type", "source"} <= set(content):
        data = content.get("data")
        if isinstance(data, str):
            data = _unwrapped(data.encode())
        if not isinstance(data, dict):
            return data
        subject = content.get("subject") or content.get("partitionkey") or ((key or b"").decode() or None)
        for name, attribute in (("id", content.get("id")), ("account_id", subject), ("time", content.get("time"))):
            if data.get(name) is None and attribute is not None:
                data[name] = attribute
        return data
    if content.get("type") == "track" and "messageId" in content and source == "product-usage":
        context = content.get("context")
        group = context.get("groupId") if isinstance(context, dict) else None
        return {
            "id": content["messageId"],
            "account_id": group or content.get("groupId"),
            "time": content.get("timestamp") or content.get("originalTimestamp") or content.get("sentAt"),
            "user_id": content.get("userId") or content.get("anonymousId"),
            "feature": content.get("event"),
            "properties": content.get("properties"),
        }
    return content


def _converted(name: str, raw: Any, source: str, rules: Fields) -> Any:
    rule = rules.get(name)
    is_text = name in ("id", "account_id") or isinstance(rule, Text) or (source == "accounts" and name in PROFILE_TEXTS)
    is_time = name == "time" or isinstance(rule, Time) or (source == "accounts" and name in PROFILE_TIMES)
    if isinstance(rule, Text) and rule.among is not None:
        return raw.strip().lower() if isinstance(raw, str) else raw
    if is_text and not isinstance(raw, bool) and isinstance(raw, int):
        return str(raw)
    if is_text and isinstance(raw, float) and raw.is_integer() and abs(raw) < 2**53:
        return str(int(raw))
    if is_time and isinstance(raw, float) and raw.is_integer():
        return int(raw)
    return _moment(raw) if is_time and isinstance(raw, str) else raw


def _moment(raw: str) -> Any:
    """Epoch milliseconds of any ISO 8601 notation with an offset; else the text as it is."""
    try:
        return read_time_ms(raw)
    except RejectedError:
        pass
    try:
        moment = datetime.fromisoformat(raw.strip())
        zero = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
        return (moment - zero) // timedelta(milliseconds=1)
    except (ValueError, TypeError, OverflowError):
        return raw
