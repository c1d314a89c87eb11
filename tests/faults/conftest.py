"""The table of faults that a run prints: each row with what was counted and how long it took.

Owns collecting and printing. Must not know the faults. Rows come from the fixture `fault`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from _pytest.terminal import TerminalReporter

Figures = dict[str, int]
_PROPERTY = "fault"


@pytest.fixture
def fault(record_property: Callable[[str, object], None]) -> Callable[[str, Figures], None]:
    """Give the function that puts a row into the table: number and name of the fault, and its figures."""

    def record(name: str, figures: Figures) -> None:
        record_property(_PROPERTY, json.dumps([name, {key: value for key, value in figures.items() if value}]))

    return record


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    rows = []
    for report in (*terminalreporter.stats.get("passed", ()), *terminalreporter.stats.get("failed", ())):
        if getattr(report, "when", None) != "call":
            continue
        entries = [json.loads(value) for name, value in report.user_properties if name == _PROPERTY]
        verdict = "holds" if report.passed else "BROKEN"
        if not entries and not report.passed and "tests/faults/" in report.nodeid:
            entries = [[report.nodeid.rpartition("::")[2], {}]]
        rows += [(name, verdict, report.duration, figures) for name, figures in entries]
    if not rows:
        return
    terminalreporter.section("faults")
    for name, verdict, seconds, figures in sorted(rows, key=_number):
        counted = ", ".join(f"{key} {value:,}" for key, value in figures.items())
        terminalreporter.write_line(f"{name:<64} {verdict:<6} {seconds:5.0f} s  {counted}")


def _number(row: tuple[str, str, float, Figures]) -> tuple[int, str]:
    first = row[0].split(maxsplit=1)[0]
    return (int(first) if first.isdigit() else 99, row[0])
