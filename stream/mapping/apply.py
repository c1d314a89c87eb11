"""Apply a mapping: one record of another system to the events that it contains.

Owns the order of rules and which of them are for a record; how an event is made is `stream.mapping.binding`. Events
come out as JSON, so they are decoded and checked like any other. Pure. Called by `agents.files` and the mapper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from schemas.sources import Sources
from stream.mapping.binding import MakeEvent, MappedEvent, ProblemError, bind
from stream.mapping.expressions import Expression, ExpressionError
from stream.mapping.reader import LOOKS, Foreign, Reader
from stream.mapping.rules import InputMapping, Rule

_NOTHING: Mapping[str, str] = {}
_SHOWN = 8


class ForeignRecord(NamedTuple):
    """A record as it came, as a plain value."""

    name: str
    value: Any
    origin: str
    key: bytes | None = None
    time_ms: int | None = None
    headers: Mapping[str, str] = _NOTHING


class Mapped(NamedTuple):
    """What came of a record: events, the names of rules that skip it, and problems. All empty: no rule is for it."""

    events: list[MappedEvent]
    skipped: list[str]
    problems: list[str]


class BoundMapping:
    """A mapping for the sources of a deployment. Make it once: it decides what does not change between records."""

    def __init__(self, mapping: InputMapping, sources: Sources) -> None:
        """Bind nothing yet: which rules read a record depends on its topic or file."""
        self.mapping = mapping
        self.sources = sources
        self._of_names: dict[str, list[_Bound]] = {}

    def apply(self, record: Foreign) -> Mapped:
        """The events of a record, of every rule that is for it or for one of its items.

        A record without a value is a tombstone: only rules that delete or skip are for it.
        """
        mapped = Mapped([], [], [])
        name, value = record.name, record.value
        rules = self._of_names.get(name)
        if rules is None:
            rules = self._of_names[name] = self._bound(name)
        reader = Reader(record)
        for rule in rules:
            if value is not None or rule.for_tombstones:
                self._apply(rule, reader, mapped)
        return mapped

    def _apply(self, bound: _Bound, reader: Reader, mapped: Mapped) -> None:
        rule, when, look, make, _ = bound
        try:
            items = (reader.record.value,) if rule.root is None else reader.items(rule.root)
        except ExpressionError as error:
            mapped.problems.append(f"root of rule {rule.name} of {self.mapping.file}: {error}")
            return
        for item in items:
            try:
                if when is not None and not _is_true(when(item if look is None else look(reader, item))):
                    continue
                if rule.skip:
                    mapped.skipped.append(rule.name)
                else:
                    suffix = f"-{len(mapped.events)}" if mapped.events else ""
                    mapped.events.append(make(reader, item, suffix))
            except (ExpressionError, ProblemError) as error:
                mapped.problems.append(f"rule {rule.name} of {self.mapping.file}: {error}")

    def _bound(self, name: str) -> list[_Bound]:
        return [
            _Bound(rule, rule.when, LOOKS.get(rule.when_of), self._maker(rule, name), rule.deletes or rule.skip)
            for rule in self.mapping.rules
            if rule.reads(name)
        ]

    def _maker(self, rule: Rule, name: str) -> MakeEvent:
        source = rule.source or source_of(name, self.sources)
        if source is not None and source in self.sources:
            return bind(rule, self.sources[source])
        known = ", ".join(self.sources.names)
        message = f"the source of {name!r} is not known: set `to` to one of {known}"

        def refuse(_reader: Reader, _item: Any, _suffix: str) -> MappedEvent:
            raise ProblemError(message)

        return refuse


class _Bound(NamedTuple):
    """A rule for the records of a topic or file, what its `when` looks at (None: the item), and what makes events."""

    rule: Rule
    when: Expression | None
    when_look: Callable[[Reader, Any], Any] | None
    make: MakeEvent
    for_tombstones: bool


def no_rule(mapping: InputMapping, value: Any) -> str:
    """Say that no rule is for a record, and which fields it has, as a person would look for what `when` could ask."""
    if isinstance(value, dict):
        shape = f"its fields are {', '.join(list(value)[:_SHOWN])}{', …' if len(value) > _SHOWN else ''}"
    else:
        shape = f"it is of type {type(value).__name__}, not an object"
    return f"no rule of {mapping.file} is for this record: {shape}"


def _is_true(value: Any) -> bool:
    """As JMESPath decides: false, null and whatever is empty are not true; the number 0 is."""
    return value is True or (value is not None and value is not False and value not in ("", [], {}))


def source_of(name: str, sources: Sources) -> str | None:
    """The source of a topic or file: that of the topic, or that it is called after.

    A name may have a prefix with dots, and `_` for `-`, such as `shop.public.product_usage`.
    """
    of_topic = sources.of_topics.get(name)
    if of_topic is not None:
        return of_topic.name
    last = name.rpartition(".")[2]
    return next((each for each in (name, last, last.replace("_", "-")) if each in sources), None)


def merged(mappings: Sequence[InputMapping]) -> InputMapping:
    """The rules of several mappings as one."""
    return InputMapping(
        ", ".join(each.file for each in mappings), tuple(rule for each in mappings for rule in each.rules)
    )
