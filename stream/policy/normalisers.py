"""Normalisers: convert the values of a measure to points from 0 to 100.

Owns the formulas of docs/reference/policy/normalisers.md. Must not know of measures, weights or accounts. The policy
parser validates the parameters. Called by scoring on whole columns, and by explanations, which also invert them.

Shapes: `points` takes a float64 array of any shape, in the measure's unit, and returns a new one of that shape. NaN (no
value) stays NaN: the policy defines the points of a missing value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from stream.policy.own.normaliser import OwnNormaliser

if TYPE_CHECKING:
    from numpy.typing import NDArray

FULL_POINTS = 100.0
THRESHOLD_POINTS = (100.0, 50.0, 0.0)
"""Points of good, average and poor if a policy does not set them."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A straight line from 0 points at `zero_at` to 100 at `hundred_at`, clamped; falling when `hundred_at < zero_at`.

    The two differ (as in Natero's "0 at / 100 at").
    """

    zero_at: float
    hundred_at: float

    def points(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points of each value."""
        return points_on_lines(values, self.zero_at, self.hundred_at - self.zero_at)

    def invert(self, points: float) -> float:
        """Value that gives these points; 0 and 100 give exactly the ends of the line. ValueError outside 0..100."""
        if not 0.0 <= points <= FULL_POINTS:
            message = f"no value gives {points} points: ask for 0 to 100"
            raise ValueError(message)
        if points == FULL_POINTS:
            return self.hundred_at  # exact; the formula below can have a rounding error
        return self.zero_at + points * (self.hundred_at - self.zero_at) / 100.0


def points_on_lines(
    values: NDArray[np.float64], zero_at: NDArray[np.float64] | float, span: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    """Points of each value on a line from `zero_at` to `zero_at + span`, or of values (k, n) on n lines."""
    # Multiply before dividing: dividing first would give 7.000000000000001 for 7 of 0..100.
    with np.errstate(over="ignore"):  # an overflow gives an infinity, which is clamped to the right end
        raw = FULL_POINTS * (values - zero_at) / span
    # + 0.0 turns the -0.0 of a falling line into 0.0
    return np.asarray(np.minimum(np.maximum(raw, 0.0), FULL_POINTS) + 0.0)


@dataclass(frozen=True, slots=True)
class Tiers:
    """Steps: the points of the last step whose `from` is not above the value (as in Totango's 100/60/0).

    `steps` holds (from, points) with `from` ascending, at least one; a value below the first gets the first's points.
    """

    steps: tuple[tuple[float, float], ...]

    def points(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points of each value."""
        starts = np.array([start for start, _ in self.steps], dtype=np.float64)
        gained = np.array([points for _, points in self.steps], dtype=np.float64)
        step = np.maximum(np.searchsorted(starts, values, side="right") - 1, 0)
        return np.where(np.isnan(values), np.nan, gained[step])


@dataclass(frozen=True, slots=True, init=False)
class Threshold:
    """Good, average or poor, with points for each of the three (`levels`, in that order).

    If `good > average`, a value is good from `good` up and average from `average` up; if `good < average`, from there
    down. The two differ.
    """

    good: float
    average: float
    levels: tuple[float, float, float]

    # Written by hand: the parameter is called `points` as in the policy, and so is the method, so the field cannot be.
    def __init__(self, good: float, average: float, points: tuple[float, float, float] = THRESHOLD_POINTS) -> None:
        object.__setattr__(self, "good", good)
        object.__setattr__(self, "average", average)
        object.__setattr__(self, "levels", points)

    def points(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points of each value."""
        good, average, poor = self.levels
        if self.good > self.average:
            is_good, is_average = values >= self.good, values >= self.average
        else:
            is_good, is_average = values <= self.good, values <= self.average
        level = np.where(is_good, good, np.where(is_average, average, poor))
        return np.where(np.isnan(values), np.nan, level)


@dataclass(frozen=True, slots=True)
class Decay:
    """100 points at 0 and below, half of them at `half_life` (above 0), a quarter at twice that, and so on."""

    half_life: float

    def points(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points of each value."""
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(FULL_POINTS * np.exp2(-np.maximum(values, 0.0) / self.half_life))

    def invert(self, points: float) -> float:
        """Value that gives these points, above 0 to 100."""
        return self.half_life * math.log2(FULL_POINTS / min(points, FULL_POINTS))


@dataclass(frozen=True, slots=True)
class Curve:
    """Straight lines between `knots` (value, points) with ascending values, at least two; level before and after."""

    knots: tuple[tuple[float, float], ...]

    def points(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points of each value."""
        starts, gained = np.array(self.knots, dtype=np.float64).T
        return np.asarray(np.interp(values, starts, gained), dtype=np.float64)

    def invert(self, points: float) -> list[float]:
        """Every value between which and its neighbours the curve passes these points, ascending."""
        values = [value for value, gained in self.knots if gained == points]
        for (start, low), (end, high) in pairwise(self.knots):
            if min(low, high) < points < max(low, high):
                values.append(start + (points - low) * (end - start) / (high - low))
        return sorted(values)


Simple: TypeAlias = Linear | Tiers | Threshold | Decay | Curve | OwnNormaliser
"""Normalisers of one value."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Points by two values: the value of the measure `by` selects one of `rows` (from, normaliser), `from` ascending.

    As with tiers, it is the last row whose `from` is not above the value of `by`, or else the first one. There are no
    points where the value of `by` is missing.
    """

    by: str
    rows: tuple[tuple[float, Simple], ...]

    def row(self, by: float) -> Simple:
        """The normaliser where the other measure has the value `by`."""
        return next((normaliser for start, normaliser in reversed(self.rows) if start <= by), self.rows[0][1])

    def points(self, values: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points of each value, float64 (k,), where the other measure has the values `by` (k,)."""
        starts = np.array([start for start, _ in self.rows], dtype=np.float64)
        rows = np.maximum(np.searchsorted(starts, by, side="right") - 1, 0)
        points = np.full(len(values), np.nan)
        for number, (_, normaliser) in enumerate(self.rows):
            inside = (rows == number) & ~np.isnan(by)
            points[inside] = normaliser.points(values[inside])
        return points


Normaliser: TypeAlias = Simple | Grid
