"""Windows that were read before, whose totals are kept, against the same rings read for the first time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.columns.columns import PaneColumn
from stream.columns.panes import UNIT_MS

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject

DAY_MS = UNIT_MS["day"]
PANES = 7
WINDOWS = [(window, skip) for window in range(1, PANES + 1) for skip in range(PANES + 1 - window)]
ACTIONS = ("aggregate", "advance", "grow", "clear", "unite", "load")
AMOUNTS = st.one_of(
    st.integers(-9, 9).map(lambda whole: whole * 1_000_000),
    st.sampled_from((1, 250_000, 130_000_000, 40_000 * 1_000_000, 2**33 * 1_000_000)),
)


def total(column: PaneColumn, row: int, window: int, skip: int) -> float:
    assert column.newest is not None
    panes = range(column.newest - skip - window + 1, column.newest - skip + 1)
    return float(sum(int(column.values[row, pane % PANES]) * column.divisor for pane in panes))


def draw_column(data: DataObject, how: str, newest: int, rows: int) -> PaneColumn:
    column = PaneColumn("c", "day", PANES, how)
    column.grow(rows)
    column.advance(newest * DAY_MS)
    aggregate(data, column, rows)
    return column


def aggregate(data: DataObject, column: PaneColumn, rows: int) -> None:
    assert column.newest is not None
    events = data.draw(
        st.lists(st.tuples(st.integers(0, rows - 1), st.integers(0, PANES), AMOUNTS), max_size=6), label="events"
    )
    column.aggregate(
        np.array([row for row, _, _ in events], dtype=np.int64),
        np.array([(column.newest - age) * DAY_MS for _, age, _ in events], dtype=np.int64),
        None if column.how == "count" else np.array([amount for _, _, amount in events], dtype=np.float64),
    )


def act(data: DataObject, action: str, column: PaneColumn, rows: int) -> int:
    """Do something to a column; returns how many rows it has then."""
    assert column.newest is not None
    if action == "aggregate":
        aggregate(data, column, rows)
    elif action == "advance":
        column.advance((column.newest + data.draw(st.integers(0, PANES + 2), label="panes")) * DAY_MS)
    elif action == "grow":
        rows += data.draw(st.integers(1, 2), label="more rows")
        column.grow(rows)
    elif action == "clear":
        column.clear(data.draw(st.integers(0, rows - 1), label="row"))
    elif action == "unite":
        other = draw_column(data, column.how, column.newest, 1)
        column.unite(data.draw(st.integers(0, rows - 1), label="into"), other, 0)
    else:
        older = column.newest - data.draw(st.integers(0, 2), label="saved before")
        other = draw_column(data, column.how, older, rows)
        record = np.zeros(rows, dtype=[(name, kind, shape) for name, kind, shape in other.fields()])
        other.save(np.arange(rows), record)
        column.load(np.arange(rows), record, np.full(rows, older * DAY_MS))
    return rows


@given(how=st.sampled_from(("count", "sum")), actions=st.lists(st.sampled_from(ACTIONS), max_size=12), data=st.data())
def test_a_window_is_the_sum_of_its_panes_whatever_happened_since_it_was_read(
    how: str, actions: list[str], data: DataObject
) -> None:
    rows = 2
    column = draw_column(data, how, 20_000, rows)
    for action in ["advance", *actions]:
        rows = act(data, action, column, rows)
        for window, skip in data.draw(st.sets(st.sampled_from(WINDOWS)), label="windows"):
            expected = [total(column, row, window, skip) for row in range(rows)]
            assert column.read(np.arange(rows), window, skip).tolist() == expected, (window, skip)
    earlier, copied = column.at(20_000), column.excerpt(np.arange(rows))
    assert column.newest is not None
    for window, skip in WINDOWS:
        expected = [total(column, row, window, skip) for row in range(rows)]
        assert copied.read(np.arange(rows), window, skip).tolist() == expected, "a copy"
        expected = [total(earlier, row, window, skip) for row in range(rows)]
        assert earlier.read(np.arange(rows), window, skip).tolist() == expected, "as of an earlier pane"
