"""A row of a column that takes over another row is what it would be with the events of both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.columns.columns import LatestColumn, PaneColumn
from stream.columns.first import FirstColumn
from stream.columns.histograms import HistogramColumn
from stream.columns.members import Members
from stream.columns.things import Things

DAY_MS = 86_400_000
NOW_MS = 20_000 * DAY_MS
PANES = 5
EVENTS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 9), st.integers(-40, 3_000_000_000), st.integers(1, 4)), max_size=30
)
"""Row, days ago, amount in millionths, member."""


def column_of(kind: str) -> Any:
    if kind in {"count", "sum", "min", "max"}:
        return PaneColumn(kind, "day", PANES, kind)
    if kind == "histogram":
        return HistogramColumn(kind, "day", PANES)
    return FirstColumn(kind, "day") if kind == "first" else LatestColumn(kind, "day")


def state_of(column: Any, row: int) -> list[Any]:
    if isinstance(column, LatestColumn):
        return [column.times[row], 0 if isinstance(column, FirstColumn) else column.values[row]]
    values = column.values[row].astype(np.float64) * (column.divisor if column.adds else 1)
    return list(values.ravel())


@pytest.mark.parametrize("kind", ["count", "sum", "min", "max", "histogram", "latest", "first"])
@given(events=EVENTS)
def test_rows_are_added_exactly(kind: str, events: list[tuple[int, int, int, int]]) -> None:
    both, other, wanted = column_of(kind), column_of(kind), column_of(kind)
    for column in (both, other, wanted):
        column.grow(2)
        column.advance(NOW_MS)
    for row, days, amount, _ in events:
        arguments = np.array([NOW_MS - days * DAY_MS]), np.array([float(amount)])
        (other if row else both).aggregate(np.array([1]), *arguments)
        wanted.aggregate(np.array([0]), *arguments)
    both.unite(1, other, 1)
    assert state_of(both, 1) == state_of(wanted, 0)


@given(EVENTS)
def test_members_and_things_are_united_however_often(events: list[tuple[int, int, int, int]]) -> None:
    columns: list[Any] = [Members("users", "day", PANES), Things("tickets", "day", PANES)]
    for column in columns:
        column.grow(3)
        column.advance(NOW_MS)
        for row, days, _, member in events:
            time = np.array([NOW_MS - days * DAY_MS])
            for each in (row, 2):
                column.aggregate(np.array([each]), time, np.array([member << 8 | days % 2], dtype=np.uint64))
        for _ in range(2):
            column.unite(0, column.entries_of(1))
    members, things = columns
    assert members.read(np.array([0, 2]), PANES).tolist()[0] == members.read(np.array([0, 2]), PANES).tolist()[1]
    assert (
        np.array(things.read(np.array([0, 2]), None)).T.tolist()[0]
        == (np.array(things.read(np.array([0, 2]), None)).T.tolist()[1])
    )


def test_a_row_without_members_has_no_entries() -> None:
    column = Members("users", "day", PANES)
    column.grow(1)
    assert column.entries_of(0) == b""
