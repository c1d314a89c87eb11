"""Normalisers give the points of docs/reference/policy/normalisers.md and of the products that have the same rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stream.policy.normalisers import Curve, Grid, Linear, Simple, Threshold, Tiers

NATERO = Linear(zero_at=7.0, hundred_at=30.0)
TOTANGO = Tiers(((0.0, 0.0), (3.0, 60.0), (10.0, 100.0)))

VALUES = st.floats(-1e6, 1e6)
ANY_NUMBER = st.floats(allow_nan=False)
POINTS = st.floats(0, 100)


@st.composite
def lines(draw: st.DrawFn) -> Linear:
    zero_at, hundred_at = draw(VALUES), draw(VALUES)
    assume(abs(hundred_at - zero_at) > 1e-3)
    return Linear(zero_at, hundred_at)


@st.composite
def tiers(draw: st.DrawFn) -> Tiers:
    starts = sorted(draw(st.sets(VALUES, min_size=1, max_size=5)))
    return Tiers(tuple((start, draw(POINTS)) for start in starts))


@st.composite
def thresholds(draw: st.DrawFn) -> Threshold:
    good, average = draw(VALUES), draw(VALUES)
    assume(good != average)
    return Threshold(good, average, draw(st.tuples(POINTS, POINTS, POINTS)))


def normalisers() -> st.SearchStrategy[Simple]:
    return st.one_of(lines(), tiers(), thresholds())


def points_of(normaliser: Simple, value: float) -> float:
    return float(normaliser.points(np.array([value]))[0])


# ---------------------------------------------------------------------------------------------------------------------
# Linear


@pytest.mark.parametrize(
    ("value", "points"), [(18.0, 1100 / 23), (5.0, 0.0), (7.0, 0.0), (30.0, 100.0), (35.0, 100.0), (18.5, 50.0)]
)
def test_linear_gives_what_natero_gives(value: float, points: float) -> None:
    assert points_of(NATERO, value) == pytest.approx(points, rel=1e-15)


def test_natero_rounds_it_to_48() -> None:
    assert points_of(NATERO, 18.0) == pytest.approx(47.826, abs=5e-4)
    assert round(points_of(NATERO, 18.0)) == 48


def test_linear_is_exact_for_whole_numbers() -> None:
    assert points_of(Linear(0.0, 10.0), 8.0) == 80.0
    assert [points_of(Linear(0.0, 10.0), float(value)) for value in range(11)] == [10.0 * value for value in range(11)]
    assert [points_of(Linear(0.0, 100.0), float(value)) for value in range(101)] == [
        float(value) for value in range(101)
    ]


@pytest.mark.parametrize(("value", "points"), [(0.0, 100.0), (3.0, 70.0), (10.0, 0.0), (12.0, 0.0), (-1.0, 100.0)])
def test_linear_falls_when_less_is_better(value: float, points: float) -> None:
    assert points_of(Linear(10.0, 0.0), value) == points


def test_zero_points_are_not_negative_zero() -> None:
    assert math.copysign(1.0, points_of(Linear(10.0, 0.0), 10.0)) == 1.0


@given(lines(), ANY_NUMBER, ANY_NUMBER)
def test_linear_is_monotone(line: Linear, first: float, second: float) -> None:
    lower, higher = line.points(np.array(sorted((first, second))))
    assert lower <= higher if line.hundred_at > line.zero_at else lower >= higher


@given(lines(), POINTS)
def test_inverting_gives_the_value_that_gives_the_points(line: Linear, points: float) -> None:
    value = line.invert(points)
    assert min(line.zero_at, line.hundred_at) <= value <= max(line.zero_at, line.hundred_at)
    # A value near 1e6 is known to about 1e-10; on a line 1e-3 long that is 1e-5 points.
    assert points_of(line, value) == pytest.approx(points, abs=1e-4)


@given(lines())
def test_inverting_gives_the_ends_exactly(line: Linear) -> None:
    assert line.invert(0.0) == line.zero_at
    assert line.invert(100.0) == line.hundred_at


def test_natero_is_inverted() -> None:
    assert NATERO.invert(50.0) == 18.5
    assert Linear(10.0, 0.0).invert(70.0) == 3.0


@pytest.mark.parametrize("points", [-0.1, 100.1, math.nan, math.inf])
def test_inverting_points_outside_0_to_100_is_an_error(points: float) -> None:
    with pytest.raises(ValueError, match="ask for 0 to 100"):
        NATERO.invert(points)


# ---------------------------------------------------------------------------------------------------------------------
# Tiers


@pytest.mark.parametrize(
    ("value", "points"), [(-5.0, 0.0), (0.0, 0.0), (2.999, 0.0), (3.0, 60.0), (9.0, 60.0), (10.0, 100.0), (1e9, 100.0)]
)
def test_tiers_give_what_totango_gives(value: float, points: float) -> None:
    assert points_of(TOTANGO, value) == points


def test_tiers_can_fall_and_values_below_the_first_have_its_points() -> None:
    falling = Tiers(((1.0, 100.0), (2.0, 60.0), (5.0, 0.0)))
    assert falling.points(np.array([-9.0, 0.0, 1.0, 2.0, 4.9, 5.0, 99.0])).tolist() == [100, 100, 100, 60, 60, 0, 0]


@given(tiers(), ANY_NUMBER)
def test_tiers_give_the_points_of_the_last_tier_at_or_below_the_value(steps: Tiers, value: float) -> None:
    reached = [points for start, points in steps.steps if start <= value]
    assert points_of(steps, value) == (reached[-1] if reached else steps.steps[0][1])


# ---------------------------------------------------------------------------------------------------------------------
# Threshold


@pytest.mark.parametrize(("value", "points"), [(10.0, 100.0), (9.9, 50.0), (5.0, 50.0), (4.9, 0.0), (99.0, 100.0)])
def test_more_is_better_when_good_is_above_average(value: float, points: float) -> None:
    assert points_of(Threshold(good=10.0, average=5.0), value) == points


@pytest.mark.parametrize(("value", "points"), [(2.0, 90.0), (2.1, 40.0), (8.0, 40.0), (8.1, 10.0), (-1.0, 90.0)])
def test_less_is_better_when_good_is_below_average(value: float, points: float) -> None:
    assert points_of(Threshold(good=2.0, average=8.0, points=(90.0, 40.0, 10.0)), value) == points


# ---------------------------------------------------------------------------------------------------------------------
# All of them


@given(normalisers(), ANY_NUMBER)
def test_points_are_0_to_100(normaliser: Simple, value: float) -> None:
    assert 0.0 <= points_of(normaliser, value) <= 100.0


@pytest.mark.parametrize("normaliser", [NATERO, TOTANGO, Threshold(2.0, 8.0), Threshold(8.0, 2.0)])
@pytest.mark.parametrize("shape", [(), (0,), (6,), (2, 3), (3, 1, 2)])
def test_the_result_has_the_shape_of_the_values_and_nan_stays_nan(normaliser: Simple, shape: tuple[int, ...]) -> None:
    values = np.resize(np.array([18.0, np.nan, 3.0]), shape)
    before = values.copy()
    points = normaliser.points(values)
    assert points.dtype == np.float64
    assert points.shape == shape
    assert np.array_equal(np.isnan(points), np.isnan(values))
    assert np.array_equal(values, before, equal_nan=True)
    expected = [points_of(normaliser, value) for value in values.ravel()]
    assert np.array_equal(points.ravel(), expected, equal_nan=True)


@pytest.mark.parametrize("normaliser", [NATERO, TOTANGO, Threshold(8.0, 2.0)])
def test_infinities_give_the_points_of_the_ends(normaliser: Simple) -> None:
    assert normaliser.points(np.array([-np.inf, np.inf])).tolist() == [0.0, 100.0]


def test_a_huge_value_is_clamped_without_a_warning() -> None:
    assert points_of(NATERO, 1e308) == 100.0
    assert points_of(NATERO, -1e308) == 0.0


# ---------------------------------------------------------------------------------------------------------------------
# Curves and grids

CURVE = Curve(((0.0, 0.0), (10.0, 50.0), (20.0, 30.0)))


@pytest.mark.parametrize(
    ("value", "points"), [(-1.0, 0.0), (0.0, 0.0), (5.0, 25.0), (10.0, 50.0), (15.0, 40.0), (20.0, 30.0), (99.0, 30.0)]
)
def test_a_curve_is_straight_between_its_points_and_level_outside(value: float, points: float) -> None:
    assert points_of(CURVE, value) == points


def test_the_points_of_a_curve_have_every_value_that_gives_them() -> None:
    assert CURVE.invert(40.0) == [8.0, 15.0]
    assert CURVE.invert(50.0) == [10.0]
    assert CURVE.invert(30.0) == [6.0, 20.0]
    assert CURVE.invert(51.0) == []


def test_a_missing_value_has_no_place_on_a_curve() -> None:
    assert np.isnan(points_of(CURVE, np.nan))


def test_a_grid_takes_the_row_of_the_other_value() -> None:
    grid = Grid("tenure", ((0.0, Linear(0.0, 10.0)), (90.0, Tiers(((0.0, 7.0),)))))
    values = np.array([5.0, 5.0, 5.0, 5.0, np.nan, np.nan])
    points = grid.points(values, np.array([-3.0, 89.9, 90.0, np.nan, 0.0, np.nan]))
    assert np.array_equal(points, [50.0, 50.0, 7.0, np.nan, np.nan, np.nan], equal_nan=True)
    assert [grid.row(by) for by in (-3.0, 0.0, 90.0)] == [grid.rows[0][1], grid.rows[0][1], grid.rows[1][1]]
