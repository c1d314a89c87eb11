"""Read the `normalise` table of a measure.

Owns the keys of each kind of normaliser and their rules. Must not know of sources, statistics or scores. Called by
the reader of measures; the `map` of a score is read here too.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from stream.policy.errors import closest, listed
from stream.policy.normalisers import FULL_POINTS, THRESHOLD_POINTS, Decay, Linear, Normaliser, Threshold, Tiers
from stream.policy.table import Number, finite

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream.policy.table import Table

POINTS = Number("a number of points from 0 to 100", 0.0, FULL_POINTS)
POINTS_ABOVE_0 = Number("a number of points above 0, up to 100", 0.0, FULL_POINTS, above=0.0)

_ZERO_AT = Number("a number (the value that gives 0 points)")
_HUNDRED_AT = Number("a number (the value that gives 100 points)")
_TIER_FROM = Number("a number (the value at which the tier begins)")
_GOOD = Number("a number (the value at which good begins)")
_AVERAGE = Number("a number (the value at which average begins)")
_HALF_LIFE = Number("a number above 0 (the value at which half of the points are left)", 0.0, above=0.0)


def read_normaliser(measure: Table) -> Normaliser | None:
    """The normaliser of a measure's table; None if it is wrong, which is recorded."""
    table = measure.table("normalise", NORMALISER, _allowed_keys(measure.value("normalise")))
    kind = None if table is None else table.choice("kind", tuple(_KINDS))
    return None if table is None or kind is None else _KINDS[kind][1](table)


def _allowed_keys(normalise: object) -> tuple[str, ...]:
    """The keys of the kind that is written or was probably meant; those of all kinds if that is unknown."""
    kind = normalise.get("kind") if isinstance(normalise, dict) else None
    if isinstance(kind, str) and kind not in _KINDS:
        kind = closest(kind, _KINDS)
    if isinstance(kind, str):
        return ("kind", *_KINDS[kind][0])
    return ("kind", *(key for keys, _ in _KINDS.values() for key in keys))


def read_line(table: Table) -> Linear | None:
    """A straight line by its two ends; None if it is wrong, which is recorded."""
    zero_at, hundred_at = table.number("zero_at", _ZERO_AT), table.number("hundred_at", _HUNDRED_AT)
    if zero_at is None or hundred_at is None:
        return None
    if zero_at == hundred_at:
        table.problem("hundred_at", f"must differ from zero_at; both are {zero_at:g}")
        return None
    if not math.isfinite(hundred_at - zero_at):
        table.wrong("hundred_at", f"closer to zero_at, which is {zero_at:g} (the difference must be finite)")
        return None
    return Linear(zero_at, hundred_at)


def _read_tiers(table: Table) -> Tiers:
    rows = table.tables("tiers", "a list of at least one { from = …, points = … }", ("from", "points"))
    starts = [row.number("from", _TIER_FROM) for row in rows]
    points = [row.number("points", POINTS) for row in rows]
    for row, (previous, start) in zip(rows[1:], pairwise(starts), strict=True):
        if previous is not None and start is not None and start <= previous:
            row.wrong("from", f"above {previous:g}, the from of the tier before it (tiers ascend)")
    steps = zip(starts, points, strict=True)
    return Tiers(tuple((start, gained) for start, gained in steps if start is not None and gained is not None))


def _read_threshold(table: Table) -> Threshold | None:
    good, average = table.number("good", _GOOD), table.number("average", _AVERAGE)
    levels = _read_levels(table)
    if good is None or average is None:
        return None
    if good == average:
        table.problem("average", f"must differ from good; both are {good:g}")
        return None
    return None if levels is None else Threshold(good, average, levels)


def _read_levels(table: Table) -> tuple[float, float, float] | None:
    if "points" not in table:
        return THRESHOLD_POINTS
    value = table.value("points")
    items = value if isinstance(value, list) else []
    levels = [number for number in map(finite, items) if number is not None and 0.0 <= number <= FULL_POINTS]
    if not len(levels) == len(items) == len(THRESHOLD_POINTS):
        table.wrong("points", "three numbers from 0 to 100 (for good, average and poor)")
        return None
    return (levels[0], levels[1], levels[2])


def _read_decay(table: Table) -> Decay | None:
    half_life = table.number("half_life", _HALF_LIFE)
    return None if half_life is None else Decay(half_life)


_KINDS: dict[str, tuple[tuple[str, ...], Callable[[Table], Normaliser | None]]] = {
    "linear": (("zero_at", "hundred_at"), read_line),
    "tiers": (("tiers",), _read_tiers),
    "threshold": (("good", "average", "points"), _read_threshold),
    "decay": (("half_life",), _read_decay),
}
"""The kinds of normalisers: the keys of each, and its reader."""

NORMALISER = f'a table with a kind ({listed(_KINDS)}), such as {{ kind = "linear", zero_at = 0, hundred_at = 10 }}'
"""What `normalise` must be, in messages."""
