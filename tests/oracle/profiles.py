"""The oracle's profiles: what a record of `accounts` says field by field, and what all records of an account say.

Owns a second, slow statement of the rule that the latest value of each field counts: it looks at all records of an
account each time. Must not know the product's own code. Called by `tests.oracle.events` and `tests.oracle.engine`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

LARGEST = 10**12
TEXTS = ("name", "tier", "plan", "segment", "persona", "parent_id", "owner")
DATES = ("started_at", "renewal_at", "ended_at")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Said:
    """What one record says: the values of fields, None for a field that it clears; `deletes` if it has no value."""

    time_ms: int
    event_id: str
    values: dict[str, Any] = field(default_factory=dict)
    deletes: bool = False


def beginning(raw: Any) -> Any:
    """A date without a time as the moment it begins at, UTC; anything else as it is."""
    if isinstance(raw, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", raw):
        return raw + "T00:00:00Z"
    return raw


def plain_number(raw: Any) -> float | None:
    """The number that a value plainly is."""
    if isinstance(raw, str):
        text = raw.strip()
        return float(text) if NUMBER.fullmatch(text) else None
    return None if isinstance(raw, bool) or not isinstance(raw, int | float) else raw


def kept(name: str, raw: Any, read_time_ms: Any) -> Any:
    """The value of a field that counts: text, number, epoch ms; None where it is cleared. A bad one is a ValueError."""
    if raw is None:
        return None
    if name in TEXTS:
        if not isinstance(raw, str):
            raise ValueError(name)
        return (raw.strip() or None) if name in ("parent_id", "owner") else raw
    if isinstance(raw, str) and not raw.strip() and name in (*DATES, "arr"):
        return None
    if name in DATES:
        return read_time_ms(beginning(raw.strip() if isinstance(raw, str) else raw))
    if name == "arr":
        number = plain_number(raw)
        if number is None or not -LARGEST <= number <= LARGEST:
            raise ValueError(name)
        return number
    if isinstance(raw, int | float) and not -LARGEST <= raw <= LARGEST:
        raise ValueError(name)
    return raw


def fields_of(document: dict[str, Any]) -> dict[str, Any]:
    """The members of a record that are fields, those inside `attributes` too."""
    inside = document.get("attributes")
    fields = dict(inside) if isinstance(inside, dict) else {}
    fields.update(document)
    if isinstance(inside, dict):
        del fields["attributes"]
    return {
        name: raw
        for name, raw in fields.items()
        if name not in ("id", "account_id", "time") and not isinstance(raw, dict)
    }


def current(records: Sequence[Said]) -> dict[str, Any]:
    """What holds of an account: of each field the latest value by (time, id), of equal ones the first that came.

    A record without a value deletes what was before, and ends the account unless there is a newer record.
    """
    deleted = max(((said.time_ms, said.event_id) for said in records if said.deletes), default=None)
    alive = [said for said in records if deleted is None or (said.time_ms, said.event_id) > deleted]
    if deleted is not None and not alive:
        return {"ended_at": deleted[0]}
    values: dict[str, Any] = {}
    for said in sorted(alive, key=lambda said: (said.time_ms, said.event_id), reverse=True):
        for name, value in said.values.items():
            values.setdefault(name, value)
    return {name: value for name, value in values.items() if value is not None}


def as_number(value: Any) -> float | None:
    """An attribute as a number; true is 1 and false is 0. One beyond the largest is none."""
    number = float(value) if isinstance(value, bool) else plain_number(value)
    return None if number is None or abs(number) > LARGEST else number


def as_day(value: Any) -> int | None:
    """The UTC day (since 1970) of an attribute that is a date in text."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(beginning(value.strip()))
    except ValueError:
        return None
    return None if moment.tzinfo is None else (moment.astimezone(UTC).date() - date(1970, 1, 1)).days


def as_texts(value: Any) -> list[str]:
    """An attribute as the texts that a condition compares; a list has several."""
    if isinstance(value, list):
        return [text for each in value for text in as_texts(each)]
    if isinstance(value, bool):
        return [str(value).lower()]
    if isinstance(value, float) and value == int(value):
        return [str(int(value))]
    return [] if value is None else [str(value)]
