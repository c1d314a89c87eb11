"""Columns that are filled from what was saved are what they were, also where rows were saved at different times."""

from __future__ import annotations

import numpy as np
import pytest

from stream.columns.columns import PaneColumn
from stream.columns.histograms import HistogramColumn
from stream.columns.members import Members

DAY_MS = 86_400_000
NOW_MS = 20_000 * DAY_MS
PANES = 5


def column_of(kind: str) -> PaneColumn:
    if kind == "histogram":
        return HistogramColumn(kind, "day", PANES)
    return PaneColumn(kind, "day", PANES, kind)


@pytest.mark.parametrize("kind", ["count", "sum", "min", "max", "histogram"])
def test_panes_that_passed_after_a_row_was_saved_are_empty(kind: str) -> None:
    behind = np.array([0, 1, 3, 4, 5, 40])
    rows = np.arange(len(behind))
    column = column_of(kind)
    column.grow(len(rows))
    field = (column.name + "#" + str(column.divisor), np.int8 if column.adds else np.float64, column.values.shape[1:])
    saved = np.zeros(len(rows), dtype=[field])
    for row, days in enumerate(behind.tolist()):
        then = column_of(kind)
        then.grow(1)
        then.advance(NOW_MS - days * DAY_MS)
        times = NOW_MS - (days + np.arange(PANES)) * DAY_MS
        then.aggregate(np.zeros(PANES, dtype=np.int64), times, np.full(PANES, 3_000_000.0))
        record = np.zeros(1, dtype=[field])
        then.save(np.zeros(1, dtype=np.int64), record)
        saved[row] = record[0]
    column.advance(NOW_MS)
    column.load(rows, saved, NOW_MS - behind * DAY_MS)
    assert [int(filled.sum()) for filled in column.filled(rows, PANES).reshape(len(rows), -1)] == [5, 4, 2, 1, 0, 0]


def test_a_pane_has_room_for_more_than_65535_members_of_an_account() -> None:
    column = Members("m", "day", 3)
    column.grow(2)
    column.advance(NOW_MS)
    for begin in (0, 40_000):
        hashes = np.arange(begin + 1, begin + 40_001).astype(np.uint64)
        rows = np.ones(len(hashes), dtype=np.int64)
        column.aggregate(rows, np.full(len(rows), NOW_MS), hashes)
    assert column.ring.dtype == np.uint32
    assert column.read(np.array([0, 1]), 3).tolist() == [0, 80_000]
    again = Members("m", "day", 3)
    again.grow(2)
    again.advance(NOW_MS)
    pages = column.save()
    numbers = np.array([page.number for page in pages])
    again.load(np.ones(len(pages), dtype=np.int64), numbers, [page.value or b"" for page in pages])
    assert again.read(np.array([0, 1]), 3).tolist() == [0, 80_000]


def test_many_members_of_many_accounts_do_not_widen_the_ring() -> None:
    column = Members("m", "day", 3)
    column.grow(100)
    column.advance(NOW_MS)
    rows = np.repeat(np.arange(100), 1_000)
    column.aggregate(rows, np.full(len(rows), NOW_MS), np.tile(np.arange(1, 1_001).astype(np.uint64), 100))
    assert column.ring.dtype == np.uint16
    assert column.read(np.arange(100), 3).tolist() == [1_000] * 100
