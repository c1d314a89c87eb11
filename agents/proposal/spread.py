"""The values that accounts have in a measure, and the thresholds that follow from them.

Owns which figures a threshold has. Pure: values in, normaliser out. Called by `agents.proposal.proposal`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_HALF = 0.5
_FIGURES = 2


class Spread(NamedTuple):
    """How a measure distributes the accounts that have a value: their number and that of all, and five figures."""

    with_value: int
    accounts: int
    min: float
    p10: float
    median: float
    p90: float
    max: float

    @property
    def varies(self) -> bool:
        """Whether two accounts have different values."""
        return self.with_value > 1 and self.min < self.max


class Thresholds(NamedTuple):
    """A normaliser in TOML, and which values give no and all points, as a sentence."""

    toml: str
    reason: str


def spread_of(values: NDArray[np.float64]) -> Spread:
    """The figures of the values (k,) of k accounts, NaN for those without one."""
    known = values[~np.isnan(values)]
    figures = np.quantile(known, (0, 0.1, 0.5, 0.9, 1)).tolist() if len(known) else [math.nan] * 5
    return Spread(len(known), len(values), *figures)


def thresholds_of(values: NDArray[np.float64], spread: Spread, *, more_is_better: bool) -> Thresholds:
    """The normaliser for values that vary: a line between the 10th and the 90th percentile, or steps.

    Where more than half of the accounts would be at one end of the line, steps say better what is the case.
    """
    known = values[~np.isnan(values)]
    is_whole = bool((known == np.round(known)).all())
    low, high = (sensible(round(value) if is_whole else value) for value in (spread.p10, spread.p90))
    if low == high:
        low, high = spread.p10, spread.p90
    ends = max((known <= low).mean(), (known >= high).mean())
    if low < high and ends <= _HALF:
        zero, hundred = (low, high) if more_is_better else (high, low)
        toml = f'{{ kind = "linear", zero_at = {text(zero)}, hundred_at = {text(hundred)} }}'
        return Thresholds(toml, f"0 points at {text(zero)}, 100 at {text(hundred)}: their 10th and 90th percentiles")
    return Thresholds(_steps(spread, low, high, more_is_better=more_is_better), "steps, since most accounts are equal")


def _steps(spread: Spread, low: float, high: float, *, more_is_better: bool) -> str:
    bottom, top = (0, 100) if more_is_better else (100, 0)
    first = f"{{ from = {text(min(spread.min, 0))}, points = {bottom} }}"
    if low < high:
        rest = [f"{{ above = {text(low)}, points = 50 }}", f"{{ from = {text(high)}, points = {top} }}"]
    elif low < spread.max:
        rest = [f"{{ above = {text(low)}, points = {top} }}"]
    else:
        rest = [f"{{ from = {text(low)}, points = {top} }}"]
    return f'{{ kind = "tiers", tiers = [{", ".join([first, *rest])}] }}'


def sensible(value: float) -> float:
    """A value rounded to two significant digits."""
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, _FIGURES - 1 - math.floor(math.log10(abs(value))))


def text(value: float) -> str:
    """A number as a person writes it in TOML: at most six digits after the point."""
    rounded = round(float(value), 6)
    return str(int(rounded)) if rounded == int(rounded) else f"{rounded:.6f}".rstrip("0")


def spread_text(spread: Spread) -> str:
    """The figures as a comment has them."""
    figures = zip(("min", "p10", "median", "p90", "max"), spread[2:], strict=True)
    listed = ", ".join(f"{name} {text(sensible(value))}" for name, value in figures)
    have = "" if spread.with_value == spread.accounts else f", {spread.with_value:,} have a value"
    return f"{spread.accounts:,} accounts{have}: {listed}"
