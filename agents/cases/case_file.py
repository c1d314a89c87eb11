"""Read a file of cases: `NAME.test.toml`, events and what the policy beside it must make of them.

Owns the keys of the file and its mistakes, each with file, line, key and what is allowed. Expectations are parts of
output records, so their fields are not checked here. Must not run anything. Called by `agents.cli.test`.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from schemas.sources import BUILT_IN, Sources
from stream.columns.calendar import UTC_DAYS, Calendar
from stream.policy.errors import Findings, PolicyError, Problem, shown
from stream.policy.lines import key_lines
from stream.policy.table import Table, finite

SUFFIX = ".test.toml"
_FILE_KEYS = ("policy", "cases")
_CASE_KEYS = ("name", "as_of", "account", "events", "files", "expect", "checks", "alerts", "changes", "tolerance")
_CHECK_KEYS = ("as_of", "ago", "expect")
_OUR_KEYS = ("topic", "account", "at", "ago", "times", "every")
"""Keys of an event in a case that are no fields of the event."""
_SPAN = re.compile(r"(\d+)([dhms])")
_UNIT_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000}
_EXAMPLE = "2026-03-27T12:00:00Z"
_A_SPAN = 'a span of time, such as "3d", "12h", "30m" or "10s"'
_A_TIME = f"a time with an offset, such as {_EXAMPLE}"
_MOST_EVENTS = 1_000_000
_EVENT = "topic, account, at or ago, and the fields of the event"
_ALERT = "fields of its record in health.alerts"
_CHANGE = "fields of its record in health.score-changes"
TOLERANCE = 1e-6

Expected = Mapping[str, Any]
"""What a record must contain: a part of it."""


@dataclass(frozen=True, slots=True)
class Check:
    """What the records of `health.scores` must contain at a time (epoch ms), by account."""

    as_of_ms: int
    accounts: Mapping[str, Expected]


@dataclass(frozen=True, slots=True)
class Case:
    """Events, and what must come of them; `alerts` is None where the case does not say.

    `changes` has, by account, how many score changes there are, or all of them in order.

    `lines` are the events as JSON, each with the line of the case file that it comes from. The last of `checks` is at
    the end of the case.
    """

    name: str
    file: str
    line: int
    lines: tuple[tuple[bytes, int], ...]
    files: tuple[Path, ...]
    checks: tuple[Check, ...]
    alerts: tuple[Expected, ...] | None
    changes: Mapping[str, int | tuple[Expected, ...]]
    tolerance: float

    @property
    def end_ms(self) -> int:
        """The end of the case, epoch ms."""
        return self.checks[-1].as_of_ms


@dataclass(frozen=True, slots=True)
class CaseFile:
    """The cases of one file, and the policy that they test."""

    path: Path
    policy: Path
    cases: tuple[Case, ...]


class Context(NamedTuple):
    """What a policy decides about the events of its cases: the sources that there are, and the days of dates."""

    sources: Sources = BUILT_IN
    calendar: Calendar = UTC_DAYS


def read_cases(path: Path, context_of: Callable[[Path], Context] = lambda _policy: Context()) -> CaseFile:
    """Read a file of cases; `context_of` returns what its policy decides about events.

    Raises `PolicyError` with every mistake, and OSError or UnicodeDecodeError.
    """
    text = path.read_text(encoding="utf-8")
    try:
        document = tomllib.loads(text)
    except ValueError as error:
        raise PolicyError([Problem(str(path), None, "TOML", str(error))]) from error
    findings, lines = Findings(), key_lines(text)
    root = Table(document, (), findings, _FILE_KEYS)
    name = root.text("policy", "the path of a policy file, relative to this file", required=False)
    policy = path.with_name(path.name.removesuffix(SUFFIX) + ".toml") if name is None else path.parent / name
    reader = _Reader(path, lines, findings, context_of(policy))
    cases = [reader.case(table) for table in root.tables("cases", "a list of at least one case, [[cases]]", _CASE_KEYS)]
    if findings:
        raise PolicyError(findings.located(str(path), lines))
    return CaseFile(path, policy, tuple(cases))


class _Reader:
    """Reads the cases of one file."""

    def __init__(
        self, path: Path, lines: Mapping[tuple[str | int, ...], int], findings: Findings, context: Context
    ) -> None:
        self._path, self._sources, self._calendar = path, context.sources, context.calendar
        self._lines = lines
        self._findings = findings

    def case(self, table: Table) -> Case:
        name = table.text("name", "a sentence that says what the case shows") or ""
        end_ms = _as_of_ms(table, self._calendar) or 0
        account = table.text("account", "the account of events that name none", required=False)
        events: list[tuple[bytes, int]] = []
        for event in self._events(table):
            events.extend(self._event(event, end_ms, account, len(events)))
        tolerance = finite(table.value("tolerance")) if "tolerance" in table else TOLERANCE
        if tolerance is None or tolerance < 0:
            table.wrong("tolerance", "a number of 0 or more, by which numbers may differ")
        return Case(
            name,
            str(self._path),
            self._lines.get(table.path, 1),
            tuple(events),
            tuple(self._path.parent / file for file in table.texts("files")),
            (*_earlier(table, end_ms, self._calendar), Check(end_ms, _accounts(table))),
            self._alerts(table),
            self._changes(table),
            tolerance or 0.0,
        )

    def _events(self, table: Table) -> Iterator[Table]:
        return self._tables(table, "events", f"a list of events, each a table with {_EVENT}", _EVENT)

    def _alerts(self, table: Table) -> tuple[Expected, ...] | None:
        if "alerts" not in table:
            return None
        allowed = f"a list of alerts in order, each with {_ALERT}; [] for none"
        return tuple(map(_fields, self._tables(table, "alerts", allowed, _ALERT)))

    def _changes(self, table: Table) -> Mapping[str, int | tuple[Expected, ...]]:
        """By account, the number of score changes, or what each of them contains."""
        named = table.names("changes", "a table of accounts, each with its number of score changes or a list of them")
        allowed = f"a number of score changes, 0 or more, or a list of all of them in order, each with {_CHANGE}"
        changes: dict[str, int | tuple[Expected, ...]] = {}
        for account in named:
            count = named.value(account)
            if isinstance(count, int) and not isinstance(count, bool) and count >= 0:
                changes[account] = count
            else:
                changes[account] = tuple(map(_fields, self._tables(named, account, allowed, _CHANGE)))
        return changes

    def _tables(self, table: Table, key: str, expected: str, fields: str) -> Iterator[Table]:
        """The tables of a list, whose keys are fields of a record: they are not checked here."""
        value = table.value(key)
        if key in table and not isinstance(value, list):
            table.wrong(key, expected)
        for index, element in enumerate(value if isinstance(value, list) else []):
            path = (*table.path_of(key), index)
            if isinstance(element, dict):
                yield Table(element, path, self._findings, None)
            else:
                self._findings.add(path, f"must be a table with {fields}, not {shown(element)}")

    def _event(self, table: Table, end_ms: int, account: str | None, before: int) -> Iterator[tuple[bytes, int]]:
        topic = table.choice("topic", tuple(self._sources.spelled))
        account = table.text("account", "an account id", required=account is None) or account
        start_ms = _event_time(table, end_ms, self._calendar)
        times = table.whole_number("times", f"a whole number from 1 to {_MOST_EVENTS:,}", _MOST_EVENTS) or 1
        every_ms = _span(table, "every") or 0
        fields = {key: value for key, value in _fields(table).items() if key not in _OUR_KEYS}
        line = self._lines.get(table.path, 1)
        for number in range(1, times + 1):
            event = {
                "id": f"event-{before + number}",
                "time": (start_ms or 0) + (number - 1) * every_ms,
                "account_id": account,
                **{key: _numbered(value, number) for key, value in fields.items()},
                "topic": topic,
            }
            yield json.dumps(event).encode(), line


def _earlier(table: Table, end_ms: int, calendar: Calendar) -> Iterator[Check]:
    """The checks before the end of a case, in order of time."""
    checks: list[Check] = []
    for check in table.tables("checks", "a list of { as_of or ago, expect }", _CHECK_KEYS) if "checks" in table else []:
        span = _span(check, "ago")
        moment = _as_of_ms(check, calendar) if span is None else end_ms - span
        if moment is not None and moment > end_ms:
            check.problem("as_of", "must not be after as_of of the case")
        checks.append(Check(moment or 0, _accounts(check)))
    return iter(sorted(checks, key=lambda check: check.as_of_ms))


def _accounts(table: Table) -> Mapping[str, Expected]:
    """Expected records by account; an account that must have none has {}."""
    expected = table.names("expect", "a table of accounts, each with fields of its record in health.scores")
    accounts: dict[str, Expected] = {}
    for account in expected:
        record = expected.value(account)
        if record == "none":
            accounts[account] = {}
        elif isinstance(record, dict) and record:
            accounts[account] = _plain(record)
        else:
            expected.wrong(account, 'a table with fields of the record in health.scores, or "none" for no record')
    return accounts


def _event_time(table: Table, end_ms: int, calendar: Calendar) -> int | None:
    if ("at" in table) == ("ago" in table):
        table.wrong("at", f'{_A_TIME}, or write ago = "3d" for a time before as_of')
        return None
    if "at" in table:
        return _time_ms(table, "at", calendar)
    span = _span(table, "ago")
    return None if span is None else end_ms - span


def _time_ms(table: Table, key: str, calendar: Calendar) -> int | None:
    """A time as epoch ms: RFC 3339 with an offset, without quotes, or a date, which is its beginning."""
    value = table.value(key)
    moment = _moment(value)
    if moment is None:
        table.wrong(key, _A_TIME)
        return None
    return moment if isinstance(value, datetime) else calendar.start_ms(UTC_DAYS.pane_of(moment, "day"), "day")


def _as_of_ms(table: Table, calendar: Calendar) -> int | None:
    """The moment `as_of` as epoch ms: a time as above, or a date, which is its end."""
    value, moment = table.value("as_of"), _time_ms(table, "as_of", calendar)
    return moment if moment is None or isinstance(value, datetime) else calendar.day_end(moment)


def _moment(value: object) -> int | None:
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time(), UTC)
    if not isinstance(value, datetime) or value.tzinfo is None:
        return None
    return (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _span(table: Table, key: str) -> int | None:
    """A span of time in ms; None if absent."""
    value = table.value(key)
    match = _SPAN.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        if key in table:
            table.wrong(key, _A_SPAN)
        return None
    return int(match[1]) * _UNIT_MS[match[2]]


def _fields(table: Table) -> dict[str, Any]:
    """All keys of a table with their values as in a record."""
    return {key: _plain(table.value(key)) for key in table}


def _plain(value: Any) -> Any:
    """A value as in a record: times as epoch ms."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    moment = _moment(value)
    return value if moment is None else moment


def _numbered(value: object, number: int) -> object:
    if isinstance(value, dict):
        return {key: _numbered(each, number) for key, each in value.items()}
    return value.replace("{n}", str(number)) if isinstance(value, str) else value
