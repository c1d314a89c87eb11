"""Figures of the back-test on cases small enough to compute by hand."""

from __future__ import annotations

import numpy as np
import pytest

from agents.backtest import episodes as alarm
from agents.backtest import figures

DAY_MS = 86_400_000


def test_auc_by_hand() -> None:
    # Pairs of (churned, stayed): (20, 30) right, (20, 60) right, (60, 30) wrong, (60, 60) half: 2.5 of 4.
    scores, churned = np.array([20.0, 60.0, 30.0, 60.0]), np.array([True, True, False, False])
    assert figures.auc(scores, churned) == 0.625
    assert figures.auc(scores, np.ones(4, dtype=bool)) is None
    assert figures.auc(np.zeros(0), np.zeros(0, dtype=bool)) is None


def test_lift_by_hand() -> None:
    # Twenty samples, churn at the lowest, the third lowest and the highest: 15 % at base, two a decile.
    churned = np.zeros(20, dtype=bool)
    churned[[0, 2, 19]] = True
    deciles = figures.lift_by_decile(np.arange(20.0), churned)
    assert [row.rate for row in deciles] == pytest.approx([0.5, 0.5, 0, 0, 0, 0, 0, 0, 0, 0.5])
    assert [row.lift for row in deciles[:2]] == pytest.approx([10 / 3, 10 / 3])
    assert [row.caught for row in deciles] == pytest.approx([1 / 3, *[2 / 3] * 8, 1])


def test_equal_scores_have_a_lift_of_1() -> None:
    deciles = figures.lift_by_decile(np.full(7, 50.0), np.array([True, *[False] * 6]))
    assert [row.lift for row in deciles] == pytest.approx([1.0] * 10)


def test_calibration_by_hand() -> None:
    bins = figures.calibration(np.array([0, 9.99, 10, 100]), np.array([True, False, False, True]))
    assert bins[0][:3] == (0, 10, 2)
    assert bins[0][3:] == pytest.approx((4.995, 0.5))
    assert bins[1] == (10, 20, 1, 10.0, 0.0)
    assert bins[9] == (90, 100, 1, 100.0, 1.0)
    assert bins[5] == (50, 60, 0, None, None)


def test_the_interval_contains_the_true_auc() -> None:
    generator = np.random.default_rng(3)
    churned = generator.random(400) < 0.3
    scores = generator.normal(50, 10, 400) - 8 * churned
    draws = figures.resampled_aucs([scores], churned, np.arange(400), 200)
    low, high = figures.interval(draws[:, 0]) or (1.0, 0.0)
    assert low < (figures.auc(scores, churned) or 0) < high
    # Two normal distributions 0.8 deviations apart: the AUC is the normal distribution at 0.8 / sqrt(2), 0.714.
    assert low < 0.714 < high
    # Hanley and McNeil's standard error for it with 122 churned of 400 is 0.029: an interval of 0.11.
    assert high - low == pytest.approx(0.11, abs=0.02)


def test_repeating_every_sample_does_not_narrow_the_interval() -> None:
    generator = np.random.default_rng(4)
    churned = generator.random(100) < 0.4
    scores, accounts = generator.normal(50, 10, 100), np.arange(100)
    once = figures.resampled_aucs([scores], churned, accounts, 50)
    often = figures.resampled_aucs([np.tile(scores, 3)], np.tile(churned, 3), np.tile(accounts, 3), 50)
    assert often == pytest.approx(once)


def test_without_samples_there_is_no_interval() -> None:
    assert figures.interval(np.full(3, np.nan)) is None
    assert figures.resampled_aucs([np.zeros(0)], np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64), 2).shape == (
        2,
        1,
    )


def test_an_account_by_hand() -> None:
    # Alerting on days 2 and 3, again on days 8 and 9, and from day 20 on; churn at noon of day 24.
    alerting = np.zeros((30, 1), dtype=bool)
    alerting[[2, 3, 8, 9, 20, 21, 22, 23, 24]] = True
    churn_ms = np.array([24 * DAY_MS + DAY_MS // 2])
    episodes = alarm.find_episodes(alerting, np.arange(30) * DAY_MS)
    assert (episodes.begin_ms // DAY_MS).tolist() == [2, 8, 20]
    assert (episodes.end_ms // DAY_MS).tolist() == [4, 10, 25]
    verdicts = alarm.judge(episodes, churn_ms, 30 * DAY_MS, 14)
    # 20.5 days from the end of the first to the churn, 14.5 from the second: false alarms. The third led to it.
    assert verdicts.right.tolist() == [False, False, True]
    assert verdicts.false.tolist() == [True, True, False]
    assert alarm.warnings_days(episodes, verdicts, churn_ms).tolist() == [4.5]
    assert alarm.count_flaps(episodes) == 1  # day 4 to day 8; from day 10 to day 20 it is too long


def test_an_episode_whose_lead_time_is_not_over_is_no_false_alarm() -> None:
    alerting = np.zeros((30, 1), dtype=bool)
    alerting[[5, 25]] = True
    episodes = alarm.find_episodes(alerting, np.arange(30) * DAY_MS)
    verdicts = alarm.judge(episodes, np.array([alarm.NEVER_MS]), 29 * DAY_MS, 10)
    assert verdicts.false.tolist() == [True, False]
    assert verdicts.right.tolist() == [False, False]
    # A churn after the last known outcome counts as not happened.
    late = alarm.judge(episodes, np.array([30 * DAY_MS]), 29 * DAY_MS, 10)
    assert late.right.tolist() == [False, False]


def test_365_25_observed_days_are_an_account_year() -> None:
    assert alarm.account_years(np.ones((487, 3), dtype=bool)) == 4.0
