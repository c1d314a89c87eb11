"""Comparisons of a window with the account's own past: `compare = "previous"`, `"percentile"` and `"z"`.

Owns the three formulas. Pure; called by `stream.scoring.measure_values`. Definition:
docs/reference/policy/measures.md#comparisons-with-the-past.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import MILLIONTHS

Vector = NDArray[np.float64]
_Z_DECIMALS = 6


def change_in_percent(now: Vector, both: Vector) -> Vector:
    """Change against the previous window in percent, float64 (k,); NaN where that window's total is 0 or less.

    Formula: `100 * (now - before) / before`. `now` (k,) is the total of the window, `both` (k,) that of the window and
    the previous one together. Computed in whole millionths and with one division, so that -20 % is exactly -20.

    >>> change_in_percent(np.array([8.0, 5.0]), np.array([18.0, 5.0])).tolist()
    [-20.0, nan]
    """
    now, both = np.rint(now * MILLIONTHS), np.rint(both * MILLIONTHS)
    before = both - now
    change: Vector = np.divide(100.0 * (now - before), before, out=np.full(len(now), np.nan), where=before > 0)
    return change


def percentile_in_past(totals: Vector) -> Vector:
    """Percent of earlier windows with a smaller total, equal ones counting half, float64 (k,).

    Formula: `100 * (below + equal / 2) / windows`. `totals` (k, windows + 1) has the current window first. Source: the
    percentile rank of `scipy.stats.percentileofscore` with `kind="mean"`.

    >>> percentile_in_past(np.array([[5.0, 3.0, 4.0, 5.0, 9.0]])).tolist()
    [62.5]
    """
    now, before = totals[:, :1], totals[:, 1:]
    doubled = 2 * (before < now).sum(axis=1) + (before == now).sum(axis=1)
    return np.asarray(100.0 * doubled / (2 * before.shape[1]), dtype=np.float64)


def z_in_past(totals: Vector) -> Vector:
    """Standard score of a window among earlier windows, float64 (k,), rounded to six decimals.

    Formula: `(now - mean) / standard deviation`, with the population standard deviation of the earlier windows. Where
    that is 0, the value is 0 if the window is equal to them and NaN if not. `totals` (k, windows + 1) has the current
    window first. Source: `scipy.stats.zscore` with `ddof=0`.

    >>> z_in_past(np.array([[9.0, 3.0, 7.0], [4.0, 4.0, 4.0], [5.0, 4.0, 4.0]])).tolist()
    [2.0, 0.0, nan]
    """
    now, before = totals[:, 0], totals[:, 1:]
    all_equal = (before == before[:, :1]).all(axis=1)
    deviation = np.where(all_equal, 1.0, before.std(axis=1))
    z = np.round((now - before.mean(axis=1)) / deviation, _Z_DECIMALS)
    return np.where(all_equal, np.where(now == before[:, 0], 0.0, np.nan), z) + 0.0
