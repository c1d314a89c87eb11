"""Read the bands of a score, and where they begin in segments that have their own starts.

Owns `Band` and its rules. Must not know of measures and of what a score is made of. Called by the reader of scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from stream.policy.errors import listed, shown
from stream.policy.normalisers import FULL_POINTS
from stream.policy.table import is_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream.policy.table import Table

SEVERITIES = ("info", "warning", "critical")
MOST_BANDS = 100  # an account's band is kept in a signed byte

_BAND_KEYS = ("name", "from", "leave", "alert", "actions", "owner")

Weights = tuple[tuple[str, float], ...]
"""Names of measures or bands with a number each."""


@dataclass(frozen=True, slots=True)
class Band:
    """A named range of the score from `from_` up to the next band; `alert` is a severity, or None.

    `actions` (what to do) and `owner` (who) go with its alerts. Who is in it stays until the score is below `leave`.
    """

    name: str
    from_: float
    alert: str | None
    actions: tuple[str, ...] = ()
    owner: str | None = None
    leave: float | None = None


def read_bands(score: Table, *, bounded: bool) -> tuple[Band, ...]:
    """The bands of a score, ascending; none when one of them is wrong, which is noted.

    `bounded` scores are 0 to 100, others may be any number.
    """
    rows = score.tables("bands", 'a list of at least one band, such as { name = "healthy", from = 0 }', _BAND_KEYS)
    if rows is None:
        return ()
    starts = [_read_start(row, "from", bounded=bounded) for row in rows]
    bands = [_read_band(row, start) for row, start in zip(rows, starts, strict=True)]
    known = sorted((band for band in bands if band is not None), key=lambda band: band.from_)
    given = score.value("bands")
    whole = isinstance(given, list) and len(known) == len(given)
    whole &= all([_is_unique(rows, "name"), _is_unique(rows, "from")])
    begun = [start for start in starts if start is not None]
    if bounded and isinstance(given, list) and len(begun) == len(given) and min(begun) > 0.0:
        score.problem("bands", f"one band must have from = 0; the lowest is {min(begun):g}")
        return ()
    lowest = min((start for start in starts if start is not None), default=None)
    for row, start in zip(rows, starts, strict=True):
        if start is not None and start == lowest and "leave" in row:
            row.problem("leave", "the lowest band is never left downwards: remove leave")
    if len(rows) > MOST_BANDS:
        score.problem("bands", f"must be at most {MOST_BANDS} bands, not {len(rows)}")
    return tuple(known) if whole else ()


def _read_band(row: Table, start: float | None) -> Band | None:
    name = row.text("name", "a string: the name of the band")
    alert = row.choice("alert", SEVERITIES) if "alert" in row else None
    owner = row.text("owner", "a string: who acts on it") if "owner" in row else None
    leave = _read_leave(row, start) if "leave" in row else None
    actions: tuple[str, ...] = ()
    if "actions" in row:
        given = row.value("actions")
        texts = given if isinstance(given, list) else []
        actions = tuple(text for text in texts if isinstance(text, str) and is_name(text))
        if not 0 < len(actions) == len(texts):
            hint = f"; write [{shown(given)}]" if isinstance(given, str) else ""
            row.wrong("actions", 'a list of at least one string, such as ["call the sponsor"]', hint)
    return None if name is None or start is None else Band(name, start, alert, actions, owner, leave)


def _read_leave(row: Table, start: float | None) -> float | None:
    if start is None:
        return None
    expected = f"a number of at most {start:g}, where the band begins: below it an account leaves the band"
    return row.number("leave", expected, high=start)


def read_starts(part: Table, bands: Sequence[Band], *, bounded: bool) -> Weights:
    """Other starts of a score's bands in a segment, sorted by name; the bands' order stays."""
    if "bands" not in part:
        return ()
    names = tuple(band.name for band in bands)
    table = part.table("bands", "a table of bands and where they begin, such as { healthy = 80 }", names or None)
    if table is None:
        return ()
    given = {name: _read_start(table, name, bounded=bounded) for name in table}
    starts = [given.get(band.name, band.from_) for band in bands]
    known = [start for start in starts if start is not None]
    if len(known) == len(starts) and any(after <= before for before, after in pairwise(known)):
        begin = listed(f"{name} {start:g}" for name, start in zip(names, known, strict=True))
        part.problem("bands", f"the order of bands must stay, and here they begin at: {begin}")
    elif bounded and bands and starts[0] is not None and starts[0] != bands[0].from_:
        part.problem("bands", f"{shown(names[0])} is the lowest band and begins at {bands[0].from_:g} everywhere")
    return tuple(sorted((name, start) for name, start in given.items() if start is not None and name in names))


def _read_start(table: Table, key: str, *, bounded: bool) -> float | None:
    if bounded:
        expected = "a number from 0 to 100: the score at which the band begins"
        return table.number(key, expected, 0.0, FULL_POINTS)
    return table.number(key, "a number: the score at which the band begins")


def _is_unique(rows: list[Table], key: str) -> bool:
    seen: set[object] = set()
    unique = True
    for row in rows:
        value = row.value(key)
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            continue  # noted as wrong where the band was read
        if value in seen:
            row.problem(key, f"{shown(value)} is the {key} of an earlier band; every band needs its own")
            unique = False
        seen.add(value)
    return unique
