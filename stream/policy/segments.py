"""Read the segments of a policy: which accounts are scored in a way of their own.

Owns `Segment` and its rules. Must not know what a segment changes. Called by the policy parser; `stream.plan.segments`
decides by it which account is in which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream.policy.errors import shown

if TYPE_CHECKING:
    from stream.policy.table import Table

TEXTS = ("tier", "plan", "segment", "persona", "owner")
"""Text fields of a profile that `when` may name."""
RANGES = ("arr", "days_since_start", "days_to_renewal")
"""Numbers that `when` may bound; days are UTC days to the moment of the score."""
MOST_SEGMENTS = 60  # which of them fit an account is kept in the bits of one integer

_RANGE_KEYS = ("from", "below")
_RANGE = "a table such as { from = 30, below = 90 }, or with one of the two"


@dataclass(frozen=True, slots=True)
class Range:
    """`from_ <= number < below`; None leaves that side open."""

    field: str
    from_: float | None
    below: float | None


@dataclass(frozen=True, slots=True)
class Segment:
    """A named kind of account: every text field has one of its values, every number is in its range."""

    name: str
    texts: tuple[tuple[str, tuple[str, ...]], ...]
    ranges: tuple[Range, ...]


def read_segments(root: Table) -> tuple[Segment, ...]:
    """The segments of a policy in the order of the file, less those with something wrong, which is noted."""
    if "segments" not in root:
        return ()
    tables = root.table("segments", "tables such as [segments.enterprise]", None)
    if tables is None:
        return ()
    names = list(tables)
    if len(names) > MOST_SEGMENTS:
        root.problem("segments", f"must be at most {MOST_SEGMENTS} segments, not {len(names)}")
    found = [_read_one(tables, name) for name in names]
    return tuple(segment for segment in found if segment is not None)


def _read_one(tables: Table, name: str) -> Segment | None:
    given = tables.value(name)
    bare = [key for key in given if key in (*TEXTS, *RANGES)] if isinstance(given, dict) else []
    if bare and isinstance(given, dict) and "when" not in given:
        tables.problem(name, f"what the profile must be stands in a when: write when = {{ {bare[0]} = … }}")
        return None
    table = tables.named(name, "a table [segments.NAME] with a when", ("when",))
    if table is None:
        return None
    expected = 'a table of what the profile must be, such as { tier = ["enterprise"] }'
    when = table.table("when", expected, (*TEXTS, *RANGES))
    if when is None:
        return None
    if not list(when):
        table.wrong("when", expected)
    texts = [(field, _read_texts(when, field)) for field in TEXTS if _has(when, field, list)]
    ranges = [_read_range(when, field) for field in RANGES if _has(when, field, dict)]
    return Segment(
        name,
        tuple((field, values) for field, values in texts if values),
        tuple(found for found in ranges if found is not None),
    )


def _has(when: Table, field: str, kind: type) -> bool:
    """Whether a field is there; under a misspelled key only where the value looks like it."""
    return field in when and (when.at(field)[-1] == field or isinstance(when.value(field), kind))


def _read_texts(when: Table, field: str) -> tuple[str, ...]:
    given = when.value(field)
    texts = [value for value in given if isinstance(value, str)] if isinstance(given, list) else []
    if isinstance(given, list) and 0 < len(given) == len(texts):
        return tuple(sorted(set(texts)))
    when.wrong(field, "a list of at least one string", f"; write [{shown(given)}]" if isinstance(given, str) else "")
    return ()


def _read_range(when: Table, field: str) -> Range | None:
    table = when.table(field, _RANGE, _RANGE_KEYS)
    if table is None:
        return None
    if not list(table):
        when.wrong(field, _RANGE)
    from_, below = (table.number(key, "a number") if key in table else None for key in _RANGE_KEYS)
    if from_ is not None and below is not None and below <= from_:
        table.problem("below", f"must be above from, which is {from_:g}, not {below:g}: nothing would fit")
        return None
    return Range(field, from_, below)
