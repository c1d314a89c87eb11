"""Fitted weights: known ones are found again, wrong signs get nothing, and nothing is learnt from what is held out."""

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
    """Points and churn by the law that the fit assumes; a missing measure counts as the weighted mean of the others."""
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
def test_known_weights_are_found_again() -> None:
    points, churned = drawn([5.0, 2.0, 3.0], 3.0)
    found = fit_weights(NAMES, [10, 10, 80], points, churned)
    assert [weight.after for weight in found] == pytest.approx([50, 20, 30], abs=2)
    assert [weight.before for weight in found] == [10, 10, 80]
    # exp(-5 * 0.1) = 0.61
    assert found[0].reason == "10 more points go with 0.61 times the odds of churn"


def test_missing_measures_share_their_weight() -> None:
    points, churned = drawn([5.0, 2.0, 3.0], 3.0, missing=0.3)
    found = fit_weights(NAMES, [1, 1, 1], points, churned)
    assert [weight.after for weight in found] == pytest.approx([1.5, 0.6, 0.9], abs=0.1)


def test_a_measure_with_the_wrong_sign_gets_nothing_and_says_so() -> None:
    points, churned = drawn([5.0, -2.0, 3.0], 1.0)
    found = fit_weights(NAMES, [40, 40, 20], points, churned)
    assert [weight.after for weight in found] == pytest.approx([62.5, 0, 37.5], abs=3)
    assert found[1].after == 0
    assert "more points went with more churn" in found[1].reason


def test_a_measure_that_tells_nothing_gets_nothing() -> None:
    points, churned = drawn([5.0, 0.0, 0.0], 1.0)
    points[:, 1], points[:, 2] = 50.0, np.nan
    found = fit_weights(NAMES, [40, 40, 20], points, churned)
    assert [weight.after for weight in found] == [100, 0, 0]
    assert found[1].reason == "every account had the same points"
    assert found[2].reason == "no account had a value"


def test_samples_without_any_value_are_left_out() -> None:
    points, churned = drawn([5.0, 2.0, 3.0], 3.0)
    points[:20_000], churned[:20_000] = np.nan, True
    found = fit_weights(NAMES, [10, 10, 80], points, churned)
    assert [weight.after for weight in found] == pytest.approx([50, 20, 30], abs=3)


def test_no_weights_from_data_that_say_the_opposite() -> None:
    points, churned = drawn([-5.0, -2.0, -3.0], -8.0)
    with pytest.raises(FitError, match="no measure's points go with staying"):
        fit_weights(NAMES, [1, 1, 1], points, churned)


def test_weights_keep_the_scale_of_the_policy() -> None:
    points, churned = drawn([5.0, 2.0, 3.0], 3.0)
    small = fit_weights(NAMES, [0.2, 0.3, 0.5], points, churned)
    assert sum(weight.after for weight in small) == pytest.approx(1.0, abs=0.002)
    assert [weight.after for weight in small] == pytest.approx([0.5, 0.2, 0.3], abs=0.02)


def test_no_training_label_looks_into_what_is_held_out() -> None:
    cutoffs = np.repeat(np.arange(0, 700, 7), 20) * DAY_MS
    accounts = np.tile(np.arange(20), 100)
    churned = np.ones(len(cutoffs), dtype=bool)
    split = split_by_time(cutoffs, 30 * DAY_MS, accounts, churned)
    assert split.holdout_from_ms == 490 * DAY_MS  # the 71st of 100 cutoffs
    assert cutoffs[split.holdout].min() == split.holdout_from_ms
    assert split.train_until_ms == 455 * DAY_MS  # 455 + 30 <= 490 < 462 + 30
    assert not (split.train & split.holdout).any()
    # A label may look up to the first cutoff held out, and no further: 462 + 28 = 490.
    assert split_by_time(cutoffs, 28 * DAY_MS, accounts, churned).train_until_ms == 462 * DAY_MS


@pytest.mark.parametrize(("late", "named"), [(False, "0 churned accounts to hold out"), (True, "to train on")])
def test_too_little_churn_on_either_side_is_said(*, late: bool, named: str) -> None:
    cutoffs = np.repeat(np.arange(0, 700, 7), 20) * DAY_MS
    accounts = np.tile(np.arange(20), 100)
    with pytest.raises(FitError, match=named):
        split_by_time(cutoffs, 30 * DAY_MS, accounts, (cutoffs >= 490 * DAY_MS) == late)


def test_no_cutoff_at_all_is_said() -> None:
    none = np.zeros(0, dtype=np.int64)
    with pytest.raises(FitError, match="--fit-lead"):
        split_by_time(none, DAY_MS, none, none.astype(bool))


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    require_sklearn()
    monkeypatch.setattr("agents.backtest.fit.find_spec", lambda name: None if name == "sklearn" else importlib.util)
    with pytest.raises(FitError, match=r"scikit-learn.*pip install 'account-vitals\[backtest\]'"):
        require_sklearn()
