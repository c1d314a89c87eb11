"""Histograms: how far an estimate is from the percentile, and what happens beyond the buckets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.columns.histograms import BUCKETS, LARGEST, RELATIVE_ERROR, SMALLEST, HistogramColumn
from tests.pages.blocks import DOCS

NOW_MS = 1_774_612_800_000
DAY_MS = 86_400_000


def column_of(numbers: list[float], days_ago: int = 0) -> HistogramColumn:
    column = HistogramColumn("h", "day", 3)
    column.grow(2)
    column.advance(NOW_MS)
    times = np.full(len(numbers), NOW_MS - days_ago * DAY_MS, dtype=np.int64)
    column.aggregate(np.ones(len(numbers), dtype=np.int64), times, np.array(numbers))
    return column


def percentile_of(column: HistogramColumn, percent: int, window: int = 3) -> float:
    return float(column.percentile(np.array([1]), window, percent)[0])


@given(st.lists(st.floats(SMALLEST, LARGEST), min_size=1, max_size=300), st.integers(1, 99))
def test_an_estimate_is_within_the_stated_error(numbers: list[float], percent: int) -> None:
    exact = np.percentile(numbers, percent, method="inverted_cdf")
    assert percentile_of(column_of(numbers), percent) == pytest.approx(exact, rel=RELATIVE_ERROR + 1e-12)


@pytest.mark.parametrize(("number", "estimate"), [(0.0, 0.0), (-5.0, 0.0), (0.0999, 0.0), (0.1, 0.105)])
def test_small_numbers_count_as_0(number: float, estimate: float) -> None:
    assert percentile_of(column_of([number]), 50) == pytest.approx(estimate)


def test_numbers_beyond_the_last_bucket_are_in_it() -> None:
    assert percentile_of(column_of([1e12]), 50) == pytest.approx(LARGEST, rel=0.11)


def test_more_events_than_one_byte_counts() -> None:
    column = column_of([10.0] * 1000 + [1000.0] * 101)
    assert column.values.dtype == np.int16
    assert percentile_of(column, 90) == pytest.approx(10, rel=RELATIVE_ERROR)
    assert percentile_of(column, 91) == pytest.approx(1000, rel=RELATIVE_ERROR)


def test_a_pane_that_leaves_the_window_takes_its_events_with_it() -> None:
    column = column_of([10.0], days_ago=1)
    assert np.isnan(percentile_of(column, 50, window=1))
    assert not np.isnan(percentile_of(column, 50, window=2))
    column.advance(NOW_MS + 2 * DAY_MS)
    assert np.isnan(percentile_of(column, 50))


def test_the_memory_of_a_pane_is_that_of_the_documentation() -> None:
    assert f"{BUCKETS} counts a pane" in (DOCS / "reference/policy/measures.md").read_text(encoding="utf-8")
