"""Read outcomes from a CSV file: which accounts churned, renewed or expanded, and when.

The header names `account_id` and any of `churned_at`, `renewed_at`, `expanded_at`; other columns are ignored, and an
account may have several rows. Does not know events or scores. Called by `agents.backtest.inputs`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from agents.files.formats import Input, Rows
from agents.files.playback import BadLine
from schemas.topics import DAY_MS

ACCOUNT = "account_id"
CHURNED, RENEWED, EXPANDED = "churned_at", "renewed_at", "expanded_at"
COLUMNS = (CHURNED, RENEWED, EXPANDED)
_DATE_LENGTH = len("2026-01-31")


class OutcomesError(ValueError):
    """The file is not a CSV of outcomes; the message says what is expected."""


@dataclass(slots=True)
class Outcomes:
    """Outcomes of accounts: epoch milliseconds by account id, ascending; `bad` are the rows that were ignored."""

    churned: dict[str, int] = field(default_factory=dict)
    """The first churn of each account."""
    renewed: dict[str, list[int]] = field(default_factory=dict)
    expanded: dict[str, list[int]] = field(default_factory=dict)
    accounts: set[str] = field(default_factory=set)
    last_ms: int | None = None
    """The last moment of an outcome; of a date its end, because what happened on that date is known."""
    bad: list[BadLine] = field(default_factory=list)


def instant_ms(text: str, *, end: bool = False) -> int:
    """Epoch milliseconds of RFC 3339 with an offset, or of a date: its beginning in UTC, or its last millisecond.

    Raises ValueError for anything else.
    """
    when = datetime.fromisoformat(text)
    if len(text) == _DATE_LENGTH:
        moment = round(when.replace(tzinfo=UTC).timestamp() * 1000)
        return moment + DAY_MS - 1 if end else moment
    if when.tzinfo is None:
        raise ValueError(f"{text!r}: a time needs an offset, such as Z or +02:00")
    return round(when.timestamp() * 1000)


def read_outcomes(file: Input) -> Outcomes:
    """Read the outcomes of a file, or of rows of texts; one with an invalid date or no account is listed in `bad`.

    Raises OSError if the file cannot be read, OutcomesError if its header or encoding is wrong.
    """
    outcomes = Outcomes()
    if isinstance(file, Rows):
        _read_rows(outcomes, file)
    else:
        _read_csv(outcomes, file)
    for times_by_account in (outcomes.renewed, outcomes.expanded):
        for times in times_by_account.values():
            times.sort()
    return outcomes


def _read_csv(outcomes: Outcomes, path: Path) -> None:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        try:
            rows = csv.DictReader(lines, restval="", skipinitialspace=True)
            names = [name.strip() for name in rows.fieldnames or ()]
            rows.fieldnames = names
            _check_header(str(path), names)
            for row in rows:
                _add_row(outcomes, str(path), rows.line_num, row)
        except (csv.Error, UnicodeDecodeError) as error:
            raise OutcomesError(f"{path}: is not CSV in UTF-8: {error}") from error


def _read_rows(outcomes: Outcomes, rows: Rows) -> None:
    records = [(number, row) for number, row in rows.records() if isinstance(row, dict)]
    _check_header(rows.label, list(dict.fromkeys(name for _, row in records for name in row)))
    for number, row in records:
        _add_row(outcomes, rows.label, number, {ACCOUNT: "", **row})


def _check_header(path: str, names: list[str]) -> None:
    if ACCOUNT not in names or not set(COLUMNS) & set(names):
        actual = ", ".join(names) or "nothing"
        raise OutcomesError(
            f"{path}: the first line must name the columns {ACCOUNT} and at least one of {', '.join(COLUMNS)}; "
            f"it names {actual}"
        )
    if len(set(names)) < len(names):
        raise OutcomesError(f"{path}: the first line names a column twice: {', '.join(names)}")


def _add_row(outcomes: Outcomes, path: str, line: int, row: dict[str, str]) -> None:
    account = row[ACCOUNT].strip()
    if not account:
        outcomes.bad.append(BadLine(path, line, "no_account", f"{ACCOUNT} is empty"))
        return
    times: dict[str, int] = {}
    known_ms = outcomes.last_ms or 0
    for column in COLUMNS:
        text = (row.get(column) or "").strip()
        if not text:
            continue
        try:
            times[column] = instant_ms(text)
            known_ms = max(known_ms, instant_ms(text, end=True))
        except ValueError:
            message = (
                f"{column} {text!r}: expected a date (2026-01-31) or RFC 3339 with an offset (2026-01-31T12:00:00Z)"
            )
            outcomes.bad.append(BadLine(path, line, "invalid_time", message))
            return
    outcomes.accounts.add(account)
    if CHURNED in times:
        outcomes.churned[account] = min(times[CHURNED], outcomes.churned.get(account, times[CHURNED]))
    for column, times_by_account in ((RENEWED, outcomes.renewed), (EXPANDED, outcomes.expanded)):
        if column in times:
            times_by_account.setdefault(account, []).append(times[column])
    if times:
        outcomes.last_ms = known_ms
