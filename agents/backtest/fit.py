"""Fit the weights of measures to data by a logistic regression of churn on their points.

Defines the split by time and over accounts, the constraint on signs, and how coefficients become weights. Works on
arrays; does not know files or engines. scikit-learn is imported on use, because only the extra `backtest` installs it.
Called by `agents.backtest.fitted_policy`.

The model is `log odds of churn = a - sum(b * points / 100)` with every `b` at least 0 and an L2 penalty (scikit-learn's
default strength, C = 1). A missing measure counts as the mean of the others, weighted as fitted, as with
`missing = "redistribute"`. The weights are the `b`, scaled to the sum of the policy's weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agents.backtest.report import FittedWeight
from agents.process.version import install_command

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

TRAIN_SHARE = 0.7
LEAST_TRAIN, LEAST_HOLDOUT = 10, 5
"""Least number of churned accounts on each side of the split."""
FOLDS = 5
_SEED = 7
_FULL = 100.0
_ROUNDS = 20
_STABLE = 1e-3
_DIGITS = 3
_STEP_POINTS = 10


class FitError(Exception):
    """No weights can be fitted; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Split:
    """Which samples are for training and which are held out; the cutoffs of a lead time in between are in neither."""

    train: Flags
    holdout: Flags
    train_until_ms: int
    """The last training cutoff."""
    holdout_from_ms: int
    """The first held-out cutoff: no label of a training sample depends on later churn."""


def require_sklearn() -> None:
    """Raise FitError if scikit-learn or tomlkit is not installed."""
    missing = [name for name, module in (("scikit-learn", "sklearn"), ("tomlkit", "tomlkit")) if not find_spec(module)]
    if missing:
        raise FitError(f"--fit needs {' and '.join(missing)}: {install_command('backtest')}")


def split_by_time(cutoff_ms: NDArray[np.int64], lead_ms: int, accounts: NDArray[np.int64], churned: Flags) -> Split:
    """Split samples by cutoff: the first 70 % less a lead time for training, the rest held out.

    Raises FitError if too few accounts churned on one side.
    """
    distinct = np.unique(cutoff_ms)
    if not len(distinct):
        raise FitError(
            "no cutoff is followed by a whole lead time: use more history, or a shorter lead with --fit-lead"
        )
    holdout_from = int(distinct[min(int(len(distinct) * TRAIN_SHARE), len(distinct) - 1)])
    train, holdout = cutoff_ms + lead_ms <= holdout_from, cutoff_ms >= holdout_from
    for name, side, least in (("train on", train, LEAST_TRAIN), ("hold out", holdout, LEAST_HOLDOUT)):
        count = len(np.unique(accounts[side & churned]))
        if count < least:
            raise FitError(
                f"too little churn to fit: {count} churned accounts to {name}, at least {least} are needed; "
                "use more history or accounts, or another lead with --fit-lead"
            )
    return Split(train, holdout, int(cutoff_ms[train].max()), holdout_from)


@dataclass(frozen=True, slots=True)
class Folds:
    """Training and held-out samples of each fit. One by time, or several over accounts: each held out once."""

    split: Literal["time", "accounts"]
    pairs: list[tuple[Flags, Flags]]


def folds_of(cutoff_ms: NDArray[np.int64], lead_ms: int, accounts: NDArray[np.int64], churned: Flags) -> Folds:
    """Split samples by time; where too little churn is on one side, such as with labels of one date, over accounts.

    Raises FitError if too few accounts churned for either.
    """
    try:
        split = split_by_time(cutoff_ms, lead_ms, accounts, churned)
    except FitError:
        if len(np.unique(accounts[churned])) < LEAST_TRAIN + LEAST_HOLDOUT:
            raise
        return Folds("accounts", split_over_accounts(accounts, churned))
    return Folds("time", [(split.train, split.holdout)])


def split_over_accounts(accounts: NDArray[np.int64], churned: Flags) -> list[tuple[Flags, Flags]]:
    """Deal the accounts to `FOLDS` folds, those that churned and the others evenly; the deal is repeatable."""
    generator = np.random.default_rng(_SEED)
    gone = np.unique(accounts[churned])
    stayed = np.setdiff1d(accounts, gone)
    folds = [(generator.permutation(kind), np.arange(len(kind)) % FOLDS) for kind in (gone, stayed)]
    held_out = [
        np.isin(accounts, np.concatenate([shuffled[fold == number] for shuffled, fold in folds]))
        for number in range(FOLDS)
    ]
    return [(~holdout, holdout) for holdout in held_out if holdout.any()]


def fit_weights(names: Sequence[str], before: Sequence[float], points: Floats, churned: Flags) -> list[FittedWeight]:
    """Fit the weights of the measures `names` to samples: `points` float64 (samples, measures), NaN where missing.

    `before` are the current weights. Raises FitError if more points of no measure go with less churn.
    """
    present = ~np.isnan(points)
    useful = present.any(axis=1)
    points, present, churned = points[useful] / _FULL, present[useful], churned[useful]
    reasons: dict[int, str] = {}
    for measure in range(len(names)):
        known = points[present[:, measure], measure]
        if not len(known):
            reasons[measure] = "no account had a value"
        elif known.min() == known.max():
            reasons[measure] = "every account had the same points"
    slopes = _fit_until_stable(points, present, churned, np.array(before, dtype=np.float64), reasons)
    if not slopes.any():
        raise FitError(
            "no measure predicts churn in these data, so there are no weights to write: "
            + "; ".join(f"{names[measure]}: {reason}" for measure, reason in sorted(reasons.items()))
        )
    total = sum(before)
    digits = max(0, _DIGITS - 1 - math.floor(math.log10(total / 10)))
    weights = [round(float(slope) * total / float(slopes.sum()), digits) for slope in slopes]
    odds = np.exp(-slopes * _STEP_POINTS / _FULL)
    return [
        FittedWeight(
            name,
            float(before[measure]),
            weights[measure],
            reasons.get(measure) or f"{_STEP_POINTS} more points go with {odds[measure]:.2f} times the odds of churn",
        )
        for measure, name in enumerate(names)
    ]


def _fit_until_stable(
    points: Floats, present: Flags, churned: Flags, weights: Floats, reasons: dict[int, str]
) -> Floats:
    """Fit, fill missing points by the fitted weights, repeat until the weights are stable; (measures,), each >= 0."""
    shares = np.array([0.0 if measure in reasons else weight for measure, weight in enumerate(weights)])
    slopes = np.zeros(len(weights))
    known = dict(reasons)
    for _ in range(_ROUNDS):
        reasons.clear()
        reasons.update(known)
        slopes = _nonnegative(_filled(points, present, shares), churned, reasons)
        if not slopes.any():
            return slopes
        fitted = slopes / slopes.sum()
        if np.abs(fitted - shares / (shares.sum() or 1.0)).max() < _STABLE:
            break
        shares = fitted
    return slopes


def _filled(points: Floats, present: Flags, shares: Floats) -> Floats:
    """Points, with the weighted mean of the sample's other measures where missing (plain mean if all weigh 0)."""
    known = np.where(present, points, 0.0)
    sums, total = known @ shares, present @ shares
    plain = known.sum(axis=1) / present.sum(axis=1)
    means = np.where(total > 0, sums / np.where(total > 0, total, 1.0), plain)
    return np.where(present, points, means[:, None])


def _nonnegative(points: Floats, churned: Flags, reasons: dict[int, str]) -> Floats:
    """Slopes, each >= 0: removes the measure with the most negative slope and fits again until none is negative."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  only the extra `backtest` installs it

    slopes = np.zeros(points.shape[1])
    active = [measure for measure in range(points.shape[1]) if measure not in reasons]
    while active:
        model = LogisticRegression(max_iter=1000).fit(points[:, active], churned)
        fitted = -np.asarray(model.coef_[0], dtype=np.float64)
        worst = int(fitted.argmin())
        if fitted[worst] > 0:
            slopes[active] = fitted
            break
        reasons[active.pop(worst)] = "more points went with more churn, so its weight is 0"
    return slopes
