"""Compiled points: how the values of all measures become points, with those on straight lines side by side.

Owns `PointsPlan`. Knows no accounts. Built by `stream.plan.plan` once per policy, read by `stream.scoring.scoring`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.columns.sorted_set import slice_of
from stream.plan.derived import MeasurePlan
from stream.policy.normalisers import Linear, Normaliser


@dataclass(frozen=True, slots=True)
class PointsPlan:
    """The normalisers of the m measures of a policy.

    `lines` are the n measures with a straight line, usually all: from 0 points at `zero_at` (n,) to 100 a `span` (n,)
    further on. `others` has all other normalisers by measure, `by_segment` those of segments that have their own:
    measure, segment, normaliser.
    `missing` (m,) are the points of a measure without a value where `fills` (m,) says that there are any; those
    `with_grid` (m,) have no points either where the measure has no value that selects the row of a grid.
    """

    lines: NDArray[np.intp] | slice
    zero_at: NDArray[np.float64]
    span: NDArray[np.float64]
    others: tuple[tuple[int, Normaliser | None], ...]
    by_segment: tuple[tuple[int, int, Normaliser], ...]
    missing: NDArray[np.float64]
    fills: NDArray[np.bool_]
    with_grid: NDArray[np.bool_]
    has_grids: bool


def plan_points(plans: Sequence[MeasurePlan]) -> PointsPlan:
    """Compile the normalisers of the measures of a policy."""
    rules = [(index, plan.measure.normaliser) for index, plan in enumerate(plans)]
    lines = [(index, rule) for index, rule in rules if isinstance(rule, Linear)]
    missing = [plan.measure.missing for plan in plans]
    with_grid = [plan.measure.has_grid and plan.measure.missing is not None for plan in plans]
    return PointsPlan(
        slice_of(np.array([index for index, _ in lines], dtype=np.intp)),
        np.array([rule.zero_at for _, rule in lines]),
        np.array([rule.hundred_at - rule.zero_at for _, rule in lines]),
        tuple((index, rule) for index, rule in rules if not isinstance(rule, Linear)),
        tuple((index, segment, rule) for index, plan in enumerate(plans) for segment, rule in plan.by_segment),
        np.array([np.nan if points is None else points for points in missing]),
        np.array([points is not None for points in missing]),
        np.array(with_grid),
        any(with_grid),
    )
