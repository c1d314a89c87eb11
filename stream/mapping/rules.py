"""What a mapping is: rules that say which records become which events, as data.

Owns the types. Must not know TOML, nor how a rule is applied. Made by `stream.mapping.reading`, used by
`stream.mapping.apply`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from fnmatch import fnmatchcase
from typing import Any, Literal

from stream.mapping.expressions import Expression

Origin = Literal["item", "record", "key", "headers", "all"]
"""What an expression looks at: the element that the rule's `root` gives, the whole record, its key, or its headers.

`all` is an object of these four and `name`, the topic or file.
"""
Unit = Literal["s", "ms", "us", "ns"]


@dataclass(frozen=True, slots=True)
class FieldRule:
    """Where the value of one field of an event comes from."""

    path: Expression | None = None
    of: Origin = "item"
    value: Any = None
    """A constant, where there is no `path`."""
    lookup: Mapping[str, Any] | None = None
    default: Any = None
    """The value where the path gives none, and where the lookup does not have what it gives."""
    unit: Unit | None = None
    format: str | None = None
    scale: float | None = None
    minor_units: Expression | None = None
    """The currency of an amount in its smallest unit, such as cents."""
    decimal: str | None = None
    """The decimal mark of a number in a text."""
    zone: tzinfo | None = None
    """The time zone of times without an offset; None: UTC."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Which records become which event. `source` None: that of the record's topic or file."""

    name: str
    topics: tuple[str, ...]
    """Patterns of topics and of names of files, with `*`; empty: all."""
    fields: Mapping[str, FieldRule]
    source: str | None = None
    when: Expression | None = None
    root: Expression | None = None
    """The elements of a record, such as those of a page; without it the record is the only one."""
    copy: Expression | None = None
    skip: bool = False
    deletes: bool = False
    when_of: Origin = "item"
    """What `when` looks at."""

    def changed(self, change: Callable[[Expression, Origin], Expression]) -> Rule:
        """The same with other expressions, which all look at the item; `root` is not changed."""

        def other(expression: Expression | None, origin: Origin) -> Expression | None:
            return None if expression is None else change(expression, origin)

        def field(rule: FieldRule) -> FieldRule:
            path, currency = other(rule.path, rule.of), other(rule.minor_units, rule.of)
            return replace(rule, path=path, minor_units=currency, of="item")

        when, copy = other(self.when, self.when_of), other(self.copy, "item")
        fields = {name: field(rule) for name, rule in self.fields.items()}
        return replace(self, when=when, copy=copy, when_of="item", fields=fields)

    def reads(self, name: str) -> bool:
        """Whether the rule is for records of this topic or file."""
        return not self.topics or any(fnmatchcase(name, pattern) for pattern in self.topics)


@dataclass(frozen=True, slots=True)
class InputMapping:
    """The rules of one or more mapping files, in their order."""

    file: str
    rules: tuple[Rule, ...]

    def reads(self, name: str) -> bool:
        """Whether any rule is for records of this topic or file."""
        return any(rule.reads(name) for rule in self.rules)
