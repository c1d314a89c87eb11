"""Values to points to score, for many accounts at once.

Owns the formula: `score = sum(weight * points) / sum(weight)` over the measures that are not missing, and the
contributions that sum to it. Pure; called by `stream.engine` and nobody else. Source: docs/POLICIES.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.bands import band_index
from stream.columns import MILLIONTHS, Rows
from stream.measures import STATS
from stream.measures.base import AnyColumn
from stream.plan import Plan

Matrix = NDArray[np.float64]
BAND_DECIMALS = 9
"""A score of 69.99999999999999 is 70 to a band: sums of floats must not decide it."""


class Scored(NamedTuple):
    """Scores of k accounts over m measures; `values` and `points` are NaN where a measure is missing."""

    values: Matrix
    points: Matrix
    weights: Matrix
    contributions: Matrix
    scores: NDArray[np.float64]
    bands: NDArray[np.int8]

    def pick(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> Scored:
        """Only some of the accounts."""
        return Scored(
            self.values[chosen],
            self.points[chosen],
            self.weights[chosen],
            self.contributions[chosen],
            self.scores[chosen],
            self.bands[chosen],
        )


def measure_values(plan: Plan, columns: Sequence[AnyColumn], rows: Rows) -> Matrix:
    """The value of every measure, (k, m)."""
    values = np.empty((len(rows), len(plan.measures)))
    for at, part in enumerate(plan.measures):
        stat, read = STATS[part.measure.stat], [columns[position] for position in part.columns]
        values[:, at] = stat.read(part.measure, read, rows)
        if part.whole is not None:
            values[:, at] = _change_in_percent(values[:, at], stat.read(part.whole, read, rows))
    return values


def _change_in_percent(now: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """From the window before to this one; NaN where nothing was before. `whole` is the total of both.

    In whole millionths and with one division, so that -20 % is exactly -20 to a threshold.
    """
    now, whole = np.rint(now * MILLIONTHS), np.rint(whole * MILLIONTHS)
    before = whole - now
    change: NDArray[np.float64] = np.divide(
        100.0 * (now - before), before, out=np.full(len(now), np.nan), where=before > 0
    )
    return change


def score_values(plan: Plan, values: Matrix) -> Scored:
    """Points, effective weights (they sum to 1), contributions, scores and bands of measure values (k, m)."""
    points = np.empty_like(values)
    for at, part in enumerate(plan.measures):
        points[:, at] = part.measure.normaliser.points(values[:, at])
        if part.measure.missing is not None:
            points[np.isnan(values[:, at]), at] = part.measure.missing
    absent = np.isnan(points)
    weights = np.where(absent, 0.0, plan.weights)
    total = weights.sum(axis=1)
    weighted = np.where(absent, 0.0, points) * weights
    divisor = np.where(total > 0, total, 1.0)
    shares = divisor[:, None]
    scores = weighted.sum(axis=1) / divisor
    return Scored(
        values,
        points,
        weights / shares,
        weighted / shares,
        scores,
        band_index(np.round(scores, BAND_DECIMALS), plan.policy.score.bands),
    )
