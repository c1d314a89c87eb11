"""Round the numbers of outputs to 12 decimals, so that terms still sum to their total, as decimal numbers.

Owns the rule: each number is rounded to `DECIMALS`, and what is then missing from the sum of the terms to the rounded
total is added to the largest term. Numbers whose terms are too large to be counted in units of 1e-12 keep all digits.
Pure. Called by `stream.publishing.encoding`, `stream.alerts.messages` and `stream.consumers.rollup` where records are
made, and nowhere else: what is kept of an account has all digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

DECIMALS: Final = 12
_UNITS: Final = 10.0**DECIMALS
_LARGEST: Final = 4000.0
"""The sum of absolute numbers below it is, in units of 1e-12, an integer that a float64 holds exactly."""
_MOST_UNITS: Final = 1000.0
"""A total that differs by more than 1e-9 from its terms is not their sum."""
_ROUNDING_ERROR: Final = 1e-11


def units_of(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """The numbers in units of 1e-12, rounded to whole ones; NaN for those that are too large for that."""
    large = np.abs(numbers) >= _LARGEST
    if np.count_nonzero(large):
        numbers = np.where(large, np.nan, numbers)
    return np.asarray(np.rint(numbers * _UNITS))


def from_units(units: NDArray[np.float64], numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """The numbers, whose units are `units`, with 12 decimals; those that are too large for that, as they are."""
    result: NDArray[np.float64] = units / _UNITS + 0.0
    unknown = np.isnan(units)
    if np.count_nonzero(unknown):
        result[unknown] = numbers[unknown]
    return result


def rounded(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """The numbers with 12 decimals; NaN, and numbers that are too large for that, as they are."""
    return from_units(units_of(numbers), numbers)


def rounded_number(number: float) -> float:
    """One number with 12 decimals."""
    return round(number * _UNITS) / _UNITS + 0.0 if abs(number) < _LARGEST else number


def rounded_terms(totals: NDArray[np.float64], terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Terms (k, n) of `totals` (k,), with 12 decimals: their decimal sums are the totals, as `rounded` has these.

    The largest term of a row takes what the others lost by rounding. Rows whose terms do not sum to the total, by more
    than 1e-9, are only rounded.
    """
    units = units_of(terms)
    result = from_units(units, terms)
    make_sums_exact(result.T, units_of(totals), units.T, terms.T)
    return result


def make_sums_exact(
    result: NDArray[np.float64], totals: NDArray[np.float64], units: NDArray[np.float64], terms: NDArray[np.float64]
) -> None:
    """Make of rounded terms (n, k), in place, what `rounded_terms` returns: `totals` (k,) are units, as are `units`."""
    missing = totals - np.add.reduce(units)
    if not np.count_nonzero(missing) or not terms.size:
        return
    sizes = np.abs(terms)
    countable = (sizes.sum(axis=0) < _LARGEST) & (missing != 0) & (np.abs(missing) <= _MOST_UNITS)
    columns = countable.nonzero()[0]
    largest = sizes[:, columns].argmax(axis=0)
    result[largest, columns] = (units[largest, columns] + missing[columns]) / _UNITS


def rounded_list(total: float, terms: Sequence[float]) -> list[float]:
    """The terms of one total, as `rounded_terms`."""
    listed: list[float] = rounded_terms(np.array([total]), np.array([terms], dtype=np.float64))[0].tolist()
    return listed


def without_rounding_errors(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same numbers, with 0 in place of those that only come from rounding: -8.9e-16 of a cap that takes nothing.

    Sums change by less than 1e-9 with up to 100 factors.
    """
    return np.where(np.abs(differences) < _ROUNDING_ERROR, 0.0, differences)
