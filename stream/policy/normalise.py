"""Read the `normalise` table of a measure.

Owns the keys of each kind of normaliser and their rules. Must not know of sources, statistics or scores. Called by
the reader of measures; the `map` of a score is read here too.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from schemas.hints import closest
from stream.policy.errors import listed, shown
from stream.policy.normalisers import (
    FULL_POINTS,
    THRESHOLD_POINTS,
    Curve,
    Decay,
    Grid,
    Linear,
    Normaliser,
    Simple,
    Threshold,
    Tiers,
)
from stream.policy.own.extension import ExtensionError, chosen, load, parameters_of
from stream.policy.own.normaliser import read_own_normaliser
from stream.policy.table import Number, finite

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stream.policy.own.extension import Extensions
    from stream.policy.table import Table

Edge = Literal["from", "above"]
"""How a tier or a band begins: from a number on, or above it."""

POINTS = Number("a number of points from 0 to 100", 0.0, FULL_POINTS)
POINTS_ABOVE_0 = Number("a number of points above 0, up to 100", 0.0, FULL_POINTS, above=0.0)

_ZERO_AT = Number("a number (the value that gives 0 points)")
_HUNDRED_AT = Number("a number (the value that gives 100 points)")
_TIER_FROM = Number("a number (the value at which the tier begins)")
_ROW_FROM = Number("a number (the value of the other measure at which the row begins)")
_AT = Number("a number (a value of the measure)")
_CURVE = "a list of at least two { at = …, points = … }"
_GOOD = Number("a number (the value at which good begins)")
_AVERAGE = Number("a number (the value at which average begins)")
_HALF_LIFE = Number("a number above 0 (the value at which half of the points are left)", 0.0, above=0.0)


def read_normaliser(measure: Table, measures: Sequence[str], extensions: Extensions) -> Normaliser | None:
    """The normaliser of a measure's table; None if it is wrong, which is recorded. `measures` are all of the policy."""
    table = measure.table("normalise", NORMALISER, _allowed_keys(measure.value("normalise"), extensions))
    kind = None if table is None else chosen(table, "kind", KINDS, "normaliser", extensions)
    if table is None or kind is None:
        return None
    return _read_grid(table, measures, extensions) if kind == _GRID else _read_simple(table, kind, extensions)


def _allowed_keys(normalise: object, extensions: Extensions) -> tuple[str, ...] | None:
    """The keys of the kind that is written or was probably meant; those of all kinds if that is unknown.

    None allows any: of an extension that cannot be used, which is recorded with the kind.
    """
    keys_of = {kind: keys for kind, (keys, _) in _KINDS.items()} | {_GRID: _GRID_KEYS}
    kind = normalise.get("kind") if isinstance(normalise, dict) else None
    if isinstance(kind, str) and kind not in keys_of:
        kind = closest(kind, (*keys_of, *extensions.names("normaliser")))
    if isinstance(kind, str):
        keys = keys_of[kind] if kind in keys_of else _own_keys(kind, extensions)
        return None if keys is None else ("kind", *keys)
    return ("kind", *(key for keys in keys_of.values() for key in keys))


def _own_keys(kind: str, extensions: Extensions) -> tuple[str, ...] | None:
    """The parameters of an extension; None if it cannot be used."""
    try:
        return tuple(parameters_of(extensions.load("normaliser", kind)))
    except ExtensionError:
        return None


def _read_simple(table: Table, kind: str, extensions: Extensions) -> Simple | None:
    if kind in _KINDS:
        return _KINDS[kind][1](table)
    loaded = load(table, "kind", "normaliser", kind, extensions)
    return None if loaded is None else read_own_normaliser(table, kind, loaded)


def _read_grid(table: Table, measures: Sequence[str], extensions: Extensions) -> Grid | None:
    by = table.text("by", "a string (the measure that selects the row)")
    if by is not None:
        table.check_name("by", by, measures, "a measure of this policy")
    keys = ("from", "kind", *(key for keys, _ in _KINDS.values() for key in keys))
    keys += _own_keys_of_rows(table.value("rows"), extensions)
    rows = table.tables("rows", 'a list such as [{ from = 0, kind = "linear", zero_at = 0, hundred_at = 10 }]', keys)
    starts = [row.number("from", _ROW_FROM) for row in rows]
    _check_ascending(rows, starts, ["from" for _ in rows], "row")
    normalisers = [_read_row(row, keys, extensions) for row in rows]
    pairs = [(start, each) for start, each in zip(starts, normalisers, strict=True) if start is not None and each]
    return None if by is None or not rows or len(pairs) < len(rows) else Grid(by, tuple(pairs))


def _own_keys_of_rows(rows: object, extensions: Extensions) -> tuple[str, ...]:
    """The parameters of the extensions that rows name."""
    kinds = {row.get("kind") for row in rows if isinstance(row, dict)} if isinstance(rows, list) else set()
    own = sorted(kind for kind in kinds if isinstance(kind, str) and kind not in _KINDS)
    return tuple(
        key for kind in own if kind in extensions.names("normaliser") for key in _own_keys(kind, extensions) or ()
    )


def _read_row(row: Table, known: tuple[str, ...], extensions: Extensions) -> Simple | None:
    kind = chosen(row, "kind", tuple(_KINDS), "normaliser", extensions)
    if kind is None:
        return None
    keys = _KINDS[kind][0] if kind in _KINDS else _own_keys(kind, extensions)
    for key in row if keys is not None else ():
        allowed = ("from", "kind", *(keys or ()))
        if key not in allowed and key in known:
            row.problem(key, f"kind {shown(kind)} does not take {key}; allowed here: {listed(allowed)}")
    return _read_simple(row, kind, extensions)


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
    rows = table.tables("tiers", "a list of at least one { from = …, points = … }", ("from", "above", "points"))
    edges = [edge_of(row) for row in rows]
    starts = [read_start(row, edge, _TIER_FROM) for row, edge in zip(rows, edges, strict=True)]
    points = [row.number("points", POINTS) for row in rows]
    _check_ascending(rows, starts, edges, "tier")
    steps = zip(starts, points, strict=True)
    return Tiers(tuple((start, gained) for start, gained in steps if start is not None and gained is not None))


def edge_of(row: Table) -> Edge:
    """How a tier or a band begins: `above` a number, or `from` it, which is the default; not both."""
    if "above" in row and "from" in row:
        row.problem("above", "write from (the number itself belongs to it) or above (it does not), not both")
    return "above" if "above" in row and "from" not in row else "from"


def read_start(row: Table, edge: Edge, expected: Number) -> float | None:
    """Where a tier or a band begins."""
    return start_of(row.number(edge, expected), edge)


def start_of(number: float | None, edge: Edge) -> float | None:
    """The smallest number of a tier or a band: the number itself, or the next larger float for `above`."""
    return math.nextafter(number, math.inf) if number is not None and edge == "above" else number


def start_text(start: float) -> str:
    """Show a start in a message: the smallest number above 0 as 0, since `above = 0` is how a file names it."""
    return f"{0.0 if 0.0 < start <= math.ulp(0.0) else start:g}"


def _check_ascending(rows: Sequence[Table], starts: Sequence[float | None], edges: Sequence[Edge], name: str) -> None:
    for (row, edge), (previous, start) in zip(zip(rows[1:], edges[1:], strict=True), pairwise(starts), strict=True):
        if previous is not None and start is not None and start <= previous:
            row.wrong(edge, f"above {start_text(previous)}, the from of the {name} before it ({name}s ascend)")


def _read_curve(table: Table) -> Curve | None:
    rows = table.tables("curve", _CURVE, ("at", "points"))
    values, points = [row.number("at", _AT) for row in rows], [row.number("points", POINTS) for row in rows]
    for row, (previous, value) in zip(rows[1:], pairwise(values), strict=True):
        if previous is not None and value is not None and value <= previous:
            row.wrong("at", f"above {previous:g}, the at of the point before it (values ascend)")
    if len(rows) == 1:
        table.wrong("curve", _CURVE)
    knots = zip(values, points, strict=True)
    valid = [(value, gained) for value, gained in knots if value is not None and gained is not None]
    return Curve(tuple(valid)) if len(valid) == len(rows) > 1 else None


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


_KINDS: dict[str, tuple[tuple[str, ...], Callable[[Table], Simple | None]]] = {
    "linear": (("zero_at", "hundred_at"), read_line),
    "tiers": (("tiers",), _read_tiers),
    "threshold": (("good", "average", "points"), _read_threshold),
    "decay": (("half_life",), _read_decay),
    "curve": (("curve",), _read_curve),
}
"""The kinds of normalisers of one value: the keys of each, and its reader."""
_GRID, _GRID_KEYS = "grid", ("by", "rows")

KINDS = (*_KINDS, _GRID)
"""The names of all kinds."""
NORMALISER = f'a table with a kind ({listed(KINDS)}), such as {{ kind = "linear", zero_at = 0, hundred_at = 10 }}'
"""What `normalise` must be, in messages."""
