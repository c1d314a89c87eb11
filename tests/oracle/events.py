"""The oracle's reading of messages: what a record of the log is, and which of them are accepted as events.

Owns a second statement of the rules of the input topics, written as plain data and checked field by field.
Must not know policies, order or the product's own code. Called by `tests.oracle.engine`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from tests.oracle.profiles import DATES, TEXTS, Said, as_number, as_texts, beginning, current, fields_of, kept

EARLIEST_MS = 946_684_800_000  # 2000-01-01T00:00:00Z
FUTURE_MS = 300_000
MILLION = 1_000_000
LARGEST = 10**12
MAX_DEPTH = 512

ACCOUNTS = "accounts"


@dataclass(frozen=True)
class Record:
    """One record of the log. `timestamp_ms` is the record's own; the event's time is inside `value`.

    `origin` is the source an event of `vitals-inbox` was forwarded from, and None for every other record.
    """

    source: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    origin: str | None = None


@dataclass(frozen=True)
class Event:
    """An accepted event or profile: `texts`, `numbers` (in millionths) and `times_ms` hold the fields it has.

    Defaults are filled in. A record of `accounts` has what it says in `said`; what all of them say of an account is a
    profile, with its other fields in `attributes`.
    """

    source: str
    event_id: str
    account_id: str
    time_ms: int
    texts: dict[str, str]
    numbers: dict[str, int]
    times_ms: dict[str, int] = field(default_factory=dict)
    said: Said | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


class RejectedError(ValueError):
    """A record that is dead-lettered; the message is the reason."""


@dataclass(frozen=True)
class Text:
    """A text field: with `among`, only these values are allowed."""

    required: bool = False
    default: str | None = None
    among: tuple[str, ...] | None = None
    may_be_empty: bool = True


@dataclass(frozen=True)
class Number:
    """A number field, from `least` to `most`."""

    required: bool = False
    default: int | None = None
    least: int = -LARGEST
    most: int = LARGEST


@dataclass(frozen=True)
class Flag:
    """A field that is true or false."""

    required: bool = False
    default = None


@dataclass(frozen=True)
class Time:
    """An optional moment, written like `time`."""

    required = False
    default = None


Fields = dict[str, Text | Number | Time | Flag]

STATUSES = ("opened", "updated", "solved", "reopened")
PRIORITIES = ("low", "normal", "high", "urgent")
INVOICES = ("invoice_paid", "invoice_overdue", "payment_failed", "renewed", "upgraded", "downgraded", "cancelled")
CONTROLS = (
    "pulse",
    "override",
    "clear_override",
    "acknowledge",
    "snooze",
    "erase",
    "merge",
)
SURVEY_SCORES = {"nps": (0, 10), "csat": (1, 5), "ces": (1, 7)}

FIELDS: dict[str, Fields] = {
    "product-usage": {
        "user_id": Text(),
        "feature": Text(),
        "action": Text(),
        "count": Number(default=1, least=0),
        "duration_s": Number(default=0, least=0),
    },
    "support-tickets": {
        "ticket_id": Text(required=True),
        "status": Text(required=True, among=STATUSES),
        "priority": Text(default="normal", among=PRIORITIES),
        "kind": Text(),
        "first_response_s": Number(least=0),
        "resolution_s": Number(least=0),
    },
    "surveys": {
        "kind": Text(required=True, among=tuple(SURVEY_SCORES)),
        "score": Number(required=True),
        "user_id": Text(),
    },
    "billing": {
        "kind": Text(required=True, among=INVOICES),
        "amount": Number(default=0),
        "currency": Text(),
        "days_late": Number(default=0, least=0),
    },
    "engagement": {"kind": Text(required=True, may_be_empty=False), "user_id": Text(), "role": Text()},
    "controls": {
        "kind": Text(required=True, among=CONTROLS),
        "value": Number(least=0, most=100),
        "score": Number(least=0, most=100),
        "band": Text(),
        "reason": Text(),
        "expires_at": Time(),
        "rule": Text(),
        "until": Time(),
        "by": Text(),
        "into": Text(),
    },
    "signals": {"name": Text(required=True, may_be_empty=False), "value": Number(required=True)},
}

RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):?(\d\d))", re.ASCII
)
STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def read_time_ms(raw: object) -> int:
    """Return epoch milliseconds, from an integer or an RFC 3339 text (cut off below a millisecond).

    Raises RejectedError.
    """
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    match = RFC3339.fullmatch(raw) if isinstance(raw, str) else None
    if not match:
        raise RejectedError("time is neither RFC 3339 with an offset nor integer milliseconds")
    fraction, sign, hours, minutes = match.groups()[6:]
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    try:
        local = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise RejectedError(str(error)) from error
    offset_min = 0
    if sign:
        if hours > "23" or minutes > "59":
            raise RejectedError("no such offset")
        offset_min = (int(hours) * 60 + int(minutes)) * (1 if sign == "+" else -1)
    whole_ms = (local - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return whole_ms + int((fraction or "").ljust(3, "0")[:3]) - offset_min * 60_000


def millionths(number: float) -> int:
    """Return the number in millionths, by its shortest decimal text, halves to even."""
    return int((Decimal(repr(number)) * MILLION).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def read_text(name: str, rule: Text, raw: object) -> str:
    """Return the text of a field that is present. Raises RejectedError."""
    if not isinstance(raw, str):
        raise RejectedError(f"{name} is not text")
    if raw == "" and not rule.may_be_empty:
        raise RejectedError(f"{name} is empty")
    if rule.among is not None and raw not in rule.among:
        raise RejectedError(f"{name} is not one of {rule.among}")
    try:
        raw.encode()
    except UnicodeEncodeError as error:
        raise RejectedError(f"{name} holds half a surrogate pair") from error
    return raw


def read_number(name: str, rule: Number, raw: object) -> float:
    """Return the number of a field that is present. Raises RejectedError."""
    # Infinity and NaN fail the comparison.
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not rule.least <= raw <= rule.most:
        raise RejectedError(f"{name} is not a number from {rule.least} to {rule.most}")
    return raw


def _refuse_constant(name: str) -> object:
    raise RejectedError(f"{name} is no JSON")


def _is_too_deep(text: str) -> bool:
    # Python's own recursion limit depends on the caller, so depth is counted here; most texts need no look.
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = deepest = 0
    for character in STRING.sub("", text):
        depth += (character in "[{") - (character in "]}")
        deepest = max(deepest, depth)
    return deepest > MAX_DEPTH


def _read_object(value: bytes) -> dict[str, Any]:
    try:
        text = value.decode("utf-8")
        document = None if _is_too_deep(text) else json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise RejectedError(str(error)) from error
    if not isinstance(document, dict):
        raise RejectedError("not an object, or nested too deep")
    return document


def fields_of_table(table: dict[str, Any]) -> Fields:
    """The fields of a source that a policy adds, by its table in the policy."""
    rules = {"text": Text, "number": Number, "flag": Flag}
    needed = table.get("required", [])
    return {name: rules[kind](required=name in needed) for name, kind in table["fields"].items()}


def _read_fields(fields: Fields, document: dict[str, Any]) -> tuple[dict[str, str], dict[str, int], dict[str, int]]:
    texts: dict[str, str] = {}
    numbers: dict[str, int] = {}
    times_ms: dict[str, int] = {}
    for name, rule in fields.items():
        raw = document.get(name)
        if raw is None:
            raw = rule.default
        if raw is None:
            if rule.required:
                raise RejectedError(f"{name} is missing")
        elif isinstance(rule, Time):
            times_ms[name] = read_time_ms(raw)
        elif isinstance(rule, Flag):
            if not isinstance(raw, bool):
                raise RejectedError(f"{name} is neither true nor false")
            texts[name] = "true" if raw else "false"
        elif isinstance(rule, Text):
            texts[name] = read_text(name, rule, raw)
        else:
            numbers[name] = millionths(read_number(name, rule, raw))
    return texts, numbers, times_ms


def _check_control(control: Event, bands: list[str] | None) -> None:
    """Refuse a pulse without a value, and an override that says nothing, too much, not why or not until when.

    An acknowledgement without a rule is refused too, and a snooze without a rule or without an end.
    """
    kind = control.texts["kind"]
    if kind == "pulse" and "value" not in control.numbers:
        raise RejectedError("a pulse has no value")
    if kind == "override":
        if ("score" in control.numbers) == ("band" in control.texts):
            raise RejectedError("an override has one of score and band")
        if not control.texts.get("reason") or "expires_at" not in control.times_ms:
            raise RejectedError("an override has a reason and an end")
        if bands is not None and control.texts.get("band", bands[0]) not in bands:
            raise RejectedError("the policy has no such band")
    if kind in ("acknowledge", "snooze") and not control.texts.get("rule"):
        raise RejectedError(f"{kind} names no rule")
    if kind == "snooze" and "until" not in control.times_ms:
        raise RejectedError("a snooze has no end")
    if kind == "merge" and not control.texts.get("into", "").strip():
        raise RejectedError("a merge names no account")


def _add_properties(event: Event, properties: Any) -> None:
    """Add the properties that have a text or a number; what is no object has none."""
    for name, value in properties.items() if isinstance(properties, dict) else ():
        for text in [] if isinstance(value, list | dict) else as_texts(value):
            event.texts[f"properties.{name}"] = text
        number = as_number(value)
        if number is not None and -LARGEST <= number <= LARGEST:
            event.numbers[f"properties.{name}"] = millionths(number)


def _said(document: dict[str, Any]) -> dict[str, Any]:
    """What a record of `accounts` says of each field; a bad field is left out."""
    values = {}
    for name, raw in fields_of(document).items():
        with suppress(ValueError):
            values[name] = kept(name, raw, read_time_ms)
    return values


def profile_of(account_id: str, records: Sequence[Said]) -> Event:
    """The profile that all records of an account give."""
    newest = max(records, key=lambda said: (said.time_ms, said.event_id))
    values = current(records)
    texts = {name: value for name, value in values.items() if name in TEXTS}
    times_ms = {name: value for name, value in values.items() if name in DATES}
    numbers = {name: millionths(value) for name, value in values.items() if name == "arr"}
    attributes = {name: value for name, value in values.items() if name not in (*texts, *times_ms, *numbers)}
    return Event(ACCOUNTS, newest.event_id, account_id, newest.time_ms, texts, numbers, times_ms, attributes=attributes)


def read_event(
    source: str,
    value: bytes | None,
    now_ms: int,
    bands: list[str] | None = None,
    added: dict[str, Fields] | None = None,
) -> Event:
    """Return the event in a record's value. Raises RejectedError with the reason when it must be dead-lettered.

    `bands` are those that an override may have; None if any. `added` has the fields of the sources of the policy.
    """
    if value is None:
        raise RejectedError("no value")
    document = _read_object(value)
    identity = Text(required=True, may_be_empty=False)
    event_id = read_text("id", identity, document.get("id")).strip()
    account_id = read_text("account_id", identity, document.get("account_id")).strip()
    if not event_id or not account_id:
        raise RejectedError("id or account_id is blank")
    time_ms = read_time_ms(beginning(document.get("time")) if source == ACCOUNTS else document.get("time"))
    if time_ms < EARLIEST_MS:
        raise RejectedError("implausible_time")
    if time_ms > now_ms + FUTURE_MS:
        raise RejectedError("in_the_future")
    if source == ACCOUNTS:
        return Event(source, event_id, account_id, time_ms, {}, {}, said=Said(time_ms, event_id, _said(document)))
    fields = (added or {})[source] if source not in FIELDS else FIELDS[source]
    event = Event(source, event_id, account_id, time_ms, *_read_fields(fields, document))
    _add_properties(event, document.get("properties"))
    if source == "surveys":
        lowest, highest = SURVEY_SCORES[event.texts["kind"]]
        if not lowest <= document["score"] <= highest:
            raise RejectedError("score is outside its scale")
    if source == "controls":
        _check_control(event, bands)
    return event
