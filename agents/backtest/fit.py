"""Weights from data: a logistic regression of churn on the points of the measures.

Owns the split by time, the constraint on signs, and how coefficients become weights. Works on arrays; must not know
files or engines. scikit-learn is imported when it is used, since only the extra `backtest` brings it. Called by
`agents.backtest.run`.

The model is `log odds of churn = a - sum(b * points / 100)` with every `b` at least 0 and an L2 penalty (scikit-learn's
default strength, C = 1). A measure that is missing counts as the mean of the others, weighed as fitted: that is what
`missing = "redistribute"` means. Weights are the `b`, scaled to the sum the policy had.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from agents.backtest.report import FittedWeight

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

TRAIN_SHARE = 0.7
LEAST_TRAIN, LEAST_HOLDOUT = 10, 5
"""Accounts that must have churned on either side for a fit to mean anything."""
_FULL = 100.0
_ROUNDS = 20
_SETTLED = 1e-3
_DIGITS = 3
_STEP_POINTS = 10


class FitError(Exception):
    """Why no weights can be had, and what to do."""


@dataclass(frozen=True, slots=True)
class Split:
    """Which samples train and which are held out; the cutoffs between them, a lead time long, are in neither."""

    train: Flags
    holdout: Flags
    train_until_ms: int
    """The last cutoff that trains."""
    holdout_from_ms: int
    """The first cutoff held out: no label of a training sample looks beyond it."""


def require_sklearn() -> None:
    """FitError when scikit-learn or tomlkit is not installed."""
    missing = [name for name, module in (("scikit-learn", "sklearn"), ("tomlkit", "tomlkit")) if not find_spec(module)]
    if missing:
        raise FitError(
            f"--fit needs {' and '.join(missing)}, which is not installed: pip install 'account-vitals[backtest]'"
        )


def split_by_time(cutoff_ms: NDArray[np.int64], lead_ms: int, accounts: NDArray[np.int64], churned: Flags) -> Split:
    """The first 70 % of the cutoffs train, less a lead time; the rest is held out. One entry a sample.

    Raises FitError when too few accounts churned on either side.
    """
    distinct = np.unique(cutoff_ms)
    if not len(distinct):
        raise FitError("no cutoff has this lead time after it: give more history, or a shorter lead with --fit-lead")
    holdout_from = int(distinct[min(int(len(distinct) * TRAIN_SHARE), len(distinct) - 1)])
    train, holdout = cutoff_ms + lead_ms <= holdout_from, cutoff_ms >= holdout_from
    for name, side, least in (("train on", train, LEAST_TRAIN), ("hold out", holdout, LEAST_HOLDOUT)):
        found = len(np.unique(accounts[side & churned]))
        if found < least:
            raise FitError(
                f"too little to fit: {found} churned accounts to {name}, at least {least} are needed; "
                "give more history or accounts, or another lead with --fit-lead"
            )
    return Split(train, holdout, int(cutoff_ms[train].max()), holdout_from)


def fit_weights(names: Sequence[str], before: Sequence[float], points: Floats, churned: Flags) -> list[FittedWeight]:
    """Weights of the measures `names` from samples: `points` float64 (samples, measures), NaN where missing.

    `before` are the weights there are. Raises FitError when no measure's points go with staying.
    """
    present = ~np.isnan(points)
    useful = present.any(axis=1)
    points, present, churned = points[useful] / _FULL, present[useful], churned[useful]
    reasons: dict[int, str] = {}
    for at in range(len(names)):
        known = points[present[:, at], at]
        if not len(known):
            reasons[at] = "no account had a value"
        elif known.min() == known.max():
            reasons[at] = "every account had the same points"
    slopes = _settle(points, present, churned, np.array(before, dtype=np.float64), reasons)
    if not slopes.any():
        raise FitError(
            "no measure's points go with staying in these data, so there are no weights to write: "
            + "; ".join(f"{names[at]}: {reason}" for at, reason in sorted(reasons.items()))
        )
    total = sum(before)
    digits = max(0, _DIGITS - 1 - math.floor(math.log10(total / 10)))
    weights = [round(float(slope) * total / float(slopes.sum()), digits) for slope in slopes]
    odds = np.exp(-slopes * _STEP_POINTS / _FULL)
    return [
        FittedWeight(
            name,
            float(before[at]),
            weights[at],
            reasons.get(at) or f"{_STEP_POINTS} more points go with {odds[at]:.2f} times the odds of churn",
        )
        for at, name in enumerate(names)
    ]


def _settle(points: Floats, present: Flags, churned: Flags, weights: Floats, reasons: dict[int, str]) -> Floats:
    """Fit, fill what is missing by the fitted weights, fit again, until the weights stay; (measures,), each >= 0."""
    shares = np.array([0.0 if at in reasons else weight for at, weight in enumerate(weights)])
    slopes = np.zeros(len(weights))
    known = dict(reasons)
    for _ in range(_ROUNDS):
        reasons.clear()
        reasons.update(known)
        slopes = _nonnegative(_filled(points, present, shares), churned, reasons)
        if not slopes.any():
            return slopes
        fitted = slopes / slopes.sum()
        if np.abs(fitted - shares / (shares.sum() or 1.0)).max() < _SETTLED:
            break
        shares = fitted
    return slopes


def _filled(points: Floats, present: Flags, shares: Floats) -> Floats:
    """Points, and the weighted mean of a sample's others where one is missing (plain if these weigh nothing)."""
    held = np.where(present, points, 0.0)
    sums, total = held @ shares, present @ shares
    plain = held.sum(axis=1) / present.sum(axis=1)
    means = np.where(total > 0, sums / np.where(total > 0, total, 1.0), plain)
    return np.where(present, points, means[:, None])


def _nonnegative(points: Floats, churned: Flags, reasons: dict[int, str]) -> Floats:
    """Slopes of staying, each >= 0: of those with the wrong sign the worst leaves, until none is left."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  only the extra `backtest` brings it

    slopes = np.zeros(points.shape[1])
    active = [at for at in range(points.shape[1]) if at not in reasons]
    while active:
        model = LogisticRegression(max_iter=1000).fit(points[:, active], churned)
        found = -np.asarray(model.coef_[0], dtype=np.float64)
        worst = int(found.argmin())
        if found[worst] > 0:
            slopes[active] = found
            break
        reasons[active.pop(worst)] = "more points went with more churn, so it can not count for health"
    return slopes
