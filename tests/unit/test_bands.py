"""The band of a score is the one with the highest start that is not above it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.bands import band_index
from stream.policy import Band

# Gainsight's 0-50, 51-75 and 76-100.
GAINSIGHT = (Band("red", 0.0, "critical"), Band("yellow", 51.0, "warning"), Band("green", 76.0, None))


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
def test_a_band_begins_at_its_own_start(score: float, name: str) -> None:
    assert GAINSIGHT[int(band_index(np.array([score]), GAINSIGHT)[0])].name == name


def test_any_shape_is_kept() -> None:
    index = band_index(np.array([[0.0, 60.0, 100.0], [50.0, 75.0, 76.0]]), GAINSIGHT)
    assert index.dtype == np.int8
    assert index.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert band_index(np.array(60.0), GAINSIGHT).shape == ()
    assert band_index(np.empty((0, 3)), GAINSIGHT).shape == (0, 3)


def test_no_score_has_no_band() -> None:
    assert band_index(np.array([np.nan, -1.0, 1.0]), GAINSIGHT).tolist() == [-1, -1, 0]


def test_a_hundred_bands_fit() -> None:
    bands = [Band(f"b{start}", float(start), None) for start in range(100)]
    assert band_index(np.array([100.0]), bands).tolist() == [99]


@given(st.sets(st.floats(0, 100), max_size=6), st.lists(st.floats(0, 100), max_size=20))
def test_it_is_what_the_documentation_says(starts: set[float], scores: list[float]) -> None:
    bands = [Band(f"from {start}", start, None) for start in sorted({0.0, *starts})]
    found = [bands[at].from_ for at in band_index(np.array(scores), bands)]
    assert found == [max(band.from_ for band in bands if band.from_ <= score) for score in scores]
