"""Rules bound to a source: what does not change from record to record is decided once, and a field is one function.

Owns how the value of a field is computed, and the fields that an event has where no rule gives them: its account is the
record's key, its time the record's time, its id the place of the record in its topic or file. Must not know the order
of rules. Called by `stream.mapping.apply`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Any

import msgspec

from schemas.events import PROFILE_SOURCE
from schemas.sources import Source
from stream.mapping.compiled import Evaluate
from stream.mapping.reader import LOOKS, Reader
from stream.mapping.rules import FieldRule, Rule, Unit
from stream.mapping.values import (
    PER_SECOND,
    Kind,
    converted,
    converter,
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

ACCOUNT = "account_id"
FINITE = frozenset({str, int, bool, type(None)})
"""Types of which every value is finite."""
_ENCODER = msgspec.json.Encoder()


class MappedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event of a source as JSON; `rule` is the rule that made it.

    Where it deletes a profile it has no value: `deletion` is the JSON of its id, account and time.
    """

    source: str
    account: str
    value: bytes | None
    rule: str
    deletion: bytes | None = None


class ProblemError(ValueError):
    """An item that a rule is for and cannot map."""


MakeEvent = Callable[[Reader, Any, str], MappedEvent]
"""Makes the event of an item; the text is what tells its id from those of other events of the record.

Raises `ExpressionError`, `ProblemError`.
"""


def bind(rule: Rule, source: Source) -> MakeEvent:
    """The function that makes the events of a source by a rule."""
    of_source = kinds(source.event_type)
    fields = [
        (name, LOOKS.get(field.of), field_value(field, of_source.get(name, "any")))
        for name, field in rule.fields.items()
    ]

    def make(reader: Reader, item: Any, suffix: str) -> MappedEvent:
        event = {} if rule.copy is None else _copied(rule.copy(item), of_source)
        for name, look, field in fields:
            value = field(item if look is None else look(reader, item))
            if value is not None:
                event[name] = value
        return _encoded(event, rule, source.name, reader, suffix)

    return make


def is_true(value: Any) -> bool:
    """As JMESPath decides: false, null and whatever is empty are not true; the number 0 is."""
    return value is True or (value is not None and value is not False and value not in ("", [], {}))


def _copied(content: Any, of_source: Mapping[str, Kind]) -> dict[str, Any]:
    if not isinstance(content, dict):
        return {}
    return {name: converted(value, of_source.get(name, "any")) for name, value in content.items()}


def _encoded(event: dict[str, Any], rule: Rule, source: str, reader: Reader, suffix: str) -> MappedEvent:
    """The event with the account, time and id of its record where it has none, as JSON."""
    if event.get(ACCOUNT) is None:
        event[ACCOUNT] = reader.account(source)
    if event.get("time") is None:
        event["time"] = reader.record.time_ms
    if event.get("id") is None:
        event["id"] = reader.record.origin + suffix
    account = event[ACCOUNT]
    if not isinstance(account, str):
        key = "the record has no key" if reader.record.key is None else "the key of the record names none"
        message = f"it has no account: {account!r} is no {ACCOUNT}, and {key}"
        raise ProblemError(message)
    if not FINITE.issuperset(map(type, event.values())):
        for name, content in event.items():
            if not is_finite(content):
                raise ProblemError(f"{name} is {content}, which is not a finite number")
    if rule.deletes:
        deletion = _ENCODER.encode({name: event[name] for name in ("id", ACCOUNT, "time")})
        return MappedEvent(source, account, None, rule.name, deletion)
    # Only what is copied can be null, and for a profile that clears a field; any other event is without it.
    if source != PROFILE_SOURCE and (rule.copy is not None or event["time"] is None):
        event = {name: content for name, content in event.items() if content is not None}
    return MappedEvent(source, account, _ENCODER.encode(event), rule.name)


def field_value(field: FieldRule, kind: Kind) -> Evaluate:
    """The function that gives the value of a field."""
    convert = _conversion(field, kind)
    if not _is_time(field) and (field.minor_units is not None or field.scale is not None):
        return _amount(field, _value(field, lambda value: value), convert)
    if kind == "text" and (_is_time(field) or field.decimal is not None):
        return _value(field, convert)
    return _value(field, convert, kind)


def _value(field: FieldRule, convert: Evaluate, kind: Kind = "any") -> Evaluate:
    """What the path of a field gives, or its constant, by its lookup table and default."""
    constant = field.value
    read = (lambda _looked_at: constant) if field.path is None else field.path.evaluate
    absent = None if field.default is None else convert(field.default)
    if field.lookup is not None:
        return _looked_up(read, field, convert, absent)
    if kind == "text" and absent is None:
        return _text(read, convert)
    return _time(read, convert, absent, field.unit) if kind == "time" else _plain(read, convert, absent)


def _plain(read: Evaluate, convert: Evaluate, absent: Any) -> Evaluate:
    def value_of(looked_at: Any) -> Any:
        value = read(looked_at)
        return absent if value is None or value == "" else convert(value)

    return value_of


def _text(read: Evaluate, convert: Evaluate) -> Evaluate:
    """Most fields are texts, and most texts are texts in the record too."""

    def value_of(looked_at: Any) -> Any:
        value = read(looked_at)
        return (value.strip() or None) if type(value) is str else convert(value)

    return value_of


def _time(read: Evaluate, convert: Evaluate, absent: Any, unit: Unit | None) -> Evaluate:
    """Most times are whole numbers."""
    per_second = PER_SECOND[unit or "ms"]

    def value_of(looked_at: Any) -> Any:
        value = read(looked_at)
        if type(value) is int:
            return value * 1000 // per_second
        return absent if value is None or value == "" else convert(value)

    return value_of


def _looked_up(read: Evaluate, field: FieldRule, convert: Evaluate, absent: Any) -> Evaluate:
    """What the lookup table of a field has for a value; letter case and blanks around a text do not matter.

    What the table does not have is the default if the field has one, else the value itself.
    """
    table, keeps = field.lookup or {}, field.default is None
    answers = {text: absent if value is None or value == "" else convert(value) for text, value in table.items()}

    def value_of(looked_at: Any) -> Any:
        value = read(looked_at)
        text = (value.strip() or None) if type(value) is str else text_of(value)
        if isinstance(text, str):
            text = text.lower()
            if text in answers:
                return answers[text]
        return convert(value) if keeps and value is not None and value != "" else absent

    return value_of


def _is_time(field: FieldRule) -> bool:
    return field.unit is not None or field.format is not None or field.zone is not None


def _amount(field: FieldRule, value_of: Evaluate, convert: Evaluate) -> Evaluate:
    currency, scale = None if field.minor_units is None else field.minor_units.evaluate, field.scale

    def amount_of(looked_at: Any) -> Any:
        value = value_of(looked_at)
        if value is None:
            return None
        number = number_of(convert(value))
        if currency is not None:
            number = minor_units(number, currency(looked_at))
        return number if scale is None else scaled(number, scale)

    return amount_of


def _conversion(field: FieldRule, kind: Kind) -> Evaluate:
    """How a value of the field becomes what the field wants, where only the value matters."""
    if not _is_time(field):
        plain, mark = converter(kind), field.decimal
        return plain if mark is None else lambda value: plain(decimal_of(value, mark))
    unit, layout, zone = field.unit, field.format, field.zone or UTC
    if kind == "any":
        return lambda value: time_text(time_of(value, unit, layout, zone))
    return lambda value: time_of(value, unit, layout, zone)
