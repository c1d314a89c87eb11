"""Read which events a measure takes and what each counts for.

Owns filters (`where`, `of`) and `weights` by text. Must not know of statistics beyond which takes which key. Called by
the reader of measures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.events import NUMBER_LIMIT
from schemas.fields import NUMBER_FIELDS, TEXT_FIELDS
from stream.policy.errors import did_you_mean, listed, shown

if TYPE_CHECKING:
    from stream.policy.table import Table

_COUNTS_FOR = "a table of at least one value and what it counts for, such as { low = 0.5, urgent = 4 }"

Filter = tuple[tuple[str, tuple[str, ...]], ...]
"""Fields with the values allowed in each, both sorted; an event passes when every field has one of its values."""
Weights = tuple[str, tuple[tuple[str, float], ...]]
"""A field and, by value, what an event with it counts for; sorted by value."""


def read_where(table: Table, source: str | None) -> Filter:
    """The events a measure takes; empty for all."""
    return _read_filter(table, "where", source) if "where" in table else ()


def read_of(table: Table, stat: str | None, source: str | None) -> Filter:
    """The numerator of a share."""
    if "of" not in table and stat != "share":
        return ()
    found = _read_filter(table, "of", source)
    if table.value("of") == {}:
        table.wrong("of", "a table of at least one text field: which events to count among all")
    return found


def _read_filter(table: Table, key: str, source: str | None) -> Filter:
    """A table of text fields with lists of values; what is wrong is noted and left out."""
    fields = table.table(key, 'a table of text fields with lists of values, such as { kind = ["…"] }', None)
    found: list[tuple[str, tuple[str, ...]]] = []
    if fields is None:
        return ()
    for field in fields:
        _check_text_field(fields, field, source)
        values = fields.value(field)
        texts = [value for value in values if isinstance(value, str)] if isinstance(values, list) else []
        if isinstance(values, list) and 0 < len(values) == len(texts):
            found.append((field, tuple(sorted(set(texts)))))
        else:
            hint = f"; write [{shown(values)}]" if isinstance(values, str) else ""
            fields.wrong(field, "a list of at least one string", hint)
    return tuple(sorted(found))


def _check_text_field(table: Table, field: str, source: str | None) -> None:
    if source is None or field in TEXT_FIELDS[source]:
        return
    allowed = TEXT_FIELDS[source]
    if field in NUMBER_FIELDS[source]:
        table.problem(field, f"{shown(field)} is a number field of {source}; text fields: {listed(allowed)}")
    else:
        guess = did_you_mean(field, allowed) or ";"
        table.problem(field, f"{shown(field)} is not a text field of {source}{guess} allowed: {listed(allowed)}")


def read_weights(table: Table, stat: str | None, source: str | None) -> Weights | None:
    """What an event counts for, by one of its texts; None where the statistic has no weights."""
    if "weights" not in table and stat != "weighted_count":
        return None
    expected = "a table of one text field, such as { priority = { low = 0.5, urgent = 4 } }"
    fields = table.table("weights", expected, None)
    if fields is None:
        return None
    if len(list(fields)) != 1:
        table.wrong("weights", expected)
    found: list[Weights] = []
    for field in fields:
        _check_text_field(fields, field, source)
        values = fields.table(field, _COUNTS_FOR, None)
        if values is None:
            continue
        if not list(values):
            fields.wrong(field, _COUNTS_FOR)
        limits = f"a number from {-NUMBER_LIMIT:g} to {NUMBER_LIMIT:g}: what an event counts for"
        numbers = [(value, values.number(value, limits, -NUMBER_LIMIT, NUMBER_LIMIT)) for value in values]
        found.append((field, tuple(sorted((value, number) for value, number in numbers if number is not None))))
    return found[0] if found else None
