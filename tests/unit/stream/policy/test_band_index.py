"""The band of a score is the one with the highest start that is not above it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.policy.band_index import band_index
from stream.policy.policy import Band

# Gainsight's 0-50, 51-75 and 76-100.
GAINSIGHT = (Band("red", 0.0, "critical"), Band("yellow", 51.0, "warning"), Band("green", 76.0, None))
STARTS = np.array([band.from_ for band in GAINSIGHT])


@pytest.mark.parametrize(
    ("score", "name"),
    [
        (0.0, "red"),
        (50.0, "red"),
        (50.999, "red"),
        (51.0, "yellow"),
        (75.0, "yellow"),
        (np.nextafter(76.0, 0.0), "yellow"),
        (76.0, "green"),
        (100.0, "green"),
    ],
)
def test_a_score_at_the_start_of_a_band_is_in_the_band(score: float, name: str) -> None:
    assert GAINSIGHT[int(band_index(np.array([score]), STARTS)[0])].name == name


def test_the_result_has_the_shape_of_the_scores() -> None:
    index = band_index(np.array([[0.0, 60.0, 100.0], [50.0, 75.0, 76.0]]), STARTS)
    assert index.dtype == np.int8
    assert index.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert band_index(np.array(60.0), STARTS).shape == ()
    assert band_index(np.empty((0, 3)), STARTS).shape == (0, 3)


def test_nan_has_no_band() -> None:
    assert band_index(np.array([np.nan, -1.0, 1.0]), STARTS).tolist() == [-1, -1, 0]


def test_a_hundred_bands_fit_into_a_byte() -> None:
    assert band_index(np.array([100.0]), np.arange(100.0)).tolist() == [99]


@given(st.sets(st.floats(0, 100), max_size=6), st.lists(st.floats(0, 100), max_size=20))
def test_the_band_is_the_highest_that_begins_at_or_below_the_score(starts: set[float], scores: list[float]) -> None:
    begin = sorted({0.0, *starts})
    band_starts = [begin[index] for index in band_index(np.array(scores), np.array(begin))]
    assert band_starts == [max(start for start in begin if start <= score) for score in scores]
