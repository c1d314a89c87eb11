"""Distribution of scores, bands and measures over accounts, with warnings about measures that do not discriminate.

Owns the figures and the warnings' sentences. Pure: accounts come scored. Called by `vitals check --against`
(`agents.cli.files`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from stream.explain.selector import Reading, SelectedScore
from stream.explain.text import label_of, number
from stream.policy.band_index import BAND_DECIMALS
from stream.policy.normalisers import FULL_POINTS, Grid, Linear
from stream.policy.policy import Measure
from stream.scoring.scoring import NO_BAND

Column = NDArray[np.float64]
_BIN = 10
_HALF = 0.5


class Quartiles(Struct):
    """Minimum, quartiles and maximum of numbers, interpolated linearly (the default of `numpy.quantile`)."""

    min: float
    q1: float
    median: float
    q3: float
    max: float


class Bin(Struct, rename={"from_": "from"}):
    """Accounts with a score from `from_` up to `to`; the last bin holds `to` too."""

    from_: int
    to: int
    accounts: int


class BandCount(Struct):
    """Accounts in a band, and their share of all (0..1)."""

    band: str
    accounts: int
    share: float


class MeasureDistribution(Struct):
    """One measure over the accounts. Shares are 0..1.

    `missing` is the share of all accounts that has no value; `at_zero` and `at_hundred` are shares of those that have
    one; `values` is null when none has.
    """

    measure: str
    missing: float
    at_zero: float
    at_hundred: float
    values: Quartiles | None


class Distribution(Struct):
    """One score over accounts; `bands` come best first. `scores` is null when there is no account."""

    score: str
    accounts: int
    scores: Quartiles | None
    histogram: list[Bin]
    bands: list[BandCount]
    measures: list[MeasureDistribution]
    warnings: list[str]


def distribution_of(selected: SelectedScore, scored: Reading) -> Distribution:
    """Figures and warnings for those of the k accounts of `scored` that have a score."""
    has_score = scored.bands != NO_BAND
    scored = Reading(*(column[has_score] for column in scored))
    count = len(scored.scores)
    scores = np.round(scored.scores, BAND_DECIMALS)
    in_bins, _ = np.histogram(scores, bins=np.arange(0, FULL_POINTS + 1, _BIN))
    by_band = np.bincount(scored.bands, minlength=len(selected.bands)).tolist()
    bands = [
        BandCount(band.name, inside, inside / max(count, 1))
        for band, inside in zip(selected.bands, by_band, strict=True)
    ]
    measures = [
        _measure_distribution(measure, values, _own_points(measure, values, points))
        for measure, values, points in zip(selected.measures, scored.values.T, scored.points.T, strict=True)
    ]
    return Distribution(
        score=selected.name,
        accounts=count,
        scores=_quartiles(scores),
        histogram=[Bin(number * _BIN, (number + 1) * _BIN, inside) for number, inside in enumerate(in_bins.tolist())],
        bands=bands[::-1],
        measures=measures,
        warnings=list(_warnings(selected, scored, bands, measures)),
    )


def _own_points(measure: Measure, values: Column, points: Column) -> Column:
    """Points of the values that are not missing, whatever points the policy gives for missing ones.

    `points` (k,) are those in the score: those of a grid depend on another measure, too.
    """
    known = values[~np.isnan(values)]
    if isinstance(measure.normaliser, Grid):
        return points[~np.isnan(values)]
    return np.full(len(known), np.nan) if measure.normaliser is None else measure.normaliser.points(known)


def _quartiles(numbers: Column) -> Quartiles | None:
    return Quartiles(*np.quantile(numbers, (0, 0.25, 0.5, 0.75, 1)).tolist()) if len(numbers) else None


def _measure_distribution(measure: Measure, values: Column, points: Column) -> MeasureDistribution:
    known = max(len(points), 1)
    return MeasureDistribution(
        measure=measure.name,
        missing=1 - len(points) / max(len(values), 1),
        at_zero=int((points == 0).sum()) / known,
        at_hundred=int((points == FULL_POINTS).sum()) / known,
        values=_quartiles(values[~np.isnan(values)]),
    )


def _warnings(
    selected: SelectedScore, scored: Reading, bands: list[BandCount], measures: list[MeasureDistribution]
) -> Iterator[str]:
    for measure, distribution, points in zip(selected.measures, measures, scored.points.T, strict=True):
        yield from _measure_warnings(measure, distribution, points)
    for band, count in zip(selected.bands, bands, strict=True):
        if len(scored.scores) and not count.accounts:
            yield f"band {band.name} (from {number(band.from_)}): no account is in it"


def _why_missing(measure: Measure) -> str:
    if measure.formula is None:
        return f"does {measure.source} have events that pass its filters?"
    return f"do all of these have one: {', '.join(map(label_of, measure.formula.inputs))}?"


def _measure_warnings(measure: Measure, distribution: MeasureDistribution, points: Column) -> Iterator[str]:
    """Warnings about one measure; `points` (k,) are those in the score, NaN where the weight is shared."""
    name, values = label_of(measure.name), distribution.values
    if values is None:
        if len(points):
            yield f"{name}: no account has a value; {_why_missing(measure)}"
        return
    if distribution.missing > _HALF and measure.when is None:
        consequence = (
            "its weight is shared" if measure.missing is None else f"it gives {number(measure.missing)} points"
        )
        yield f"{name}: missing for {distribution.missing:.0%} of the accounts, where {consequence}"
    if len(points) < 2:  # noqa: PLR2004 -- one account can not differ from itself
        return
    if values.min == values.max and (distribution.missing == 0 or len(np.unique(points)) == 1):
        yield f"{name}: never varies, every account with a value has {number(values.min)}"
        return
    if len(np.unique(points)) == 1 and not np.isnan(points[0]):
        yield f"{name}: gives every account {number(points[0])} points, whatever its value"
        return
    if isinstance(measure.normaliser, Linear):
        line = measure.normaliser
        ends = [
            (distribution.at_zero, 0, "zero_at", line.zero_at),
            (distribution.at_hundred, 100, "hundred_at", line.hundred_at),
        ]
        for share, points_there, key, value in ends:
            if share > _HALF:
                accounts = f"{share:.0%} of the accounts with a value"
                yield f"{name}: clamped to {points_there} points for {accounts}; {key} is {number(value)}"
