"""Read which events a measure counts, and how much each one counts.

Owns the filters `where` and `of`, and `weights` by text. Of statistics it knows only which one takes which key. Called
by the reader of measures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from schemas.events import NUMBER_LIMIT
from schemas.fields import CLOSED_VALUES, NUMBER_FIELDS, TEXT_FIELDS
from stream.policy.errors import listed, shown
from stream.policy.table import Number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stream.policy.table import Table

_FILTER = 'a table of fields with conditions, such as { kind = ["…"] } or { score = { from = 9 } }'
_TEXT_KEYS = ("in", "not", "prefix", "exists")
_NUMBER_KEYS = ("from", "below", "exists")
_TEXT = 'a condition such as { in = ["…"] }, { not = ["…"] }, { prefix = "…" } or { exists = true }'
_NUMBER = "a condition such as { from = 9 }, { below = 7 }, { from = 7, below = 9 } or { exists = true }"
_WEIGHTS = "a table of one text field, such as { priority = { low = 0.5, urgent = 4 } }"
_VALUES = "a table of at least one value and what it counts for, such as { low = 0.5, urgent = 4 }"
_LIMIT = Number("a number")
_WEIGHT = Number(
    f"a number from {-NUMBER_LIMIT:g} to {NUMBER_LIMIT:g} (what an event counts for)", -NUMBER_LIMIT, NUMBER_LIMIT
)

Operator = Literal["in", "not", "prefix", "from", "below", "exists"]
Operand = tuple[str, ...] | float | bool
Condition = tuple[str, tuple[str, ...]] | tuple[str, Operator, Operand]
"""A field with the values it may have, or a field, an operator and its operand. It is part of digests and column names.

- `not`: the field has none of these values, or no value. `prefix`: it begins with one of these texts.
- `from`, `below`: the field is a number of at least, or less than, this. `exists`: whether it has a value.
"""
Filter = tuple[Condition, ...]
"""Conditions, sorted; an event passes if it meets all of them."""
Weights = tuple[str, tuple[tuple[str, float], ...]]
"""A field, and its values with what an event counts for; sorted by value."""


def parts_of(condition: Condition) -> tuple[str, Operator, Operand]:
    """Field, operator and operand of a condition; the operator of one that only lists values is `in`."""
    match condition:
        case (field, values):
            return field, "in", values
        case _:
            return condition


def read_where(table: Table, source: str | None) -> Filter:
    """The events that a measure counts; empty for all."""
    return _read_filter(table, "where", source) if "where" in table else ()


def read_of(table: Table, stat: str | None, source: str | None) -> Filter:
    """The numerator of a share; empty for other statistics."""
    if "of" not in table and stat != "share":
        return ()
    if table.value("of") == {}:
        table.wrong("of", "a table of at least one field (which events to count among all)")
    return _read_filter(table, "of", source)


def both(first: Filter, second: Filter) -> Filter:
    """The filter that passes the events that both filters pass."""
    return tuple(sorted((*first, *second), key=_order))


def _order(condition: Condition) -> tuple[str, int, tuple[object, ...]]:
    return condition[0], len(condition), condition[1:]


def _read_filter(table: Table, key: str, source: str | None) -> Filter:
    fields = table.table(key, _FILTER, None)
    if fields is None:
        return ()
    conditions: list[Condition] = []
    for field in fields:
        is_number = source is not None and field in NUMBER_FIELDS[source]
        if source is not None and not is_number:
            fields.check_name(field, field, (*TEXT_FIELDS[source], *NUMBER_FIELDS[source]), f"a field of {source}")
        value = fields.value(field)
        if isinstance(value, dict):
            keys = _NUMBER_KEYS if is_number else _keys(field, source)
            conditions += _read_operators(fields, field, keys, _closed(field, source))
        elif is_number:
            fields.wrong(field, _NUMBER, ": it is a number field")
        else:
            texts = fields.texts(field, printable=False)
            conditions += [(field, _unique(texts))] if texts else []
            _check_values(fields, field, texts, _closed(field, source))
    return tuple(sorted(conditions, key=_order))


def _keys(field: str, source: str | None) -> tuple[str, ...]:
    """Operators of a field that is not a number field of its source; any operator if it is not known to be a text."""
    known = source is not None and field in TEXT_FIELDS[source]
    return _TEXT_KEYS if known else tuple(dict.fromkeys((*_TEXT_KEYS, *_NUMBER_KEYS)))


def _closed(field: str, source: str | None) -> tuple[str, ...]:
    """The only values that a field can have; empty if it can have any."""
    return () if source is None else CLOSED_VALUES[source].get(field, ())


def _check_values(table: Table, key: str, values: Iterable[str], possible: tuple[str, ...]) -> None:
    """Record a value that no event can have; `possible` is empty if there is no such list."""
    for value in values if possible else ():
        table.check_name(key, value, possible, "a value of this field")


def _read_operators(fields: Table, field: str, keys: tuple[str, ...], possible: tuple[str, ...]) -> list[Condition]:
    """The conditions on one field, which has one of the `possible` values if there are any; mistakes are recorded."""
    expected = _NUMBER if keys == _NUMBER_KEYS else _TEXT
    table = fields.table(field, expected, keys)
    if table is None:
        return []
    if not len(table):
        fields.wrong(field, expected)
    conditions: list[Condition] = []
    if "in" in keys and (allowed := table.texts("in", printable=False)):
        conditions.append((field, _unique(allowed)))
        _check_values(table, "in", allowed, possible)
    if "not" in keys and (excluded := table.texts("not", printable=False)):
        conditions.append((field, "not", _unique(excluded)))
        _check_values(table, "not", excluded, possible)
    if "prefix" in keys and (prefixes := _read_prefixes(table)):
        conditions.append((field, "prefix", prefixes))
        begins = [prefix for prefix in prefixes if not any(value.startswith(prefix) for value in possible)]
        if possible and begins:
            table.wrong("prefix", f"the beginning of one of {listed(possible)}")
    from_, below = (table.number(key, _LIMIT, required=False) if key in keys else None for key in ("from", "below"))
    if from_ is not None and below is not None and below <= from_:
        table.wrong("below", f"above from, which is {from_:g}", ": no event would pass")
    conditions += [] if from_ is None else [(field, "from", from_)]
    conditions += [] if below is None else [(field, "below", below)]
    conditions += _read_exists(table, field)
    return conditions


def _read_prefixes(table: Table) -> tuple[str, ...]:
    """One text, or a list of them; an empty one would pass everything."""
    value = table.value("prefix")
    prefixes = value if isinstance(value, list) else [value]
    texts = tuple(text for text in prefixes if isinstance(text, str) and text)
    if "prefix" in table and not 0 < len(texts) == len(prefixes):
        table.wrong("prefix", "a text that is not empty, or a list of such texts")
        return ()
    return _unique(texts)


def _read_exists(table: Table, field: str) -> list[Condition]:
    value = table.value("exists")
    if "exists" not in table:
        return []
    if not isinstance(value, bool):
        table.wrong("exists", "true or false")
        return []
    if not value and len(table) > 1:
        table.problem("exists", "exists = false must be the only condition of its field: remove the others")
        return []
    return [(field, "exists", value)]


def _unique(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(texts)))


def _check_text_field(table: Table, field: str, source: str | None) -> None:
    if source is None:
        return
    if field in NUMBER_FIELDS[source]:
        allowed = listed(TEXT_FIELDS[source])
        table.problem(field, f"{shown(field)} is a number field of {source}; allowed here: {allowed}")
    else:
        table.check_name(field, field, TEXT_FIELDS[source], f"a text field of {source}")


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
            _check_values(fields, field, values, _closed(field, source))
            weights.append((field, numbers))
    return weights[0] if weights else None
