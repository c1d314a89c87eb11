"""The oracle's bands: which band is due, which is held from boundary to boundary, and which is shown.

Owns a second reading of docs/reference/policy/bands.md for `leave` and `dwell`. Must not know how scores come about,
logs or the product's own code. Called by `tests.oracle.scores`, with `Held` kept by `tests.oracle.engine`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from tests.oracle.policy import Band, Score

DECIMALS = 9
"""Scores are banded, and points compared with an exception's limit, as rounded to so many decimals."""


@dataclass(frozen=True)
class Held:
    """The band an account holds to in one score since a boundary.

    `other_since_ms` is the boundary from which on another band has been due at every boundary, or None.
    """

    band: str
    other_since_ms: int | None = None


def band_due(total: Fraction, bands: Sequence[Band], held: str | None, limits: Sequence[Band] = ()) -> Band:
    """Return the highest band that a score reaches, or the lowest; never a higher one than any of `limits`.

    The held band (its name, None: nothing is held) and those below it are reached from their `leave` on.
    """
    rounded = round(total, DECIMALS)
    held_from = next((band.lowest for band in bands if band.name == held), None)
    reached = [
        band
        for band in bands
        if (band.leave if held_from is not None and band.lowest <= held_from else band.lowest) <= rounded
    ]
    highest = max(reached or [min(bands, key=_start)], key=_start)
    return min([highest, *limits], key=_start)


def _start(band: Band) -> Fraction:
    return band.lowest


def after_boundary(held: Held | None, due: str, dwell_ms: int, boundary_ms: int) -> Held:
    """Return what is held once a boundary has passed at which a band was due. `dwell_ms` is 0 without dwell."""
    if held is None or due == held.band:
        return Held(due)
    since_ms = boundary_ms if held.other_since_ms is None else held.other_since_ms
    return Held(due) if boundary_ms - since_ms >= dwell_ms else Held(held.band, since_ms)


def shown_and_held(
    score: Score, total: Fraction, limits: Sequence[Band], held: Held | None, boundary_ms: int | None
) -> tuple[Band, Held | None]:
    """Return the band that is shown, and what is held after it.

    `boundary_ms` is the moment of the score when it is a boundary that passes; None leaves what is held as it is.
    """
    due = band_due(total, score.bands, None if held is None else held.band, limits)
    if boundary_ms is not None:
        held = after_boundary(held, due.name, score.dwell_ms, boundary_ms)
    if held is None or not score.dwell_ms:
        return due, held
    return next(band for band in score.bands if band.name == held.band), held
