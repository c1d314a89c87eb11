"""Figures of the back-test against slow implementations of their definitions."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.backtest import episodes as alarm
from agents.backtest import figures

DAY_MS = 86_400_000

# Few distinct scores, so that many are equal.
SAMPLES = st.lists(st.tuples(st.sampled_from([0, 5, 10, 40, 40.5, 99, 100]), st.booleans()), max_size=40)


def arrays(samples: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    scores = np.array([score for score, _ in samples], dtype=np.float64)
    return scores, np.array([churned for _, churned in samples], dtype=bool)


def auc_by_pairs(samples: list[tuple[float, bool]]) -> float | None:
    pairs = [(gone, stayed) for gone, churned in samples if churned for stayed, other in samples if not other]
    if not pairs:
        return None
    return float(sum(Fraction((gone < stayed) * 2 + (gone == stayed), 2) for gone, stayed in pairs) / len(pairs))


@given(SAMPLES)
def test_auc_is_the_share_of_pairs_in_the_right_order(samples: list[tuple[float, bool]]) -> None:
    assert figures.auc(*arrays(samples)) == pytest.approx(auc_by_pairs(samples))


@given(SAMPLES, st.randoms(use_true_random=False))
def test_the_order_of_samples_makes_no_difference(samples: list[tuple[float, bool]], random: object) -> None:
    shuffled = list(samples)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random
    before, after = arrays(samples), arrays(shuffled)
    assert figures.auc(*before) == figures.auc(*after)
    assert figures.lift_by_decile(*before) == figures.lift_by_decile(*after)
    assert figures.calibration(*before) == figures.calibration(*after)


def caught_by_lowest(samples: list[tuple[float, bool]], share: Fraction) -> Fraction:
    """Churn among the lowest `share` of the samples, on average over all orders of equal scores."""
    left, caught = share * len(samples), Fraction(0)
    for score in sorted({score for score, _ in samples}):
        group = [churned for other, churned in samples if other == score]
        taken = min(left, Fraction(len(group)))
        caught += taken * sum(group) / len(group)
        left -= taken
    return caught


@given(SAMPLES)
def test_deciles_share_the_churn_of_equal_scores(samples: list[tuple[float, bool]]) -> None:
    deciles = figures.lift_by_decile(*arrays(samples))
    total = sum(churned for _, churned in samples)
    if not total:
        assert deciles == []
        return
    edges = [caught_by_lowest(samples, Fraction(tenths, 10)) for tenths in range(11)]
    assert [row.caught for row in deciles] == pytest.approx([float(edge / total) for edge in edges[1:]])
    lifts = [float((high - low) / total * 10) for low, high in pairwise(edges)]
    assert [row.lift for row in deciles] == pytest.approx(lifts)
    assert [row.rate for row in deciles] == pytest.approx([lift * total / len(samples) for lift in lifts])


@given(SAMPLES)
def test_calibration_counts_each_sample_once(samples: list[tuple[float, bool]]) -> None:
    for scores in figures.calibration(*arrays(samples)):
        inside = [
            (score, churned)
            for score, churned in samples
            if scores.low <= score < scores.high or scores.high == score == 100
        ]
        assert scores.samples == len(inside)
        if inside:
            assert scores.mean_score == pytest.approx(sum(score for score, _ in inside) / len(inside))
            assert scores.rate == pytest.approx(sum(churned for _, churned in inside) / len(inside))
        else:
            assert scores.mean_score is None
            assert scores.rate is None


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=30))
def test_bands_add_up(samples: list[tuple[int, bool]]) -> None:
    bands = np.array([band for band, _ in samples], dtype=np.int8)
    churned = np.array([gone for _, gone in samples], dtype=bool)
    for number, count in enumerate(figures.band_counts(bands, churned, 3)):
        assert count.samples == sum(band == number for band, _ in samples)
        assert count.churned == sum(band == number and gone for band, gone in samples)
        assert count.samples_to_here == sum(band <= number for band, _ in samples)
        assert count.churned_to_here == sum(band <= number and gone for band, gone in samples)


@given(SAMPLES.filter(lambda samples: len({churned for _, churned in samples}) == 2), st.integers(1, 4))
def test_a_resample_weighs_whole_accounts(samples: list[tuple[float, bool]], accounts: int) -> None:
    scores, churned = arrays(samples)
    owners = np.arange(len(samples)) % accounts
    draws = figures.resampled_aucs([scores, -scores], churned, owners, 20)
    known = draws[~np.isnan(draws[:, 0])]
    assert ((known >= 0) & (known <= 1)).all()
    assert known.sum(axis=1) == pytest.approx(np.ones(len(known)))  # the reverse order is right where this is wrong
    if accounts == 1:  # there is one resample of one account: itself
        assert draws[:, 0] == pytest.approx(np.full(20, figures.auc(scores, churned)))


# Episodes


def episodes_by_walk(days: list[bool]) -> list[tuple[int, int]]:
    """(first day in, first day out or the last day) of each stretch."""
    episodes, begin = [], None
    for day, alerting in enumerate(days):
        if alerting and begin is None:
            begin = day
        if not alerting and begin is not None:
            episodes.append((begin, day))
            begin = None
    if begin is not None:
        episodes.append((begin, len(days) - 1))
    return episodes


@given(
    st.integers(1, 12).flatmap(
        lambda days: st.lists(
            st.tuples(st.lists(st.booleans(), min_size=days, max_size=days), st.none() | st.integers(1, 20 * DAY_MS)),
            max_size=5,
        )
    ),
    st.integers(1, 8),
    st.integers(0, 10),
)
def test_episodes_are_what_a_walk_through_the_days_finds(
    accounts: list[tuple[list[bool], int | None]], longest: int, known_after: int
) -> None:
    days = len(accounts[0][0]) if accounts else 1
    known = (days - 1 + known_after) * DAY_MS
    alerting = np.zeros((days, len(accounts)), dtype=bool)
    for account, (flags, churn) in enumerate(accounts):
        alerting[:, account] = [flag and (churn is None or day * DAY_MS < churn) for day, flag in enumerate(flags)]
    churn_ms = np.array([alarm.NEVER_MS if churn is None else churn for _, churn in accounts], dtype=np.int64)
    episodes = alarm.find_episodes(alerting, np.arange(days) * DAY_MS)
    verdicts = alarm.judge(episodes, churn_ms, known, longest)
    walked = [
        (account, *period)
        for account in range(len(accounts))
        for period in episodes_by_walk(alerting[:, account].tolist())
    ]
    assert list(zip(episodes.account, episodes.begin_ms // DAY_MS, episodes.end_ms // DAY_MS, strict=True)) == walked
    warnings: dict[int, float] = {}
    for number, (account, begin, end) in enumerate(walked):
        churn = accounts[account][1]
        right = churn is not None and churn <= known and churn <= (end + longest) * DAY_MS
        assert verdicts.right[number] == right
        assert verdicts.false[number] == (not right and begin + longest <= days - 1 + known_after)
        warnings.pop(account, None)
        if right and churn is not None:
            warnings[account] = (churn - begin * DAY_MS) / DAY_MS
    computed = alarm.warnings_days(episodes, verdicts, churn_ms)
    assert {account: days for account, days in enumerate(computed.tolist()) if not np.isnan(days)} == pytest.approx(
        warnings
    )
    flaps = sum(before[0] == after[0] and after[1] - before[2] <= 7 for before, after in pairwise(walked))
    assert alarm.count_flaps(episodes) == flaps
