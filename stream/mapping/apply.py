"""Apply a mapping: one record of another system to the events that it contains.

Owns the order of rules and which of them are for a record; how an event is made is `stream.mapping.binding`. Events
come out as JSON, so they are decoded and checked like any other. Pure. Called by `agents.files` and the mapper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from schemas.sources import Source, Sources
from stream.mapping.binding import MakeEvent, MappedEvent, ProblemError, bind, is_true
from stream.mapping.compiled import Evaluate
from stream.mapping.expressions import ExpressionError
from stream.mapping.polled import PolledRules, polled_rules
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


class Mapped(msgspec.Struct):
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
        self._polled: dict[str, PolledRules | None] = {}

    def apply(self, record: Foreign) -> Mapped:
        """The events of a record, of every rule that is for it or for one of its items.

        A record without a value is a tombstone: only rules that delete or skip are for it.
        """
        name = record.name
        rules = self._of_names.get(name)
        if rules is None:
            rules = self._of_names[name] = self._bound(name)
        mapped = Mapped([], [], [])
        value, reader = record.value, Reader(record)
        for rule in rules:
            if value is not None or rule.for_tombstones:
                self._apply(rule, reader, mapped)
        return mapped

    def polled(self, name: str) -> PolledRules | None:
        """The rules for the records of a topic as they are applied to a poll; None if they cannot be.

        What they leave to others is for `apply`.
        """
        if name not in self._polled:
            self._polled[name] = polled_rules([(rule, self._source(rule, name)) for rule in self._reading(name)])
        return self._polled[name]

    def _apply(self, bound: _Bound, reader: Reader, mapped: Mapped) -> None:
        rule, when, look, make, _ = bound
        try:
            items = (reader.record.value,) if rule.root is None else reader.items(rule.root)
        except ExpressionError as error:
            mapped.problems.append(f"root of rule {rule.name} of {self.mapping.file}: {error}")
            return
        for item in items:
            try:
                if when is not None and not is_true(when(item if look is None else look(reader, item))):
                    continue
                if rule.skip:
                    mapped.skipped.append(rule.name)
                else:
                    suffix = f"-{len(mapped.events)}" if mapped.events else ""
                    mapped.events.append(make(reader, item, suffix))
            except (ExpressionError, ProblemError) as error:
                mapped.problems.append(f"rule {rule.name} of {self.mapping.file}: {error}")

    def _reading(self, name: str) -> list[Rule]:
        return [rule for rule in self.mapping.rules if rule.reads(name)]

    def _bound(self, name: str) -> list[_Bound]:
        return [
            _Bound(
                rule,
                None if rule.when is None else rule.when.evaluate,
                LOOKS.get(rule.when_of),
                self._maker(rule, name),
                rule.deletes or rule.skip,
            )
            for rule in self._reading(name)
        ]

    def _source(self, rule: Rule, name: str) -> Source | None:
        source = rule.source or source_of(name, self.sources)
        return self.sources[source] if source is not None and source in self.sources else None

    def _maker(self, rule: Rule, name: str) -> MakeEvent:
        source = self._source(rule, name)
        if source is not None:
            return bind(rule, source)
        known = ", ".join(self.sources.names)
        message = f"the source of {name!r} is not known: set `to` to one of {known}"

        def refuse(_reader: Reader, _item: Any, _suffix: str) -> MappedEvent:
            raise ProblemError(message)

        return refuse


class _Bound(NamedTuple):
    """A rule for the records of a topic or file, what its `when` looks at (None: the item), and what makes events."""

    rule: Rule
    when: Evaluate | None
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
