"""Apply a mapping: one record of another system to the events that it contains.

Owns the order of rules, and the values that an event has where no rule gives them: its account is the record's key,
its time the record's time, its id the place of the record in its topic or file. Events come out as JSON, so they are
decoded and checked like any other. Pure. Called by `agents.files` and the mapper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from schemas.events import PROFILE_SOURCE
from schemas.sources import Sources
from stream.mapping.expressions import Expression, ExpressionError
from stream.mapping.framing import UnmappedValueError, key_text, unwrap
from stream.mapping.rules import FieldRule, InputMapping, Origin, Rule
from stream.mapping.values import (
    Kind,
    converted,
    decimal_of,
    is_finite,
    kinds,
    minor_units,
    number_of,
    scaled,
    text_of,
    time_of,
    time_text,
)

_NOTHING: Mapping[str, str] = {}
_ACCOUNT = "account_id"
_SHOWN = 8


class ForeignRecord(NamedTuple):
    """A record as it came: decoded JSON (None: it has no value), and what is around it.

    `name` is the topic, or the name of a file without its ending. `origin` is the place of the record, such as
    `stripe-0-17` (topic, partition, offset) or `exports/stripe.csv:17` (path and line); it is unique.
    """

    name: str
    value: Any
    origin: str
    key: bytes | None = None
    time_ms: int | None = None
    headers: Mapping[str, str] = _NOTHING


class MappedEvent(NamedTuple):
    """An event of a source as JSON; `rule` is the rule that made it.

    Where it deletes a profile it has no value: `deletion` is the JSON of its id, account and time.
    """

    source: str
    account: str
    value: bytes | None
    rule: str
    deletion: bytes | None = None


class Mapped(NamedTuple):
    """What came of a record: events, the names of rules that skip it, and problems. All empty: no rule is for it."""

    events: list[MappedEvent]
    skipped: list[str]
    problems: list[str]


def apply_mapping(mapping: InputMapping, record: ForeignRecord, sources: Sources) -> Mapped:
    """The events of a record, of every rule that is for it or for one of its items.

    A record without a value is a tombstone: only rules that delete or skip are for it.
    """
    mapped = Mapped([], [], [])
    reader = _Reader(record, sources)
    for rule in mapping.rules:
        if not rule.reads(record.name) or (record.value is None and not rule.deletes and not rule.skip):
            continue
        try:
            items = reader.items(rule.root)
        except ExpressionError as error:
            mapped.problems.append(f"root of rule {rule.name} of {mapping.file}: {error}")
            continue
        for item in items:
            try:
                _apply(rule, reader, item, mapped)
            except (ExpressionError, _ProblemError) as error:
                mapped.problems.append(f"rule {rule.name} of {mapping.file}: {error}")
    return mapped


def no_rule(mapping: InputMapping, value: Any) -> str:
    """Say that no rule is for a record, and which fields it has, as a person would look for what `when` could ask."""
    if isinstance(value, dict):
        shape = f"its fields are {', '.join(list(value)[:_SHOWN])}{', …' if len(value) > _SHOWN else ''}"
    else:
        shape = f"it is of type {type(value).__name__}, not an object"
    return f"no rule of {mapping.file} is for this record: {shape}"


class _ProblemError(ValueError):
    """An element that a rule is for and cannot map."""


class _Reader:
    """A record, with its decoded key and its elements, each computed at most once."""

    def __init__(self, record: ForeignRecord, sources: Sources) -> None:
        self.record = record
        self.sources = sources
        self._items: dict[Expression, Sequence[Any]] = {}

    def items(self, root: Expression | None) -> Sequence[Any]:
        if root is None:
            return (self.record.value,)
        items = self._items.get(root)
        if items is None:
            self._items[root] = ()  # so that a root that fails is a problem once
            value = root(self.record.value)
            items = value if isinstance(value, list) else () if value is None else (value,)
            self._items[root] = items
        return items

    def look(self, origin: Origin, item: Any) -> Any:
        """What an expression looks at."""
        if origin == "item":
            return item
        if origin == "key":
            return self.key
        if origin == "headers":
            return self.record.headers
        if origin == "record":
            return self.record.value
        return {
            "item": item,
            "record": self.record.value,
            "key": self.key,
            "headers": self.record.headers,
            "name": self.record.name,
        }

    @cached_property
    def key(self) -> Any:
        """The key: its JSON, also framed or in an envelope, else its text."""
        try:
            return unwrap(self.record.key) if self.record.key else None
        except UnmappedValueError:
            return key_text(self.record.key)

    def account(self, source: str) -> str | None:
        """The account that the key names: a text or whole number, or `account_id` of an object.

        The one member of a key of `accounts` is the account as well, such as `{"id": 1}`.
        """
        key = self.key
        if isinstance(key, dict):
            only = next(iter(key.values())) if len(key) == 1 and source == PROFILE_SOURCE else None
            key = key.get(_ACCOUNT, only)
        if key is None or isinstance(key, dict | list):
            return None
        text = text_of(key)
        return text if isinstance(text, str) else key_text(self.record.key)


def _apply(rule: Rule, reader: _Reader, item: Any, mapped: Mapped) -> None:
    if rule.when is not None and not _is_true(rule.when(reader.look(rule.when_of, item))):
        return
    if rule.skip:
        mapped.skipped.append(rule.name)
        return
    suffix = f"-{len(mapped.events)}" if mapped.events else ""
    mapped.events.append(_event(rule, reader, item, suffix))


def _is_true(value: Any) -> bool:
    """As JMESPath decides: false, null and whatever is empty are not true; the number 0 is."""
    return value is not None and value is not False and value not in ("", [], {})


def source_of(name: str, sources: Sources) -> str | None:
    """The source of a topic or file: that of the topic, or that it is called after.

    A name may have a prefix with dots, and `_` for `-`, such as `shop.public.product_usage`.
    """
    of_topic = sources.of_topics.get(name)
    if of_topic is not None:
        return of_topic.name
    last = name.rpartition(".")[2]
    return next((each for each in (name, last, last.replace("_", "-")) if each in sources), None)


def _event(rule: Rule, reader: _Reader, item: Any, suffix: str) -> MappedEvent:
    record, sources = reader.record, reader.sources
    source = rule.source or source_of(record.name, sources)
    if source is None or source not in sources:
        known = ", ".join(sources.names)
        message = f"the source of {record.name!r} is not known: set `to` to one of {known}"
        raise _ProblemError(message)
    event = _fields(rule, reader, item, kinds(sources[source].event_type))
    if event.get(_ACCOUNT) is None:
        event[_ACCOUNT] = reader.account(source)
    for name, fallback in (("time", record.time_ms), ("id", f"{record.origin}{suffix}")):
        if event.get(name) is None:
            event[name] = fallback
    account = event[_ACCOUNT]
    if not isinstance(account, str):
        key = "the record has no key" if record.key is None else "the key of the record names none"
        message = f"it has no account: {account!r} is no {_ACCOUNT}, and {key}"
        raise _ProblemError(message)
    for name, content in event.items():
        if not is_finite(content):
            raise _ProblemError(f"{name} is {content}, which is not a finite number")
    if rule.deletes:
        deletion = msgspec.json.encode({name: event[name] for name in ("id", _ACCOUNT, "time")})
        return MappedEvent(source, account, None, rule.name, deletion)
    # Only what is copied can be null, and for a profile that clears a field.
    value = {name: content for name, content in event.items() if content is not None or source == PROFILE_SOURCE}
    return MappedEvent(source, account, msgspec.json.encode(value), rule.name)


def _fields(rule: Rule, reader: _Reader, item: Any, of_source: Mapping[str, Kind]) -> dict[str, Any]:
    event: dict[str, Any] = {}
    copied = None if rule.copy is None else rule.copy(item)
    if isinstance(copied, dict):
        event = {name: converted(value, of_source.get(name, "any")) for name, value in copied.items()}
    for name, field in rule.fields.items():
        value = _value(field, reader.look(field.of, item), of_source.get(name, "any"))
        if value is not None:
            event[name] = value
    return event


def _value(field: FieldRule, looked_at: Any, kind: Kind) -> Any:
    value = field.value if field.path is None else field.path(looked_at)
    if field.lookup is not None and value is not None:
        value = _looked_up(field, value)
    if value is None or value == "":
        value = field.default
    if value is None:
        return None
    if field.unit is not None or field.format is not None:
        time_ms = time_of(value, field.unit, field.format)
        return time_text(time_ms) if kind == "any" else time_ms
    value = converted(value if field.decimal is None else decimal_of(value, field.decimal), kind)
    if field.minor_units is not None:
        value = minor_units(number_of(value), field.minor_units(looked_at))
    if field.scale is not None:
        value = scaled(number_of(value), field.scale)
    return value


def _looked_up(field: FieldRule, value: Any) -> Any:
    """The value in a lookup table; letter case and blanks around a text do not matter.

    What the table does not have is None if the field has a default, else the value itself.
    """
    text = text_of(value)
    other = value if field.default is None else None
    return (field.lookup or {}).get(text.lower(), other) if isinstance(text, str) else other


def merged(mappings: Sequence[InputMapping]) -> InputMapping:
    """The rules of several mappings as one."""
    return InputMapping(
        ", ".join(each.file for each in mappings), tuple(rule for each in mappings for rule in each.rules)
    )
