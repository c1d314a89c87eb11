"""Fitted weights: known weights are recovered, a wrong sign gives 0, and training uses no held-out label."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from agents.backtest.fit import FitError, fit_weights, require_sklearn, split_by_time

DAY_MS = 86_400_000
NAMES = ["usage", "support", "payment"]


def drawn(
    slopes: list[float], intercept: float, *, missing: float = 0.0, samples: int = 40_000
) -> tuple[np.ndarray, np.ndarray]:
    """Points and churn by the model of the fit; a missing measure counts as the weighted mean of the others."""
    generator = np.random.default_rng(5)
    points = generator.uniform(0, 100, (samples, len(slopes)))
    points[generator.random(points.shape) < missing] = np.nan
    weights = np.where(np.isnan(points), 0.0, np.abs(slopes))
    known = np.where(np.isnan(points), 0.0, points)
    mean = (known * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-12)
    filled = np.where(np.isnan(points), mean[:, None], points)
    odds = intercept - filled @ np.array(slopes) / 100
    return points, generator.random(samples) < 1 / (1 + np.exp(-odds))


# The standard error of a slope here is about 0.07: 1 / sqrt(40,000 samples * 0.2 * 0.8 * 0.083 (variance of 0..1)).
def test_known_weights_are_recovered() -> None:
    points, churned = drawn([5.0, 2.0, 3.0], 3.0)
    fitted = fit_weights(NAMES, [10, 10, 80], points, churned)
    assert [weight.after for weight in fitted] == pytest.approx([50, 20, 30], abs=2)
    assert [weight.before for weight in fitted] == [10, 10, 80]
    # exp(-5 * 0.1) = 0.61
    assert fitted[0].reason == "10 more points go with 0.61 times the odds of churn"


def test_missing_measures_share_their_weight() -> None:
    points, churned = drawn([5.0, 2.0, 3.0], 3.0, missing=0.3)
    fitted = fit_weights(NAMES, [1, 1, 1], points, churned)
    assert [weight.after for weight in fitted] == pytest.approx([1.5, 0.6, 0.9], abs=0.1)


def test_a_measure_with_the_wrong_sign_gets_weight_0_and_a_reason() -> None:
    points, churned = drawn([5.0, -2.0, 3.0], 1.0)
    fitted = fit_weights(NAMES, [40, 40, 20], points, churned)
    assert [weight.after for weight in fitted] == pytest.approx([62.5, 0, 37.5], abs=3)
    assert fitted[1].after == 0
    assert "more points went with more churn" in fitted[1].reason


def test_a_constant_or_missing_measure_gets_weight_0() -> None:
    points, churned = drawn([5.0, 0.0, 0.0], 1.0)
    points[:, 1], points[:, 2] = 50.0, np.nan
    fitted = fit_weights(NAMES, [40, 40, 20], points, churned)
    assert [weight.after for weight in fitted] == [100, 0, 0]
    assert fitted[1].reason == "every account had the same points"
    assert fitted[2].reason == "no account had a value"


def test_samples_without_any_value_are_ignored() -> None:
    points, churned = drawn([5.0, 2.0, 3.0], 3.0)
    points[:20_000], churned[:20_000] = np.nan, True
    fitted = fit_weights(NAMES, [10, 10, 80], points, churned)
    assert [weight.after for weight in fitted] == pytest.approx([50, 20, 30], abs=3)


def test_data_in_which_high_points_mean_churn_give_no_weights() -> None:
    points, churned = drawn([-5.0, -2.0, -3.0], -8.0)
    with pytest.raises(FitError, match="no measure predicts churn"):
        fit_weights(NAMES, [1, 1, 1], points, churned)


def test_weights_keep_the_scale_of_the_policy() -> None:
    points, churned = drawn([5.0, 2.0, 3.0], 3.0)
    small = fit_weights(NAMES, [0.2, 0.3, 0.5], points, churned)
    assert sum(weight.after for weight in small) == pytest.approx(1.0, abs=0.002)
    assert [weight.after for weight in small] == pytest.approx([0.5, 0.2, 0.3], abs=0.02)


def test_no_training_label_depends_on_held_out_cutoffs() -> None:
    cutoffs = np.repeat(np.arange(0, 700, 7), 20) * DAY_MS
    accounts = np.tile(np.arange(20), 100)
    churned = np.ones(len(cutoffs), dtype=bool)
    split = split_by_time(cutoffs, 30 * DAY_MS, accounts, churned)
    assert split.holdout_from_ms == 490 * DAY_MS  # the 71st of 100 cutoffs
    assert cutoffs[split.holdout].min() == split.holdout_from_ms
    assert split.train_until_ms == 455 * DAY_MS  # 455 + 30 <= 490 < 462 + 30
    assert not (split.train & split.holdout).any()
    # A label may extend to the first held-out cutoff: 462 + 28 = 490.
    assert split_by_time(cutoffs, 28 * DAY_MS, accounts, churned).train_until_ms == 462 * DAY_MS


@pytest.mark.parametrize(("late", "named"), [(False, "0 churned accounts to hold out"), (True, "to train on")])
def test_too_little_churn_on_one_side_is_an_error(*, late: bool, named: str) -> None:
    cutoffs = np.repeat(np.arange(0, 700, 7), 20) * DAY_MS
    accounts = np.tile(np.arange(20), 100)
    with pytest.raises(FitError, match=named):
        split_by_time(cutoffs, 30 * DAY_MS, accounts, (cutoffs >= 490 * DAY_MS) == late)


def test_no_cutoff_is_an_error() -> None:
    none = np.zeros(0, dtype=np.int64)
    with pytest.raises(FitError, match="--fit-lead"):
        split_by_time(none, DAY_MS, none, none.astype(bool))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    require_sklearn()
    monkeypatch.setattr("agents.backtest.fit.find_spec", lambda name: None if name == "sklearn" else importlib.util)
    with pytest.raises(FitError, match=r"scikit-learn.*: make setup"):
        require_sklearn()
