"""Run a case: its events through the engine, and the records that come out beside those that were expected.

Owns the comparison of records and the wording of differences. The engine is that of `vitals score`. Called by
`agents.cli.test`.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from agents.cases.case_file import Case, Expected
from agents.files.replay import Replay, Watch, replay_files
from schemas.outputs import Alert, ScoreChange, ScoreMessage
from stream.engine.engine import Engine
from stream.plan.plan import Plan

NONE = "none"
"""How a case writes a null or an absent field, which TOML cannot."""

Record = dict[str, Any]


@dataclass(slots=True)
class CaseResult:
    """What a case gave: the differences from what it expects, and the records of its checks, changes and alerts."""

    case: Case
    differences: list[str] = field(default_factory=list)
    checked: dict[int, dict[str, Record]] = field(default_factory=dict)
    changes: list[Record] = field(default_factory=list)
    alerts: list[Record] = field(default_factory=list)


def run_case(case: Case, plan: Plan) -> CaseResult:
    """Run a case. Raises OSError for a file that cannot be read."""
    result = CaseResult(case)

    def look(moment_ms: int, engine: Engine) -> None:
        result.checked[moment_ms] = _records(engine)

    moments = sorted({check.as_of_ms for check in case.checks})
    with tempfile.TemporaryDirectory(prefix="vitals-test-") as folder:
        events = Path(folder) / "events.jsonl"
        events.write_bytes(b"\n".join(line for line, _ in case.lines))
        replay = replay_files([events, *case.files], plan, case.end_ms, Watch(lambda _first, _last: moments, look))
        result.differences += _unusable(case, events, replay)
    result.checked.setdefault(case.end_ms, _records(replay.engine))
    result.changes = [msgspec.json.decode(message.value) for message in replay.changes]
    result.alerts = [msgspec.json.decode(message.value) for message in replay.alerts]
    result.differences += _differences(case, result)
    return result


def _records(engine: Engine) -> dict[str, Record]:
    """The record of every account in `health.scores` as of now."""
    records: list[Record] = [msgspec.json.decode(message.value) for message in engine.current().scores]
    return {record["account_id"]: record for record in records}


def _unusable(case: Case, events: Path, replay: Replay) -> Iterator[str]:
    """Events of the case that the engine refuses, at their lines of the case file."""
    for bad in replay.bad:
        if bad.file == str(events):
            yield f"the event in line {case.lines[bad.line - 1][1]}: {bad.reason}: {bad.message}"
        else:
            yield f"{bad.file}:{bad.line}: {bad.reason}: {bad.message}"


def _differences(case: Case, result: CaseResult) -> Iterator[str]:
    yield from _of_scores(case, result)
    for account, changes in case.changes.items():
        published = [change for change in result.changes if change["account_id"] == account]
        if not isinstance(changes, int):
            yield from _in_order(f"{account}: change", changes, published, _change, case.tolerance)
        elif len(published) != changes:
            yield f"{account}: expected {changes} score changes, got {len(published)}"
    if case.alerts is not None:
        yield from _in_order("alert", case.alerts, result.alerts, _alert, case.tolerance)


def _of_scores(case: Case, result: CaseResult) -> Iterator[str]:
    for check in case.checks:
        records = result.checked.get(check.as_of_ms, {})
        where = "" if check.as_of_ms == case.end_ms else f" at {_time(check.as_of_ms)}"
        for account, expected in check.accounts.items():
            record = records.get(account)
            if not expected and record is not None:
                yield f"{account}{where}: expected no record, got scores {_scores(record)}"
            elif expected and record is None:
                yield f"{account}{where}: expected a record, got none; accounts with one: {_names(records)}"
            elif record is not None:
                for path, wanted, actual in _unequal(expected, record, case.tolerance):
                    yield f"{account}{where}: {path}: expected {_shown(wanted)}, got {_shown(actual)}"


def _in_order(
    what: str, expected: Sequence[Expected], actual: list[Record], named: Callable[[Record], str], tolerance: float
) -> Iterator[str]:
    """The differences of all records of a kind, which are numbered from 1; `named` says which one a record is."""
    for number, (wanted, record) in enumerate(zip(expected, actual, strict=False), 1):
        for path, value, other in _unequal(wanted, record, tolerance):
            yield f"{what} {number} ({named(record)}): {path}: expected {_shown(value)}, got {_shown(other)}"
    for number, wanted in enumerate(expected[len(actual) :], len(actual) + 1):
        yield f"{what} {number}: expected {_shown(dict(wanted))}, got none"
    for number, record in enumerate(actual[len(expected) :], len(expected) + 1):
        yield f"{what} {number}: expected none, got {named(record)}"


def _unequal(expected: Expected, record: Any, tolerance: float, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path, expected value and actual value of every field that differs."""
    record = _by_measure(record)
    for key, wanted in expected.items():
        here = f"{path}.{key}" if path else key
        if not isinstance(record, dict) or (key not in record and not (wanted == NONE and _may_be_absent(key, record))):
            fields = _names(record) if isinstance(record, dict) else _shown(record)
            yield here, wanted, f"no such field; there are {fields}"
            continue
        actual = record.get(key)
        if isinstance(wanted, dict):
            yield from _unequal(wanted, actual, tolerance, here)
        elif not _equal(wanted, actual, tolerance):
            yield here, wanted, actual


def _may_be_absent(key: str, record: Record) -> bool:
    """Whether a record could have the key; tables by the name of a score or measure could have any."""
    return key in _fields_of_records() or not record.keys() <= _fields_of_records()


@cache
def _fields_of_records() -> frozenset[str]:
    """The names of all fields of scores, score changes and alerts, and of the tables in them."""
    names: set[str] = set()
    types: list[Any] = list(msgspec.inspect.multi_type_info([ScoreMessage, ScoreChange, Alert]))
    seen = set[type]()
    while types:
        kind = types.pop()
        if isinstance(kind, msgspec.inspect.StructType):
            if kind.cls not in seen:
                seen.add(kind.cls)
                names.update(field.encode_name for field in kind.fields)
                types += [field.type for field in kind.fields]
        elif isinstance(kind, msgspec.inspect.UnionType):
            types += kind.types
        elif isinstance(kind, msgspec.inspect.ListType):
            types.append(kind.item_type)
        elif isinstance(kind, msgspec.inspect.DictType):
            types.append(kind.value_type)
    return frozenset(names)


def _by_measure(value: Any) -> Any:
    """A list of factors as a table of them by the name of their measure; any other value as it is."""
    if isinstance(value, list) and all(isinstance(factor, dict) and "measure" in factor for factor in value):
        return {factor["measure"]: factor for factor in value}
    return value


def _equal(wanted: Any, actual: Any, tolerance: float) -> bool:
    if wanted == NONE and actual is None:
        return True
    if isinstance(wanted, bool) or isinstance(actual, bool):
        return wanted is actual
    if isinstance(wanted, int | float) and isinstance(actual, int | float):
        return math.isclose(wanted, actual, rel_tol=0.0, abs_tol=tolerance)
    return bool(wanted == actual)


def _scores(record: Record) -> str:
    return ", ".join(f"{name} {score.get('value')}" for name, score in record["scores"].items())


def _change(change: Record) -> str:
    return f"{change['cause']} at {_time(change['time'])}, {change['score']} {change['from']} to {change['to']}"


def _alert(alert: Record) -> str:
    moment = alert.get("ends_at") or alert["starts_at"]
    return f"{alert['status']} {alert['rule']} of {alert['account_id'] or 'no account'} at {_time(moment)}"


def _names(names: Mapping[str, Any]) -> str:
    return ", ".join(names) or "none"


def _time(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
