"""Read which events a measure counts, and how much each one counts.

Owns the filters `where` and `of`, and `weights` by text. Of statistics it knows only which one takes which key. Called
by the reader of measures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.events import NUMBER_LIMIT
from schemas.fields import CLOSED_VALUES, NUMBER_FIELDS, TEXT_FIELDS
from stream.policy.errors import listed, shown
from stream.policy.table import Number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stream.policy.table import Table

_FILTER = 'a table of text fields with lists of values, such as { kind = ["…"] }'
_WEIGHTS = "a table of one text field, such as { priority = { low = 0.5, urgent = 4 } }"
_VALUES = "a table of at least one value and what it counts for, such as { low = 0.5, urgent = 4 }"
_WEIGHT = Number(
    f"a number from {-NUMBER_LIMIT:g} to {NUMBER_LIMIT:g} (what an event counts for)", -NUMBER_LIMIT, NUMBER_LIMIT
)

Filter = tuple[tuple[str, tuple[str, ...]], ...]
"""Fields with the allowed values of each, both sorted; an event passes if every field has one of its values."""
Weights = tuple[str, tuple[tuple[str, float], ...]]
"""A field, and its values with what an event counts for; sorted by value."""


def read_where(table: Table, source: str | None) -> Filter:
    """The events that a measure counts; empty for all."""
    return _read_filter(table, "where", source) if "where" in table else ()


def read_of(table: Table, stat: str | None, source: str | None) -> Filter:
    """The numerator of a share; empty for other statistics."""
    if "of" not in table and stat != "share":
        return ()
    if table.value("of") == {}:
        table.wrong("of", "a table of at least one text field (which events to count among all)")
    return _read_filter(table, "of", source)


def _read_filter(table: Table, key: str, source: str | None) -> Filter:
    fields = table.table(key, _FILTER, None)
    if fields is None:
        return ()
    for field in fields:
        _check_text_field(fields, field, source)
    texts = [(field, fields.texts(field, printable=False)) for field in fields]
    for field, values in texts:
        _check_values(fields, field, values, source)
    return tuple(sorted((field, tuple(sorted(set(values)))) for field, values in texts if values))


def _check_text_field(table: Table, field: str, source: str | None) -> None:
    if source is None:
        return
    if field in NUMBER_FIELDS[source]:
        allowed = listed(TEXT_FIELDS[source])
        table.problem(field, f"{shown(field)} is a number field of {source}; allowed here: {allowed}")
    else:
        table.check_name(field, field, TEXT_FIELDS[source], f"a text field of {source}")


def _check_values(table: Table, field: str, values: Iterable[str], source: str | None) -> None:
    """Record a value that no event can have, because the source lists those of the field."""
    possible = CLOSED_VALUES[source].get(field) if source is not None else None
    for value in values if possible is not None else ():
        table.check_name(field, value, possible or (), f"a {field} of {source}")


def read_weights(table: Table, stat: str | None, source: str | None) -> Weights | None:
    """What an event counts for, by the value of one text field; None for statistics without weights."""
    if "weights" not in table and stat != "weighted_count":
        return None
    fields = table.table("weights", _WEIGHTS, None)
    if fields is None:
        return None
    if len(fields) != 1:
        table.wrong("weights", _WEIGHTS)
    weights: list[Weights] = []
    for field in fields:
        _check_text_field(fields, field, source)
        values, numbers = fields.numbers(field, _VALUES, _WEIGHT)
        if values is not None:
            _check_values(fields, field, values, source)
            weights.append((field, numbers))
    return weights[0] if weights else None
