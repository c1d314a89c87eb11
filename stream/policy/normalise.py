"""Read the `normalise` table of a measure.

Owns what each kind of normaliser takes and what makes it impossible. Must not know of sources, statistics or scores.
Called by the reader of measures.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from stream.policy.errors import closest, listed
from stream.policy.normalisers import FULL_POINTS, THRESHOLD_POINTS, Decay, Linear, Normaliser, Threshold, Tiers
from stream.policy.table import finite

if TYPE_CHECKING:
    from stream.policy.table import Table

_KEYS = {
    "linear": ("zero_at", "hundred_at"),
    "tiers": ("tiers",),
    "threshold": ("good", "average", "points"),
    "decay": ("half_life",),
}
_KINDS = tuple(_KEYS)
A_NORMALISER = f'a table with a kind ({listed(_KINDS)}), such as {{ kind = "linear", zero_at = 0, hundred_at = 10 }}'
"""What `normalise` must be, in a message."""
_POINTS = "a number of points from 0 to 100"


def read_normaliser(measure: Table) -> Normaliser | None:
    """The normaliser of a measure's table, or None with what is wrong noted."""
    keys = _allowed_keys(measure.value("normalise"))
    table = measure.table("normalise", A_NORMALISER, keys)
    if table is None:
        return None
    kind = table.choice("kind", _KINDS)
    if kind == "linear":
        return read_line(table)
    if kind == "decay":
        return _decay(table)
    if kind == "tiers":
        return _tiers(table)
    return _threshold(table) if kind == "threshold" else None


def _allowed_keys(given: object) -> tuple[str, ...]:
    """The keys of the kind that was given or probably meant, or of all kinds together when that is anyone's guess."""
    kind = given.get("kind") if isinstance(given, dict) else None
    if isinstance(kind, str) and kind not in _KEYS:
        kind = closest(kind, _KINDS)
    if isinstance(kind, str):
        return ("kind", *_KEYS[kind])
    return ("kind", *(key for keys in _KEYS.values() for key in keys))


def _decay(table: Table) -> Decay | None:
    expected = "a number above 0: the value at which half of the points are left"
    half_life = table.number("half_life", expected, 0.0)
    if half_life == 0.0:
        table.wrong("half_life", expected)
        return None
    return None if half_life is None else Decay(half_life)


def read_line(table: Table) -> Linear | None:
    """A straight line by its two ends, or None with what is wrong noted."""
    zero_at = table.number("zero_at", "a number: the value that gives 0 points")
    hundred_at = table.number("hundred_at", "a number: the value that gives 100 points")
    if zero_at is None or hundred_at is None:
        return None
    if zero_at == hundred_at:
        table.problem("hundred_at", f"must differ from zero_at; both are {zero_at:g}")
        return None
    if not math.isfinite(hundred_at - zero_at):
        table.wrong("hundred_at", f"nearer to zero_at, which is {zero_at:g}")
        return None
    return Linear(zero_at, hundred_at)


def _tiers(table: Table) -> Tiers | None:
    rows = table.tables("tiers", "a list of at least one { from = …, points = … }", ("from", "points"))
    if rows is None:
        return None
    starts = [row.number("from", "a number: the value at which the tier begins") for row in rows]
    points = [row.number("points", _POINTS, 0.0, FULL_POINTS) for row in rows]
    for row, (before, start) in zip(rows[1:], pairwise(starts), strict=True):
        if before is not None and start is not None and start <= before:
            row.wrong("from", f"above the from of the tier before it, {before:g} (tiers ascend)")
    steps = zip(starts, points, strict=True)
    return Tiers(tuple((start, gained) for start, gained in steps if start is not None and gained is not None))


def _threshold(table: Table) -> Threshold | None:
    good = table.number("good", "a number: the value at which good begins")
    average = table.number("average", "a number: the value at which average begins")
    levels = _levels(table)
    if good is None or average is None:
        return None
    if good == average:
        table.problem("average", f"must differ from good; both are {good:g}")
        return None
    if levels is None:
        return None
    return Threshold(good, average, levels)


def _levels(table: Table) -> tuple[float, float, float] | None:
    if "points" not in table:
        return THRESHOLD_POINTS
    value = table.value("points")
    given = value if isinstance(value, list) else []
    levels = [number for number in map(finite, given) if number is not None and 0.0 <= number <= FULL_POINTS]
    if not len(levels) == len(given) == len(THRESHOLD_POINTS):
        table.wrong("points", "three numbers from 0 to 100: for good, average and poor")
        return None
    return (levels[0], levels[1], levels[2])
