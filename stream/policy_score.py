"""Read the score of a policy and its bands.

Owns `Score` and `Band` and their rules. Must not know of measures. Called by the policy parser.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream.policy_errors import listed, shown

if TYPE_CHECKING:
    from stream.policy_table import Table

SEVERITIES = ("info", "warning", "critical")
MOST_BANDS = 100  # an account's band is kept in a signed byte

_SCORE_KEYS = ("min_change", "bands")
_BAND_KEYS = ("name", "from", "alert")


@dataclass(frozen=True, slots=True)
class Band:
    """A named range of the score from `from_` (0 to 100) up to the next band; `alert` is a severity, or None."""

    name: str
    from_: float
    alert: str | None


@dataclass(frozen=True, slots=True)
class Score:
    """The score's name, the change in points that is worth publishing, and the bands, ascending, the first from 0."""

    name: str
    min_change: float
    bands: tuple[Band, ...]


def read_score(root: Table) -> Score | None:
    """The one score of a policy, or None with what is wrong noted."""
    expected = "a table: a policy has one score, such as [scores.health]"
    scores = root.table("scores", expected, None)
    if scores is None:
        return None
    names = list(scores)
    if not names:
        root.problem("scores", "must hold one score, such as [scores.health]; it is empty")
    for name in names[1:]:
        scores.problem(name, f"a policy has one score; {shown(names[0])} is there already")
    found = [_read_one(scores, name) for name in names]
    return found[0] if found else None


def _read_one(scores: Table, name: str) -> Score | None:
    score = scores.named(name, f"a table [scores.NAME] with {listed(_SCORE_KEYS)}", _SCORE_KEYS)
    if score is None:
        return None
    min_change = score.number("min_change", "a number of points of 0 or more", 0.0)
    bands = _read_bands(score)
    return None if min_change is None or bands is None else Score(name, min_change, bands)


def _read_bands(score: Table) -> tuple[Band, ...] | None:
    rows = score.tables("bands", 'a list of at least one band, such as { name = "healthy", from = 0 }', _BAND_KEYS)
    if rows is None:
        return None
    starts = [
        row.number("from", "a number from 0 to 100: the score at which the band begins", 0.0, 100.0) for row in rows
    ]
    bands = [_read_band(row, start) for row, start in zip(rows, starts, strict=True)]
    _check_unique(rows, "name")
    _check_unique(rows, "from")
    known = [start for start in starts if start is not None]
    if known and len(known) == len(starts) and min(known) > 0.0:
        score.problem("bands", f"one band must have from = 0; the lowest is {min(known):g}")
    if len(rows) > MOST_BANDS:
        score.problem("bands", f"must be at most {MOST_BANDS} bands, not {len(rows)}")
    return tuple(sorted((band for band in bands if band is not None), key=lambda band: band.from_))


def _read_band(row: Table, start: float | None) -> Band | None:
    name = row.text("name", "a string: the name of the band")
    alert = row.choice("alert", SEVERITIES) if "alert" in row else None
    return None if name is None or start is None else Band(name, start, alert)


def _check_unique(rows: list[Table], key: str) -> None:
    seen: set[object] = set()
    for row in rows:
        value = row.value(key)
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            continue  # noted as wrong where the band was read
        if value in seen:
            row.problem(key, f"{shown(value)} is the {key} of an earlier band; every band needs its own")
        seen.add(value)
