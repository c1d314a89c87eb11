"""Find the band of a score.

Owns the comparison of scores with the starts of bands. Must not know how scores are computed or what a change of band
causes. Called by scoring on whole columns, and by explanations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


BAND_DECIMALS = 9
"""Scores are rounded to so many decimals before they are compared: 69.99999999999999 is 70 for a band."""
_UNITS = 10.0**BAND_DECIMALS


def rounded_for_bands(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores or points, rounded before they are compared: as `numpy.round` does, without what it costs to call."""
    return np.asarray(np.rint(scores * _UNITS) / _UNITS)


def band_index(scores: NDArray[np.float64], starts: NDArray[np.float64]) -> NDArray[np.int8]:
    """Index of the highest band that begins at or below each score; `starts` ascend; the shape is that of the scores.

    -1 if there is no such band: for NaN, and below the first band, which begins at 0 in a valid policy.
    """
    index = starts.searchsorted(scores, side="right") - 1
    return np.where(np.isnan(scores), -1, index).astype(np.int8)


def due_band(
    scores: NDArray[np.float64], starts: NDArray[np.float64], leaves: NDArray[np.float64], sticky: NDArray[np.int8]
) -> NDArray[np.int8]:
    """`band_index` with hysteresis; int8 (k,).

    The sticky band of an account (-1: none) and the bands below it begin at their `leaves`, the others at `starts`.
    """
    due = np.full(len(scores), -1, dtype=np.int8)
    for band, (start, leave) in enumerate(zip(starts.tolist(), leaves.tolist(), strict=True)):
        due[scores >= np.where(sticky >= band, leave, start)] = band
    return due
