"""Read a mapping file (TOML): every mistake is reported with its line, and a mapping that exists is valid.

Owns the keys of the file. Must not know records. Called by the commands and programs that map.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any, NamedTuple, cast
from zoneinfo import ZoneInfo

from schemas.events import PROFILE_SOURCE
from schemas.sources import BUILT_IN, Sources
from stream.mapping.expressions import Expression, ExpressionError, compile_expression
from stream.mapping.rules import FieldRule, InputMapping, Origin, Rule, Unit
from stream.mapping.values import is_layout, kinds
from stream.policy.calendar import read_timezone
from stream.policy.errors import Findings, PolicyError, Problem
from stream.policy.lines import key_lines
from stream.policy.table import Table, finite

_FILE_KEYS = ("map", "lookups", "root", "time_unit", "timezone")
_RULE_KEYS = ("name", "from", "when", "root", "to", "copy", "skip", "delete", "time_unit", "timezone", "fields")
_FIELD_KEYS = ("path", "of", "value", "lookup", "default", "unit", "format", "scale", "minor_units", "decimal")
_ORIGINS = ("item", "record", "key", "headers", "all")
_DECIMAL_MARKS = (",", ".")
_UNITS = ("s", "ms", "us", "ns")
_BYTE_ORDER_MARK = "\ufeff"
_EXPRESSION = 'a JMESPath expression, such as "data.object.customer"'
_TIMES = ("time", "started_at", "renewal_at", "expires_at", "until", "ended_at")
PROPERTIES = "properties"


def parse_mapping(text: str, file: str = "mapping.toml", sources: Sources = BUILT_IN) -> InputMapping:
    """The mapping in the text of a file, which messages call `file`. Raises PolicyError with every mistake in it."""
    text = text.removeprefix(_BYTE_ORDER_MARK)
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise PolicyError([Problem(file, None, "TOML", str(error))]) from error
    findings = Findings()
    root = Table(document, (), findings, _FILE_KEYS)
    defaults = _Defaults(_expression(root, "root"), _Times(_unit(root, "time_unit"), _zone(root)))
    reader = _Reader(_lookups(root), defaults, sources)
    expected = "a list of at least one rule, [[map]]"
    rules = [reader.rule(table, number) for number, table in enumerate(root.tables("map", expected, _RULE_KEYS), 1)]
    if findings:
        raise PolicyError(findings.located(file, key_lines(text)))
    return InputMapping(file, tuple(rules))


def _lookups(root: Table) -> dict[str, Mapping[str, Any]]:
    tables = root.names("lookups", "tables of values, [lookups.NAME]")
    lookups: dict[str, Mapping[str, Any]] = {}
    for name in tables:
        table = tables.table(name, "a table of values: what a system writes = what an event has", None)
        if table is not None:
            lookups[name] = _lookup(tables, name, table)
    return lookups


def _lookup(parent: Table, name: str, table: Table) -> Mapping[str, Any]:
    if not len(table):
        parent.problem(name, "a lookup needs at least one value")
    for key in table:
        if isinstance(table.value(key), dict | list):
            table.wrong(key, "a text, number or flag")
    return {key.strip().lower(): table.value(key) for key in table}


class _Times(NamedTuple):
    """The unit of times that are numbers, and the time zone of those without an offset."""

    unit: Unit | None
    zone: ZoneInfo | None


class _Defaults(NamedTuple):
    """What rules of the file have that do not give it."""

    root: Expression | None
    times: _Times


class _Reader:
    """Reads the rules of one file."""

    def __init__(self, lookups: Mapping[str, Mapping[str, Any]], defaults: _Defaults, sources: Sources) -> None:
        self._lookups = lookups
        self._defaults = defaults
        self._sources = sources

    def rule(self, table: Table, number: int) -> Rule:
        """A rule of the file; its name is its number where it has none."""
        source = table.choice("to", self._sources.names, required=False)
        skip, deletes = _flag(table, "skip"), _flag(table, "delete")
        if skip:
            for key in ("to", "copy", "delete", "time_unit", "timezone", "fields"):
                if key in table:
                    table.problem(key, "a rule with skip = true makes no event: remove this key, or skip")
        if deletes and source != PROFILE_SOURCE:
            table.problem("delete", f'only profiles are deleted: set to = "{PROFILE_SOURCE}"')
        by_default = self._defaults.times
        zone = _zone(table) if "timezone" in table else by_default.zone
        times = _Times(_unit(table, "time_unit") or by_default.unit, zone)
        fields = table.names("fields", "a table of fields: field of an event = JMESPath expression")
        if not skip and "copy" not in table and not len(fields):
            table.wrong("fields", "a table of fields: field of an event = JMESPath expression")
        when, when_of = self._when(table)
        return Rule(
            table.text("name", "a name for messages", required=False) or str(number),
            _patterns(table),
            {name: rule for name in fields if (rule := self._field(fields, name, source, times)) is not None},
            source,
            when,
            _expression(table, "root") if "root" in table else self._defaults.root,
            _expression(table, "copy"),
            skip,
            deletes,
            when_of,
        )

    def _when(self, table: Table) -> tuple[Expression | None, Origin]:
        if not isinstance(table.value("when"), dict):
            return _expression(table, "when"), "item"
        condition = table.table("when", _EXPRESSION, ("path", "of"))
        if condition is None or "path" not in condition:
            table.wrong("when", f"{_EXPRESSION}, or a table with path and of")
            return None, "item"
        return _expression(condition, "path"), _origin(condition)

    def _field(self, fields: Table, name: str, source: str | None, times: _Times) -> FieldRule | None:
        if source is not None and source != PROFILE_SOURCE:
            fields.check_name(
                name, name, (*kinds(self._sources[source].event_type), PROPERTIES), f"a field of {source}"
            )
        if isinstance(fields.value(name), str):
            unit, zone = times if name in _TIMES else (None, None)
            return FieldRule(_expression(fields, name), unit=unit, zone=zone)
        table = fields.table(name, f"{_EXPRESSION}, or a table with path", _FIELD_KEYS)
        if table is None:
            return None
        if ("path" in table) == ("value" in table):
            table.problem("path", "a field needs path (an expression) or value (a constant), one of them")
        unit, layout = _unit(table, "unit"), _layout(table)
        is_time = name in _TIMES or unit is not None or layout is not None
        return FieldRule(
            _expression(table, "path"),
            _origin(table),
            table.value("value"),
            self._lookup_of(table),
            table.value("default"),
            times.unit if unit is None and name in _TIMES else unit,
            layout,
            _scale(table),
            _expression(table, "minor_units"),
            table.choice("decimal", _DECIMAL_MARKS, required=False),
            times.zone if is_time else None,
        )

    def _lookup_of(self, table: Table) -> Mapping[str, Any] | None:
        value = table.value("lookup")
        if isinstance(value, dict):
            inline = table.table("lookup", "", None)
            return None if inline is None else _lookup(table, "lookup", inline)
        if isinstance(value, str) and table.check_name("lookup", value, self._lookups, "one of [lookups]"):
            return self._lookups[value]
        if "lookup" in table and not isinstance(value, str):
            table.wrong("lookup", "the name of one of [lookups], or a table of values")
        return None


def _patterns(table: Table) -> tuple[str, ...]:
    value = table.value("from")
    if isinstance(value, str) and value:
        return (value,)
    return table.texts("from", ', such as ["stripe", "stripe-*"]')


def _origin(table: Table) -> Origin:
    return cast("Origin", table.choice("of", _ORIGINS, required=False) or "item")


def _unit(table: Table, key: str) -> Unit | None:
    return cast("Unit | None", table.choice(key, _UNITS, required=False))


def _zone(table: Table) -> ZoneInfo | None:
    name = read_timezone(table)
    return None if name is None else ZoneInfo(name)


def _flag(table: Table, key: str) -> bool:
    value = table.value(key)
    if key in table and not isinstance(value, bool):
        table.wrong(key, "true or false")
    return value is True


def _layout(table: Table) -> str | None:
    expected = 'the layout of a time, as for strptime, such as "%d.%m.%Y"'
    layout = table.text("format", expected, required=False)
    if layout is not None and not is_layout(layout):
        table.wrong("format", expected)
    return layout


def _scale(table: Table) -> float | None:
    scale = finite(table.value("scale"))
    if "scale" in table and scale is None:
        table.wrong("scale", "a number by which the value is multiplied")
    return scale


def _expression(table: Table, key: str) -> Expression | None:
    value = table.value(key)
    if not isinstance(value, str):
        if key in table:
            table.wrong(key, _EXPRESSION)
        return None
    try:
        return compile_expression(value)
    except ExpressionError as error:
        table.problem(key, f"is no JMESPath expression: {error}")
        return None
