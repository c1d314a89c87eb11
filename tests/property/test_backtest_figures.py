"""Figures of the back-test against their definitions, written out slowly."""

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
    left, found = share * len(samples), Fraction(0)
    for score in sorted({score for score, _ in samples}):
        group = [churned for other, churned in samples if other == score]
        taken = min(left, Fraction(len(group)))
        found += taken * sum(group) / len(group)
        left -= taken
    return found


@given(SAMPLES)
def test_deciles_share_the_churn_of_equal_scores(samples: list[tuple[float, bool]]) -> None:
    found = figures.lift_by_decile(*arrays(samples))
    total = sum(churned for _, churned in samples)
    if not total:
        assert found == []
        return
    edges = [caught_by_lowest(samples, Fraction(at, 10)) for at in range(11)]
    assert [row.caught for row in found] == pytest.approx([float(edge / total) for edge in edges[1:]])
    lifts = [float((high - low) / total * 10) for low, high in pairwise(edges)]
    assert [row.lift for row in found] == pytest.approx(lifts)
    assert [row.rate for row in found] == pytest.approx([lift * total / len(samples) for lift in lifts])


@given(SAMPLES)
def test_calibration_counts_each_sample_once(samples: list[tuple[float, bool]]) -> None:
    for found in figures.calibration(*arrays(samples)):
        inside = [part for part in samples if found.low <= part[0] < found.high or (found.high == part[0] == 100)]
        assert found.samples == len(inside)
        if inside:
            assert found.mean_score == pytest.approx(sum(score for score, _ in inside) / len(inside))
            assert found.rate == pytest.approx(sum(churned for _, churned in inside) / len(inside))
        else:
            assert found.mean_score is None
            assert found.rate is None


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=30))
def test_bands_add_up(samples: list[tuple[int, bool]]) -> None:
    bands = np.array([band for band, _ in samples], dtype=np.int8)
    churned = np.array([gone for _, gone in samples], dtype=bool)
    for number, found in enumerate(figures.band_counts(bands, churned, 3)):
        assert found.samples == sum(band == number for band, _ in samples)
        assert found.churned == sum(band == number and gone for band, gone in samples)
        assert found.samples_to_here == sum(band <= number for band, _ in samples)
        assert found.churned_to_here == sum(band <= number and gone for band, gone in samples)


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
    found, begin = [], None
    for day, alerting in enumerate(days):
        if alerting and begin is None:
            begin = day
        if not alerting and begin is not None:
            found.append((begin, day))
            begin = None
    if begin is not None:
        found.append((begin, len(days) - 1))
    return found


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
    for at, (flags, churn) in enumerate(accounts):
        alerting[:, at] = [flag and (churn is None or day * DAY_MS < churn) for day, flag in enumerate(flags)]
    churn_ms = np.array([alarm.NEVER_MS if churn is None else churn for _, churn in accounts], dtype=np.int64)
    found = alarm.find_episodes(alerting, np.arange(days) * DAY_MS)
    verdicts = alarm.judge(found, churn_ms, known, longest)
    walked = [(at, *part) for at in range(len(accounts)) for part in episodes_by_walk(alerting[:, at].tolist())]
    assert list(zip(found.account, found.begin_ms // DAY_MS, found.end_ms // DAY_MS, strict=True)) == walked
    warnings: dict[int, float] = {}
    for number, (at, begin, end) in enumerate(walked):
        churn = accounts[at][1]
        right = churn is not None and churn <= known and churn <= (end + longest) * DAY_MS
        assert verdicts.right[number] == right
        assert verdicts.false[number] == (not right and begin + longest <= days - 1 + known_after)
        warnings.pop(at, None)
        if right and churn is not None:
            warnings[at] = (churn - begin * DAY_MS) / DAY_MS
    told = alarm.warnings_days(found, verdicts, churn_ms)
    assert {at: days for at, days in enumerate(told.tolist()) if not np.isnan(days)} == pytest.approx(warnings)
    flaps = sum(one[0] == other[0] and other[1] - one[2] <= 7 for one, other in pairwise(walked))
    assert alarm.count_flaps(found) == flaps
