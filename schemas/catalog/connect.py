"""Schemas of Kafka Connect: the values of a topic as its JsonConverter takes them in `schema.content`.

Owns how the types of JSON Schema become those of Connect, which has no unions: a time is an integer (epoch ms), and
free fields (`properties` of events, attributes of profiles) are left out. Pure. Called by `schemas.catalog.documents`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from schemas.catalog.json_schema import LOCAL_REFS, components
from schemas.catalog.records import Record
from schemas.profiles import ATTRIBUTES

Json = dict[str, Any]

_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {"string": "string", "integer": "int64", "number": "double", "boolean": "boolean"}
)
_FREE: Final = frozenset({"properties", ATTRIBUTES})
"""Fields of inputs whose content no schema knows."""


def connect_schema(record: Record) -> Json:
    """The Connect schema of the values of a topic."""
    defs = components([record], LOCAL_REFS)
    struct = _struct(defs[record.type_name], defs, free=_FREE if record.is_input else frozenset())
    return {**struct, "name": record.topic.name, "optional": False}


def _struct(schema: Json, defs: Mapping[str, Json], free: frozenset[str] = frozenset()) -> Json:
    required = schema.get("required", ())
    fields = []
    for name, value in schema["properties"].items():
        if name in free:
            continue
        converted, nullable = _converted(value, defs)
        default = {"default": value["default"]} if value.get("default") is not None else {}
        doc = {"doc": value["description"]} if "description" in value else {}
        fields.append({"field": name, **converted, "optional": nullable or name not in required, **default, **doc})
    return {"type": "struct", "fields": fields}


def _converted(schema: Json, defs: Mapping[str, Json]) -> tuple[Json, bool]:
    """A schema in Connect's words, and whether null is among its values."""
    choices = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
    nullable = len(choices) < len(schema.get("anyOf", [schema]))
    chosen = next((each for each in choices if each.get("type") == "integer"), choices[0])
    return _plain(chosen, defs), nullable


def _plain(schema: Json, defs: Mapping[str, Json]) -> Json:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(LOCAL_REFS.removesuffix("{name}"))
        return {**_struct(defs[name], defs), "name": name}
    if "enum" in schema:
        return {"type": "string"}
    if schema["type"] == "array":
        return {"type": "array", "items": _item(schema["items"], defs)}
    if schema["type"] == "object":
        keys = {"type": "string", "optional": False}
        return {"type": "map", "keys": keys, "values": _item(schema["additionalProperties"], defs)}
    return {"type": _TYPES[schema["type"]]}


def _item(schema: Json, defs: Mapping[str, Json]) -> Json:
    converted, nullable = _converted(schema, defs)
    return {**converted, "optional": nullable}
