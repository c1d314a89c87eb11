"""JSON Schema of each record, made from the types in `schemas.events` and `schemas.outputs`.

Owns what the types do not say: sentences of fields, members that are only in memory, and the fields that an event of a
kind needs. A record that satisfies the schema of an input is accepted; some that do not are accepted too, such as a
profile with one bad field. Pure. Called by `schemas.catalog.asyncapi`, `connect` and `documents`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from schemas.catalog.descriptions import INPUT_TEXTS, OUTPUT_TEXTS, text_of
from schemas.catalog.records import Record
from schemas.events import NUMBER_LIMIT, SURVEY_SCALES, Attribute, ControlEvent, ProfileEvent, SurveyEvent
from schemas.profiles import ATTRIBUTES, LONGEST_TEXT, MOST_VALUES, NOT_FIELDS

Json = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
LOCAL_REFS: Final = "#/$defs/{name}"
_HIDDEN: Final[Mapping[type, frozenset[str]]] = MappingProxyType(
    {ProfileEvent: frozenset(NOT_FIELDS) - {ATTRIBUTES}, ControlEvent: frozenset({"alias", "merged"})}
)
"""Members that no producer writes."""
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "pulse": ("value",),
        "override": ("reason", "expires_at"),
        "acknowledge": ("rule",),
        "snooze": ("rule", "until"),
        "merge": ("into",),
    }
)
"""Fields that a control of a kind needs; an override also needs either `score` or `band`."""
_NULL: Final[Json] = {"type": "null"}
_PRESENT: Final[Json] = {"not": _NULL}
_NOT_BLANK: Final = r"\S"
_RFC_3339: Final = r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$"
"""What `format` says of a time, for validators that do not look at `format`."""


def record_schema(record: Record) -> Json:
    """The JSON Schema of the values of a topic, complete in itself."""
    defs = components([record], LOCAL_REFS)
    schema = defs.pop(record.type_name)
    head = {"$schema": DIALECT, "$id": f"urn:account-vitals:{record.topic.name}", "title": record.topic.name}
    rest = {name: value for name, value in schema.items() if name != "title"}
    return {**head, **rest, "examples": [record.example], **({"$defs": defs} if defs else {})}


def components(records: Iterable[Record], refs: str) -> dict[str, Json]:
    """The schemas of all types of records, by name, that refer to each other by `refs`."""
    schemas: dict[str, Json] = {}
    for record in records:
        _, defs = msgspec.json.schema_components([record.kind], ref_template=refs)
        texts = INPUT_TEXTS if record.is_input else OUTPUT_TEXTS
        described = {name: _described(name, schema, texts) for name, schema in defs.items()}
        name = record.type_name
        described[name] = _completed(record, described.pop(record.kind.__name__))
        schemas |= {name: described[name] for name in _reachable(name, described, refs)}
    return schemas


def _described(name: str, schema: Json, texts: Mapping[str, str]) -> Json:
    """A type's schema with a sentence on each field, and without defaults that say nothing."""
    properties = {}
    for field, value in schema.get("properties", {}).items():
        text = text_of(texts, name, field)
        plain = {key: item for key, item in value.items() if (key, item) != ("default", None)}
        if "anyOf" in plain:
            plain["anyOf"] = [each | {"pattern": _RFC_3339} if "format" in each else each for each in plain["anyOf"]]
        properties[field] = {"description": text, **plain} if text else plain
    paragraphs = str(schema.get("description", "")).split("\n\n")
    description = "\n\n".join(re.sub(r"\s*\n\s*", " ", paragraph).strip() for paragraph in paragraphs)
    return {**schema, "description": description, "properties": properties}


def _completed(record: Record, schema: Json) -> Json:
    """The schema of a record with what its type does not say."""
    if not record.is_input:
        return schema
    hidden = _HIDDEN.get(record.kind, frozenset())
    properties = {field: value for field, value in schema["properties"].items() if field not in hidden}
    for field in ("id", "account_id"):
        properties[field] = {**properties[field], "pattern": _NOT_BLANK}
    schema = {**schema, "properties": properties}
    if record.kind is ProfileEvent:
        attribute = _attribute()
        properties[ATTRIBUTES] = {**properties[ATTRIBUTES], "additionalProperties": attribute}
        return {**schema, "additionalProperties": attribute}
    properties["properties"] = {"description": INPUT_TEXTS["properties"], "type": ["object", "null"]}
    if record.kind is SurveyEvent:
        return {**schema, "allOf": [_if_kind(kind, _scale(*scale)) for kind, scale in SURVEY_SCALES.items()]}
    if record.kind is ControlEvent:
        return {**schema, "allOf": [_if_kind(kind, _needs(kind)) for kind in _NEEDED]}
    return schema


def _attribute() -> Json:
    """The schema of an attribute of a profile, null among its values."""
    limits: dict[str, Json] = {
        "string": {"maxLength": LONGEST_TEXT},
        "array": {"maxItems": MOST_VALUES},
        "integer": {"minimum": -NUMBER_LIMIT, "maximum": NUMBER_LIMIT},
        "number": {"minimum": -NUMBER_LIMIT, "maximum": NUMBER_LIMIT},
    }

    def limited(schema: Json) -> Json:
        choices = [{**each, **limits.get(each.get("type", ""), {})} for each in schema["anyOf"]]
        for choice in choices:
            if "items" in choice:
                choice["items"] = limited(choice["items"])
        return {"anyOf": choices}

    return {"anyOf": [*limited(msgspec.json.schema(Attribute))["anyOf"], _NULL]}


def _if_kind(kind: str, then: Json) -> Json:
    return {"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": then}


def _scale(low: float, high: float) -> Json:
    return {"properties": {"score": {"minimum": low, "maximum": high}}}


def _needs(kind: str) -> Json:
    fields = _NEEDED[kind]
    texts = {field for field in fields if field in {"reason", "rule", "into"}}
    properties = {field: {"type": "string", "pattern": _NOT_BLANK} if field in texts else _PRESENT for field in fields}
    needs: Json = {"required": list(fields), "properties": properties}
    if kind == "override":
        choices = (("score", "band"), ("band", "score"))
        needs["oneOf"] = [
            {"required": [named], "properties": {named: _PRESENT, other: _NULL}} for named, other in choices
        ]
    return needs


def _reachable(name: str, schemas: Mapping[str, Json], refs: str) -> Iterator[str]:
    """The names of the schemas that a schema refers to, itself first."""
    prefix, known, waiting = refs.removesuffix("{name}"), set[str](), [name]
    while waiting:
        current = waiting.pop()
        if current not in known:
            known.add(current)
            yield current
            waiting += sorted(reference.removeprefix(prefix) for reference in references(schemas[current]))


def references(schema: Any) -> Iterator[str]:
    """Every `$ref` within a schema."""
    if isinstance(schema, dict):
        if isinstance(reference := schema.get("$ref"), str):
            yield reference
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)
