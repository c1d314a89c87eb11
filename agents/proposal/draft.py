"""Draft a mapping for records that no preset knows: a beginning for a person, who checks every line.

Owns what names and values of columns are taken for. Called by `agents.proposal.presets`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from agents.files.formats import FormatError, records_of, stem_of
from schemas.events import PROFILE_SOURCE
from schemas.plausible_times import EARLIEST_MS
from stream.mapping.framing import UnmappedValueError, unwrap
from stream.mapping.values import decimal_of, number_of, time_of

_RECORDS = 200
_HEAD = """\
# A mapping to begin with. It is guessed from the names and the values of columns: check every line. A "?" is yours to
# replace with the name of a column. Times without an offset are read as UTC.
"""
_ACCOUNT = ("account", "customer", "kunde", "client", "company", "firma", "organi", "org", "tenant", "mandant")
_NUMBER = re.compile(r"(id|ids|nummer|number|nr|no|key)$")
_FIELDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    PROFILE_SOURCE: {
        "name": ("name", "firma", "company", "unternehmen"),
        "plan": ("plan", "tarif", "paket", "edition"),
        "tier": ("tier",),
        "segment": ("segment",),
        "owner": ("csm", "owner", "betreu", "manager"),
    },
    "product-usage": {
        "user_id": ("user", "benutzer", "nutzer", "mail", "login", "person"),
        "feature": ("feature", "funktion", "modul", "page", "seite", "screen", "event", "action"),
    },
}
_TIMES = {
    "started_at": ("start", "begin", "since", "seit", "signed", "created"),
    "renewal_at": ("renew", "verläng", "verlaeng", "expir", "ablauf", "end"),
}
_MONEY = {"arr": ("arr", "umsatz", "revenue")}
_DAYS = ("%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y")
_LAYOUTS = [f"{day}{clock}" for day in _DAYS for clock in ("", " %H:%M", " %H:%M:%S")]
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class _Column(NamedTuple):
    """A column: its values as they are, the key that a time or number of it needs, and whether it is such."""

    name: str
    values: list[Any]
    time: str | None
    number: str | None

    def is_called(self, words: Sequence[str]) -> bool:
        return any(word in self.name.lower() for word in words)


def draft_of(paths: Sequence[Path]) -> str:
    """Rules for the files, as far as their records have fields. Raises OSError with the file's name."""
    rules = [rule for path in paths if (rule := _rule(path))]
    return "\n".join([_HEAD, *rules]) if rules else ""


def _rule(path: Path) -> str:
    columns = _columns(path)
    if not columns:
        return ""
    account = _account(columns)
    times = [column for column in columns if column.time is not None and column is not account]
    others = [column for column in columns if column is not account and column.time is None]
    profile = {"account_id": account, **_chosen(_TIMES, times), **_chosen(_FIELDS[PROFILE_SOURCE], others)}
    profile |= _chosen(_MONEY, [column for column in others if column.number is not None])
    if account is not None and len(profile) > 1 and _has_one_row_each(account):
        since = profile.get("started_at") or (times[0] if times else None)
        return _text(
            path, PROFILE_SOURCE, "a row for each account", {"account_id": account, "time": since, **profile}, columns
        )
    usage = {"account_id": account, "time": times[0] if times else None}
    usage |= _chosen(_FIELDS["product-usage"], others)
    what = "or support-tickets, surveys, billing, engagement, signals, which have other fields"
    return _text(path, "product-usage", what, usage, columns)


def _columns(path: Path) -> list[_Column]:
    values: dict[str, list[Any]] = {}
    try:
        for record in islice(records_of(path), _RECORDS):
            row = unwrap(record.value) if isinstance(record.value, bytes) else record.value
            for name, value in row.items() if isinstance(row, dict) else ():
                if value is not None and value != "" and not isinstance(value, dict | list):
                    values.setdefault(name, []).append(value)
    except (FormatError, UnmappedValueError):
        pass  # what was read before is enough
    return [_Column(name, of_name, _time(of_name), _number(of_name)) for name, of_name in values.items()]


def _time(values: Sequence[Any]) -> str | None:
    """What a field needs to read the values as times: nothing, or `format`. None: they are no times."""
    if all(_is_time(value) for value in values):
        return ""
    texts = [value.strip() for value in values if isinstance(value, str)]
    if len(texts) < len(values):
        return None
    return next((f'format = "{layout}"' for layout in _LAYOUTS if all(_has(text, layout) for text in texts)), None)


def _is_time(value: Any) -> bool:
    """A time, or epoch milliseconds; a shorter number may be anything."""
    time_ms = time_of(value)
    is_number = number_of(value) is not value or isinstance(value, int | float)
    return isinstance(time_ms, int) and not isinstance(value, bool) and (not is_number or time_ms > EARLIEST_MS)


def _has(text: str, layout: str) -> bool:
    try:
        datetime.strptime(text, layout)  # noqa: DTZ007 -- only whether it can be read
    except ValueError:
        return False
    return True


def _number(values: Sequence[Any]) -> str | None:
    """What a field needs to read the values as numbers: nothing, or `decimal`. None: they are no numbers."""
    for key, mark in (('decimal = ","', ","), ("", None), ('decimal = "."', ".")):
        read = [number_of(value) if mark is None else decimal_of(value, mark) for value in values]
        if all(isinstance(number, int | float) for number in read) and (mark != "," or _has_comma(values)):
            return key
    return None


def _has_comma(values: Sequence[Any]) -> bool:
    return any(isinstance(value, str) and "," in value for value in values)


def _account(columns: Sequence[_Column]) -> _Column | None:
    """The column that names the account: with a word for a customer, and best one for a number."""
    called = [column for column in columns if column.is_called(_ACCOUNT) and column.time is None]
    numbered = [column for column in called if _NUMBER.search(column.name.lower())]
    return next(iter(numbered or called), None)


def _has_one_row_each(account: _Column) -> bool:
    return len(account.values) > 1 and len(set(account.values)) == len(account.values)


def _chosen(fields: Mapping[str, tuple[str, ...]], columns: Sequence[_Column]) -> dict[str, _Column | None]:
    """The first column for each field that is called like it; a column is for one field."""
    chosen: dict[str, _Column | None] = {}
    for field, words in fields.items():
        free = [column for column in columns if all(column is not other for other in chosen.values())]
        column = next((each for each in free if each.is_called(words)), None)
        if column is not None:
            chosen[field] = column
    return chosen


def _text(path: Path, source: str, what: str, fields: Mapping[str, _Column | None], columns: Sequence[_Column]) -> str:
    lines = ["[[map]]", f"from = {json.dumps(stem_of(path), ensure_ascii=False)}", f'to = "{source}" # {what}']
    lines.append("[map.fields]")
    for field, column in fields.items():
        if column is None:
            lines.append(f'{field} = "?"')
            continue
        key = column.time if field in {"time", *_TIMES} else column.number if field in _MONEY else ""
        table = f"{{ path = {_path(column.name)}, {key} }}" if key else _path(column.name)
        lines.append(f"{field} = {table}")
    used = [column for column in fields.values() if column is not None]
    rest = [column.name for column in columns if all(column is not each for each in used)]
    if rest:
        lines.append(f"# columns that are not used: {json.dumps(rest, ensure_ascii=False)[1:-1]}")
    return "\n".join([*lines, ""])


def _path(name: str) -> str:
    """The name of a column as a JMESPath expression in TOML."""
    expression = name if _PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)
    is_literal = "'" not in expression and expression.isprintable()
    return f"'{expression}'" if is_literal and expression != name else json.dumps(expression, ensure_ascii=False)
