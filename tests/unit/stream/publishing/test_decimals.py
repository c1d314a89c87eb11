"""Numbers of outputs have 12 decimals, and terms sum to their total as decimal numbers."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.publishing.decimals import DECIMALS, rounded, rounded_list, rounded_number, rounded_terms

UNIT = Decimal(1).scaleb(-DECIMALS)
POINTS = st.floats(-100, 100)


def printed(number: float) -> Decimal:
    """The number that a reader of the JSON sees."""
    return Decimal(repr(number))


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (59.99999999999999, 60.0),
        (0.1 + 0.2, 0.3),
        (-8.9e-16, 0.0),
        (200 / 3, 66.666666666667),
        (1e12 + 0.1, 1e12 + 0.1),
        (123456789.12345678, 123456789.12345678),
    ],
)
def test_noise_is_rounded_away_and_large_numbers_keep_their_digits(number: float, expected: float) -> None:
    assert rounded_number(number) == expected
    assert rounded(np.array([number])).tolist() == [expected]
    assert math.copysign(1, rounded_number(-1e-15)) == 1


def test_a_number_that_is_missing_stays_missing() -> None:
    assert np.isnan(rounded(np.array([np.nan]))).all()
    assert np.isnan(rounded_terms(np.array([np.nan]), np.full((1, 2), np.nan))).all()


def test_the_largest_term_takes_what_the_others_lose() -> None:
    third = 100 / 3
    assert rounded_list(100.0, [third, third, third]) == [33.333333333334, 33.333333333333, 33.333333333333]


def test_terms_of_another_total_are_only_rounded() -> None:
    assert rounded_list(50.0, [0.1 + 0.2, 1.0]) == [0.3, 1.0]


@given(terms=st.lists(POINTS, min_size=1, max_size=40))
def test_rounded_terms_sum_to_their_total_to_the_last_digit(terms: list[float]) -> None:
    total = math.fsum(terms)
    numbers = rounded_list(total, terms)
    assert sum(map(printed, numbers)) == printed(rounded_number(total))
    assert all(printed(number) % UNIT == 0 for number in numbers)
    assert all(abs(number - term) <= 1e-9 for number, term in zip(numbers, terms, strict=True))


@given(rows=st.lists(st.lists(POINTS, min_size=3, max_size=3), min_size=1, max_size=5))
def test_a_row_does_not_depend_on_the_others(rows: list[list[float]]) -> None:
    totals = np.array([sum(row) for row in rows])
    together = rounded_terms(totals, np.array(rows)).tolist()
    assert together == [rounded_list(total, row) for total, row in zip(totals.tolist(), rows, strict=True)]
