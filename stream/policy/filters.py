"""Read which events a measure counts, and how much each one counts.

Owns the filters `where` and `of`, and `weights` by text. Of statistics it knows only which one takes which key. Called
by the reader of measures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from schemas.events import NUMBER_LIMIT
from schemas.properties import property_name
from stream.policy.errors import listed, shown
from stream.policy.fields import account_field, fields_of
from stream.policy.table import Number
from stream.policy.windows import OPEN_STATS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.sources import Source
    from stream.policy.table import Table

_FILTER = 'a table of fields with conditions, such as { kind = ["…"] } or { score = { from = 9 } }'
TEXT_KEYS = ("in", "not", "prefix", "exists")
_NUMBER_KEYS = ("from", "below", "exists")
_TEXT = 'a condition such as { in = ["…"] }, { not = ["…"] }, { prefix = "…" } or { exists = true }'
_NUMBER = "a condition such as { from = 9 }, { below = 7 }, { from = 7, below = 9 } or { exists = true }"
_OF_ACCOUNT = "account.NAME is a field of the account, not of an event: put this condition into when, beside where"
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


def read_where(table: Table, source: Source | None) -> Filter:
    """The events that a measure counts; empty for all."""
    return _read_filter(table, "where", source) if "where" in table else ()


def read_of(table: Table, stat: str | None, source: Source | None) -> Filter:
    """The numerator of a share, or the events that leave a thing open; empty for other statistics."""
    if "of" not in table and stat not in ("share", *OPEN_STATS):
        return ()
    if table.value("of") == {}:
        which = "which latest events mean that it is open" if stat in OPEN_STATS else "which events to count among all"
        table.wrong("of", f"a table of at least one field ({which})")
    return _read_filter(table, "of", source)


def both(first: Filter, second: Filter) -> Filter:
    """The filter that passes the events that both filters pass."""
    return tuple(sorted((*first, *second), key=_order))


def _order(condition: Condition) -> tuple[str, int, tuple[object, ...]]:
    return condition[0], len(condition), condition[1:]


def _read_filter(table: Table, key: str, source: Source | None) -> Filter:
    fields = table.table(key, _FILTER, None)
    if fields is None:
        return ()
    conditions: list[Condition] = []
    for inside, spelled, field in fields_of(fields):
        if field is not None and (field == "account" or account_field(field) is not None):
            fields.problem(spelled, _OF_ACCOUNT)
        elif field is not None:
            conditions += _read_field(inside, spelled, field, source)
    return tuple(sorted(conditions, key=_order))


def _read_field(fields: Table, key: str, field: str, source: Source | None) -> list[Condition]:
    """The conditions on one field, in `key`; what is wrong is recorded."""
    is_number = source is not None and field in source.numbers
    if source is not None and not is_number and property_name(field) is None:
        fields.check_name(key, field, (*source.texts, *source.numbers), f"a field of {source.name}")
    value = fields.value(key)
    if isinstance(value, dict):
        keys = _NUMBER_KEYS if is_number else _keys(field, source)
        return _read_operators(fields, key, field, keys, _closed(field, source))
    if is_number:
        fields.wrong(key, _NUMBER, ": it is a number field")
        return []
    texts = fields.texts(key, printable=False)
    _check_values(fields, key, texts, _closed(field, source))
    return [(field, _unique(texts))] if texts else []


def _keys(field: str, source: Source | None) -> tuple[str, ...]:
    """Operators of a field that is not a number field of its source; any operator if it is not known to be a text."""
    known = source is not None and field in source.texts
    return TEXT_KEYS if known else tuple(dict.fromkeys((*TEXT_KEYS, *_NUMBER_KEYS)))


def _closed(field: str, source: Source | None) -> tuple[str, ...]:
    """The only values that a field can have; empty if it can have any."""
    return () if source is None else source.closed.get(field, ())


def _check_values(table: Table, key: str, values: Iterable[str], possible: tuple[str, ...]) -> None:
    """Record a value that no event can have; `possible` is empty if there is no such list."""
    for value in values if possible else ():
        table.check_name(key, value, possible, "a value of this field")


def _read_operators(
    fields: Table, key: str, field: str, keys: tuple[str, ...], possible: tuple[str, ...]
) -> list[Condition]:
    """The conditions on one field, which has one of the `possible` values if there are any; mistakes are recorded."""
    expected = _NUMBER if keys == _NUMBER_KEYS else _TEXT
    table = fields.table(key, expected, keys)
    if table is None:
        return []
    if not len(table):
        fields.wrong(key, expected)
    conditions = text_conditions(table, field, possible) if "in" in keys else []
    from_, below = (table.number(end, _LIMIT, required=False) if end in keys else None for end in ("from", "below"))
    if from_ is not None and below is not None and below <= from_:
        table.wrong("below", f"above from, which is {from_:g}", ": no event would pass")
    conditions += [] if from_ is None else [(field, "from", from_)]
    conditions += [] if below is None else [(field, "below", below)]
    conditions += read_exists(table, field)
    return conditions


def text_conditions(table: Table, field: str, possible: tuple[str, ...] = ()) -> list[Condition]:
    """The conditions `in`, `not` and `prefix` on a text field; `possible` are its values if it can have no others."""
    conditions: list[Condition] = []
    if allowed := table.texts("in", printable=False):
        conditions.append((field, _unique(allowed)))
        _check_values(table, "in", allowed, possible)
    if excluded := table.texts("not", printable=False):
        conditions.append((field, "not", _unique(excluded)))
        _check_values(table, "not", excluded, possible)
    if prefixes := _read_prefixes(table):
        conditions.append((field, "prefix", prefixes))
        begins = [prefix for prefix in prefixes if not any(value.startswith(prefix) for value in possible)]
        if possible and begins:
            table.wrong("prefix", f"the beginning of one of {listed(possible)}")
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


def read_exists(table: Table, field: str) -> list[Condition]:
    """The condition `exists` on a field; false must be its only one."""
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


def _check_text_field(table: Table, field: str, source: Source | None) -> None:
    if source is None:
        return
    if field in source.numbers:
        allowed = listed(source.texts)
        table.problem(field, f"{shown(field)} is a number field of {source.name}; allowed here: {allowed}")
    else:
        table.check_name(field, field, source.texts, f"a text field of {source.name}")


def read_weights(table: Table, stat: str | None, source: Source | None) -> Weights | None:
    """What an event counts for, by the value of one text field; None for statistics without weights."""
    if "weights" not in table and stat != "weighted_count":
        return None
    fields = table.table("weights", _WEIGHTS, None)
    if fields is None:
        return None
    if len(fields) != 1:
        table.wrong("weights", _WEIGHTS)
    weights: list[Weights] = []
    for inside, key, field in fields_of(fields):
        if field is None:
            continue
        if property_name(field) is None:
            _check_text_field(inside, key, source)
        values, numbers = inside.numbers(key, _VALUES, _WEIGHT)
        if values is not None:
            _check_values(inside, key, values, _closed(field, source))
            weights.append((field, numbers))
    return weights[0] if weights else None
