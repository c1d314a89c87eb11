"""Bands: which named range a score falls in.

Owns the comparisons that decide it. Must not know how scores come about or what a change of band causes. Called by
scoring on whole columns and by explanations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


BAND_DECIMALS = 9
"""A score of 69.99999999999999 is 70 to a band: sums of floats must not decide it. Scores are rounded to so many."""


def band_index(scores: NDArray[np.float64], starts: NDArray[np.float64]) -> NDArray[np.int8]:
    """Index of the highest band that begins at or below each score, by the bands' ascending starts; same shape.

    -1 where there is no such band: for NaN, and below the first band, which a valid policy has at 0.
    """
    index = np.searchsorted(starts, scores, side="right") - 1
    return np.where(np.isnan(scores), -1, index).astype(np.int8)


def due_band(
    scores: NDArray[np.float64], starts: NDArray[np.float64], leaves: NDArray[np.float64], held: NDArray[np.int8]
) -> NDArray[np.int8]:
    """`band_index` where the band that is held (-1: none), and those below it, begin at their `leaves`; int8 (k,)."""
    due = np.full(len(scores), -1, dtype=np.int8)
    for band, (start, leave) in enumerate(zip(starts.tolist(), leaves.tolist(), strict=True)):
        due[scores >= np.where(held >= band, leave, start)] = band
    return due
