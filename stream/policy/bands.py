"""Read the bands of a score, and other starts of bands in segments.

Owns `Band` and its rules. Must not know of measures and of what a score is made of. Called by the reader of scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from stream.policy.errors import listed, shown
from stream.policy.normalise import Edge, edge_of, read_start, start_of, start_text
from stream.policy.normalisers import FULL_POINTS
from stream.policy.table import Number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream.policy.table import Table

SEVERITIES = ("info", "warning", "critical")
MOST_BANDS = 100  # an account's band is stored in a signed byte
OWNER = "a string (who acts on it)"
ACTIONS = ', such as ["call the sponsor"]'

_BAND_KEYS = ("name", "from", "above", "leave", "alert", "actions", "owner")
_START = Number("a number (the score at which the band begins)")
_BOUNDED_START = Number("a number from 0 to 100 (the score at which the band begins)", 0.0, FULL_POINTS)

_ABOVE = Number("a number (the band is above it)")
_BOUNDED_ABOVE = Number("a number from 0 to less than 100 (the band is above it)", 0.0, FULL_POINTS, above=FULL_POINTS)

Weights = tuple[tuple[str, float], ...]
"""Names of measures or bands with a number each."""


@dataclass(frozen=True, slots=True)
class Band:
    """A named range of the score, from `from_` up to the next band.

    `edge` "above" says that the file names the largest number below `from_`.

    `alert` is the severity of its alerts, None for no alerts; `actions` (what to do) and `owner` (who acts) are part of
    them. An account that is in the band stays in it until its score is below `leave`.
    """

    name: str
    from_: float
    alert: str | None
    actions: tuple[str, ...] = ()
    owner: str | None = None
    leave: float | None = None
    edge: Literal["above"] | None = None


def read_bands(score: Table, *, bounded: bool) -> tuple[Band, ...]:
    """The bands of a score, ascending; none if one of them is wrong, which is recorded.

    A `bounded` score is from 0 to 100, others are any number.
    """
    rows = score.tables("bands", 'a list of at least one band, such as { name = "healthy", from = 0 }', _BAND_KEYS)
    edges = [edge_of(row) for row in rows]
    starts = [_read_start(row, edge, bounded=bounded) for row, edge in zip(rows, edges, strict=True)]
    bands = [_read_band(row, edge, start) for row, edge, start in zip(rows, edges, starts, strict=True)]
    valid = sorted((band for band in bands if band is not None), key=lambda band: band.from_)
    elements = score.value("bands")
    count = len(elements) if isinstance(elements, list) else 0
    complete = all([len(valid) == count, *(_are_unique(rows, key) for key in ("name", "from", "above"))])
    known = [start for start in starts if start is not None]
    lowest = min(known, default=0.0)
    if bounded and len(known) == count and lowest > 0.0:
        edge = edges[starts.index(lowest)]
        score.problem("bands", f"the lowest band must begin at 0: from = 0, not {edge} = {start_text(lowest)}")
        return ()
    for row, start in zip(rows, starts, strict=True):
        if start == lowest and "leave" in row:
            row.problem("leave", "an account cannot leave the lowest band downwards: remove leave")
    if len(rows) > MOST_BANDS:
        score.problem("bands", f"must be at most {MOST_BANDS} bands, not {len(rows)}")
    return tuple(valid) if complete else ()


def _read_start(row: Table, edge: Edge, *, bounded: bool) -> float | None:
    if edge == "above":
        return read_start(row, edge, _BOUNDED_ABOVE if bounded else _ABOVE)
    return read_start(row, edge, _BOUNDED_START if bounded else _START)


def _read_band(row: Table, edge: Edge, start: float | None) -> Band | None:
    name = row.text("name", "a string (the name of the band)")
    alert = row.choice("alert", SEVERITIES, required=False)
    owner = row.text("owner", OWNER, required=False)
    actions = row.texts("actions", ACTIONS)
    if start is None:
        return None
    expected = f"a number of at most {start_text(start)}, where the band begins (an account leaves the band below it)"
    leave = row.number("leave", Number(expected, high=start), required=False)
    return (
        None if name is None else Band(name, start, alert, actions, owner, leave, "above" if edge == "above" else None)
    )


def _are_unique(rows: Sequence[Table], key: str) -> bool:
    seen: set[object] = set()
    unique = True
    for row in rows:
        value = row.value(key)
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            continue  # recorded where the band was read
        if value in seen:
            row.problem(key, f"{shown(value)} is also the {key} of an earlier band; every band needs its own")
            unique = False
        seen.add(value)
    return unique


def _start_in(table: Table, name: str, edge: Edge, *, bounded: bool) -> float | None:
    start = table.number(name, _BOUNDED_START if bounded else _START)
    return start_of(start, edge)


def read_starts(segment: Table, bands: Sequence[Band], *, bounded: bool) -> Weights:
    """Other starts of a score's bands in a segment, sorted by name; the order of the bands must stay the same."""
    if "bands" not in segment:
        return ()
    names = tuple(band.name for band in bands)
    table = segment.table("bands", "a table of bands and where they begin, such as { healthy = 80 }", names or None)
    if table is None:
        return ()
    edge_by_name: dict[str, Edge] = {band.name: band.edge or "from" for band in bands}
    changed = {name: _start_in(table, name, edge_by_name.get(name, "from"), bounded=bounded) for name in table}
    starts = [changed.get(band.name, band.from_) for band in bands]
    known = [start for start in starts if start is not None]
    if len(known) == len(starts) and any(after <= before for before, after in pairwise(known)):
        begin = listed(f"{name} {start_text(start)}" for name, start in zip(names, known, strict=True))
        segment.problem("bands", f"bands must have the same order as in the score, and here they begin at: {begin}")
    elif bounded and bands and starts[0] is not None and starts[0] != bands[0].from_:
        segment.problem(
            "bands", f"{shown(names[0])} is the lowest band: it must begin at {bands[0].from_:g} everywhere"
        )
    return tuple(sorted((name, start) for name, start in changed.items() if start is not None and name in names))
