"""Figures of how well low scores predict churn: AUC, precision and recall of bands, lift, calibration.

Works on plain arrays with an entry for each sample (an account at a cutoff): its score, and whether the account churned
within the lead time. Does not know accounts, times or policies. Pure; called by `agents.backtest.study` and
`agents.backtest.fitted_policy`. A figure that is undefined (no sample churned, or all did) is None.

Sources: the AUC is the Mann-Whitney U statistic over the number of pairs (Hanley and McNeil, 1982); its interval is a
bootstrap over accounts, because samples of one account are not independent (Field and Welsh, 2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.policy.band_index import BAND_DECIMALS

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

DECILES = 10
BIN_POINTS = 10
FULL = 100
_SEED = 7
_INTERVAL = (2.5, 97.5)


class BandCount(NamedTuple):
    """Samples in a band, how many of them churned, and both for this band and all worse ones."""

    samples: int
    churned: int
    samples_to_here: int
    churned_to_here: int


class Decile(NamedTuple):
    """A tenth of the samples, lowest scores first: churn rate, lift over the base rate, share of churn up to it."""

    rate: float
    lift: float
    caught: float


class Bin(NamedTuple):
    """Samples with scores from `low` to below `high` (the last bin holds 100): mean score and churn rate."""

    low: int
    high: int
    samples: int
    mean_score: float | None
    rate: float | None


def ratio(count: float, total: float) -> float | None:
    """`count / total`, None if `total` is 0."""
    return float(count / total) if total else None


def as_bands_see(scores: Floats) -> Floats:
    """Scores rounded as they are before bands are decided: scores that differ in the last bit are equal."""
    return np.round(scores, BAND_DECIMALS)


def auc(scores: Floats, churned: Flags) -> float | None:
    """How often a sample that churned has a lower score than one that did not; equal scores count half."""
    value = _Pairs.of(_Ranks.of(scores), churned, np.zeros(len(scores), dtype=np.intp)).auc(np.ones(1))
    return None if np.isnan(value) else value


def resampled_aucs(predictors: Sequence[Floats], churned: Flags, accounts: NDArray[np.int64], draws: int) -> Floats:
    """AUC of each predictor in each of `draws` bootstrap resamples of whole accounts, float64 (draws, predictors).

    `accounts` holds the number of the account of each sample. A resample is the same for all predictors, so
    differences between columns are paired. NaN where no sample of a resample churned,
    or all did. The draws are repeatable.
    """
    generator = np.random.default_rng(_SEED)
    _, numbers = np.unique(accounts, return_inverse=True)
    pairs = [_Pairs.of(_Ranks.of(scores), churned, numbers) for scores in predictors]
    count = int(numbers.max()) + 1 if len(numbers) else 0
    aucs = np.full((draws, len(pairs)), np.nan)
    if count:
        for draw in range(draws):
            weights = generator.multinomial(count, np.full(count, 1 / count)).astype(np.float64)
            aucs[draw] = [of_predictor.auc(weights) for of_predictor in pairs]
    return aucs


def interval(draws: Floats) -> tuple[float, float] | None:
    """The middle 95 % of resampled figures, None if there are none."""
    known = draws[~np.isnan(draws)]
    if not len(known):
        return None
    low, high = np.percentile(known, _INTERVAL)
    return float(low), float(high)


class _Ranks(NamedTuple):
    ranks: NDArray[np.intp]
    distinct: int

    @classmethod
    def of(cls, scores: Floats) -> _Ranks:
        distinct, ranks = np.unique(as_bands_see(scores), return_inverse=True)
        return cls(ranks, len(distinct))


class _Samples(NamedTuple):
    """Samples of an account in a class are one entry, with their number."""

    accounts: NDArray[np.int64]
    classes: NDArray[np.int64]
    numbers: NDArray[np.int64]
    distinct: int
    """How many classes there are."""

    @classmethod
    def of(cls, accounts: NDArray[np.intp], classes: NDArray[np.intp], count: int) -> _Samples:
        keys, numbers = np.unique(accounts.astype(np.int64) * count + classes, return_counts=True)
        return cls(keys // max(count, 1), keys % max(count, 1), numbers, count)

    def weighted(self, weights: Floats) -> Floats:
        """The sum of the samples' weights by class; `weights` are those of accounts."""
        return np.asarray(
            np.bincount(self.classes, weights[self.accounts] * self.numbers, self.distinct), dtype=np.float64
        )


class _Pairs(NamedTuple):
    """Pairs of a sample that churned and one that did not, to count those in which the first has a lower score.

    Ranks with a sample that churned are levels 0 to n. Samples that did not are in class `2 * i + 1` if their rank is
    level i, and in the even class between if theirs lies between two. Weights are whole numbers, so all sums are exact.
    """

    gone: _Samples
    stayed: _Samples

    @classmethod
    def of(cls, ranks: _Ranks, churned: Flags, accounts: NDArray[np.intp]) -> _Pairs:
        levels, every = np.unique(ranks.ranks[churned]), np.arange(ranks.distinct)
        level = np.searchsorted(levels, every)
        classes = level + np.searchsorted(levels, every, side="right")
        return cls(
            _Samples.of(accounts[churned], level[ranks.ranks[churned]], len(levels)),
            _Samples.of(accounts[~churned], classes[ranks.ranks[~churned]], 2 * len(levels) + 1),
        )

    def auc(self, weights: Floats) -> float:
        """AUC where the samples of an account have a weight; NaN where no sample churned, or all did."""
        gone, stayed = self.gone.weighted(weights), self.stayed.weighted(weights)
        pairs = gone.sum() * stayed.sum()
        if not pairs:
            return float("nan")
        higher = stayed.sum() - np.cumsum(stayed)[1::2]
        return float((gone * (higher + stayed[1::2] / 2)).sum() / pairs)


def band_counts(bands: NDArray[np.int8], churned: Flags, count: int) -> list[BandCount]:
    """An entry for each band, the lowest first; `bands` holds each sample's band as a number below `count`."""
    samples = np.bincount(bands, minlength=count)
    gone = np.bincount(bands[churned], minlength=count)
    columns = (samples, gone, np.cumsum(samples), np.cumsum(gone))
    return [BandCount(*map(int, row)) for row in zip(*columns, strict=True)]


def lift_by_decile(scores: Floats, churned: Flags) -> list[Decile]:
    """Ten entries, the lowest scores first; empty if no sample churned.

    Samples of equal scores share their churn evenly, also across two deciles. So the order of the samples does not
    matter, and their number need not be a multiple of ten.
    """
    total = int(churned.sum())
    if not total:
        return []
    ranks = _Ranks.of(scores)
    ends = np.concatenate([[0], np.cumsum(np.bincount(ranks.ranks, minlength=ranks.distinct))])
    caught = np.concatenate([[0], np.cumsum(np.bincount(ranks.ranks, churned, ranks.distinct))])
    size = len(scores) / DECILES
    at_edges = np.interp(np.arange(DECILES + 1) * size, ends, caught)
    base = total / len(scores)
    rates = np.diff(at_edges) / size
    return [
        Decile(float(rate), float(rate / base), float(edge / total))
        for rate, edge in zip(rates, at_edges[1:], strict=True)
    ]


def calibration(scores: Floats, churned: Flags) -> list[Bin]:
    """Churn rate by score, in bins of ten points from 0 to 100."""
    count = FULL // BIN_POINTS
    bins = np.clip((as_bands_see(scores) // BIN_POINTS).astype(np.int64), 0, count - 1)
    samples = np.bincount(bins, minlength=count)
    sums = np.bincount(bins, scores, count)
    gone = np.bincount(bins, churned, count)
    return [
        Bin(
            number * BIN_POINTS,
            (number + 1) * BIN_POINTS,
            int(samples[number]),
            ratio(float(sums[number]), int(samples[number])),
            ratio(float(gone[number]), int(samples[number])),
        )
        for number in range(count)
    ]
