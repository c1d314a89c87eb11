"""Properties of events: the fields beyond those of `schemas.events`, decoded only where a policy names them.

Owns the event types that have the named properties, and what a property counts as. Pure. Called by `schemas.codecs`
and `stream.plan.extractor`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast

import msgspec

from schemas.events import Event
from schemas.profiles import number_of, texts_of
from schemas.sources import Source

PREFIX: Final = "properties."
_MOST_TYPES = 1000
"""So many types with properties are used again before they are made anew."""

Properties = Mapping[str, tuple[str, ...]]
"""Names of the properties to decode, sorted, by source; a source without any is not in it."""
NONE: Final[Properties] = {}


def property_name(field: str | None) -> str | None:
    """The name after `properties.`; None for any other field."""
    return field.removeprefix(PREFIX) if field is not None and field.startswith(PREFIX) else None


def united(parts: Iterable[Properties]) -> Properties:
    """The properties of several policies together."""
    names: dict[str, set[str]] = {}
    for properties in parts:
        for source, of_source in properties.items():
            names.setdefault(source, set()).update(of_source)
    return {source: tuple(sorted(of_source)) for source, of_source in names.items()}


@lru_cache(_MOST_TYPES)
def event_type(source: Source, names: tuple[str, ...]) -> type[Event]:
    """The event type of a source with these properties; its other properties are skipped by the decoder."""
    fields: list[tuple[str, Any, Any]] = [(_attribute(name), Any, None) for name in names]
    spelling = {_attribute(name): name for name in names}
    properties = msgspec.defstruct("Properties", fields, rename=spelling, gc=False)
    plain = source.event_type
    # What is no object has no properties: an event must not be refused for what only some policies read.
    with_properties: Any = properties | str | float | int | bool | list | None
    made = msgspec.defstruct(plain.__name__, [("properties", with_properties, None)], bases=(plain,), gc=False)
    return cast("type[Event]", made)


def values_of(events: Sequence[Event], name: str) -> list[Any]:
    """The value of a property of each event; None where an event does not have it."""
    attribute = _attribute(name)
    return [getattr(getattr(event, "properties", None), attribute, None) for event in events]


def property_number(value: Any) -> float:
    """A property as a number, as an attribute is read (see `schemas.profiles`); NaN where it is none."""
    number = number_of(value)
    return float("nan") if number is None else number


def property_text(value: Any) -> str | None:
    """A property as a text: a text, a number or a flag; None for lists and objects."""
    return None if isinstance(value, list | dict) or value is None else texts_of(value)[0]


def _attribute(name: str) -> str:
    """The attribute of a property: a name in Python, whatever the property is called."""
    return "p" + name.encode().hex()
