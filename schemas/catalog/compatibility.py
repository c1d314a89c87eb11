"""Compatibility of records with those of an earlier release: what differs, and whether it is allowed.

Owns the table of allowed changes. An input is compatible if every record of before is still accepted and means the
same; an output, if every reader of before can still read what is written. Texts (descriptions, examples, titles) are
not compared. Pure. Called by the tests that compare the catalog with the last release.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

Json = dict[str, Any]
Role = Literal["input", "output"]
Kind = Literal[
    "topic added",
    "topic removed",
    "key changed",
    "required field added",
    "optional field added",
    "field removed",
    "field is required now",
    "field may be missing now",
    "type added",
    "type removed",
    "value added",
    "value removed",
    "range narrowed",
    "range widened",
    "constraint changed",
    "default changed",
]


class Rule(NamedTuple):
    """Where a change is allowed, and why it is or is not."""

    allowed: tuple[Role, ...]
    why: str


_BOTH: Final[tuple[Role, ...]] = ("input", "output")
_INPUT: Final[tuple[Role, ...]] = ("input",)
_OUTPUT: Final[tuple[Role, ...]] = ("output",)
_NEITHER: Final[tuple[Role, ...]] = ()


RULES: Final[Mapping[Kind, Rule]] = MappingProxyType(
    {
        "topic added": Rule(_BOTH, "nobody writes or reads it yet"),
        "topic removed": Rule(_NEITHER, "who writes or reads it gets errors, or waits for ever"),
        "key changed": Rule(_NEITHER, "records of one key change their partition and their order"),
        "required field added": Rule(_OUTPUT, "records of before do not have it; readers ignore it"),
        "optional field added": Rule(_BOTH, "records of before are valid; readers ignore it"),
        "field removed": Rule(_NEITHER, "what is written in it is ignored; readers miss it"),
        "field is required now": Rule(_OUTPUT, "records of before may not have it"),
        "field may be missing now": Rule(_INPUT, "readers of before rely on it"),
        "type added": Rule(_INPUT, "readers of before do not know it; null is a type"),
        "type removed": Rule(_OUTPUT, "records of before may have it"),
        "value added": Rule(_INPUT, "readers of before do not know it"),
        "value removed": Rule(_OUTPUT, "records of before may have it"),
        "range narrowed": Rule(_OUTPUT, "records of before may be outside it"),
        "range widened": Rule(_INPUT, "readers of before rely on it"),
        "constraint changed": Rule(_NEITHER, "it is not known which records it admits: decide by hand"),
        "default changed": Rule(_NEITHER, "a record without the field means something else"),
    }
)
_LOWER: Final = ("minimum", "minLength", "minItems")
_UPPER: Final = ("maximum", "maxLength", "maxItems")
_TEXTS: Final = frozenset({"description", "examples", "title", "$schema", "$id", "$defs"})
_STRUCTURE: Final = frozenset(
    {"type", "anyOf", "allOf", "properties", "required", "additionalProperties", "items", "enum", "$ref", "default"}
)


class Difference(NamedTuple):
    """One difference: what it is, and of which field of which topic."""

    kind: Kind
    topic: str
    field: str
    role: Role

    @property
    def allowed(self) -> bool:
        """Whether a release may have it."""
        return self.role in RULES[self.kind].allowed

    def __str__(self) -> str:
        return f"{self.topic}{'.' if self.field else ''}{self.field}: {self.kind}"


class Described(NamedTuple):
    """A topic in a catalog: its role, its key, and the JSON Schema of its values."""

    role: Role
    key: str
    schema: Json


def differences(before: Mapping[str, Described], now: Mapping[str, Described]) -> list[Difference]:
    """Every difference between two catalogs, by topic; texts are not compared."""
    listed = []
    for topic in sorted(before.keys() | now.keys()):
        old, new = before.get(topic), now.get(topic)
        if old is None or new is None:
            role = (old or new or before[topic]).role
            listed.append(Difference("topic added" if old is None else "topic removed", topic, "", role))
            continue
        if old.key != new.key:
            listed.append(Difference("key changed", topic, "", new.role))
        pair = _Pair(old.schema, new.schema)
        listed += [Difference(kind, topic, field, new.role) for kind, field in pair.compare(old.schema, new.schema, "")]
    return list(dict.fromkeys(listed))


class _Pair:
    """Two schemas with their definitions, compared node by node."""

    def __init__(self, before: Json, now: Json) -> None:
        self._defs = before.get("$defs", {}), now.get("$defs", {})

    def compare(self, old: Json, new: Json, path: str) -> Iterator[tuple[Kind, str]]:
        if old.get("default") != new.get("default"):
            yield "default changed", path
        before, now = _by_type(self._resolved(0, old)), _by_type(self._resolved(1, new))
        if "number" in now and "integer" in before and "integer" not in now:
            before["number"] = {**before.pop("integer")}
            yield "type added", path
        elif "number" in before and "integer" in now and "integer" not in before:
            before["integer"] = {**before.pop("number")}
            yield "type removed", path
        for _ in now.keys() - before.keys():
            yield "type added", path
        for _ in before.keys() - now.keys():
            yield "type removed", path
        for name in sorted(before.keys() & now.keys()):
            yield from self._same_type(before[name], now[name], path)

    def _resolved(self, side: int, schema: Json) -> list[Json]:
        """The alternatives of a schema, without references."""
        alternatives = []
        for each in schema.get("anyOf", [schema]):
            reference = each.get("$ref", "")
            alternatives.append(self._defs[side][reference.rpartition("/")[2]] if reference else each)
        return alternatives

    def _same_type(self, old: Json, new: Json, path: str) -> Iterator[tuple[Kind, str]]:
        yield from self._fields(old, new, path)
        yield from _values(old, new, path)
        yield from _constraints(old, new, path)
        yield from _conditions(old, new, path)
        for name, step in (("items", "[]"), ("additionalProperties", ".*")):
            if isinstance(old.get(name), dict) and isinstance(new.get(name), dict):
                yield from self.compare(old[name], new[name], (path + step).removeprefix("."))
            elif old.get(name) != new.get(name):
                yield "constraint changed", path

    def _fields(self, old: Json, new: Json, path: str) -> Iterator[tuple[Kind, str]]:
        before, now = old.get("properties", {}), new.get("properties", {})
        needed, needs = old.get("required", ()), new.get("required", ())
        for name in (*before, *(name for name in now if name not in before)):
            field = f"{path}.{name}".removeprefix(".")
            if name not in now:
                yield "field removed", field
            elif name not in before:
                yield ("required field added" if name in needs else "optional field added"), field
            else:
                if (name in needed) != (name in needs):
                    yield ("field is required now" if name in needs else "field may be missing now"), field
                yield from self.compare(before[name], now[name], field)


def _by_type(alternatives: list[Json]) -> dict[str, Json]:
    """Alternatives by their type; one without a type is `any`, one with a list of values is a text."""
    by_type: dict[str, Json] = {}
    for each in alternatives:
        types = each.get("type", "string" if "enum" in each else "any")
        for name in [types] if isinstance(types, str) else types:
            by_type[f"{name} {each['format']}" if "format" in each else name] = each
    return by_type


def _values(old: Json, new: Json, path: str) -> Iterator[tuple[Kind, str]]:
    before, now = old.get("enum"), new.get("enum")
    if before is None or now is None:
        if before != now:
            yield ("value added" if now is None else "value removed"), path
        return
    for value in [value for value in now if value not in before]:
        yield "value added", f"{path}={value}"
    for value in [value for value in before if value not in now]:
        yield "value removed", f"{path}={value}"


def _constraints(old: Json, new: Json, path: str) -> Iterator[tuple[Kind, str]]:
    for name in sorted((old.keys() | new.keys()) - _TEXTS - _STRUCTURE):
        before, now = old.get(name), new.get(name)
        if before == now:
            continue
        if name in (*_LOWER, *_UPPER):
            sign = 1 if name in _LOWER else -1
            narrower = before is None or (now is not None and sign * (now - before) > 0)
            yield ("range narrowed" if narrower else "range widened"), path
        else:
            yield "constraint changed", path


def _conditions(old: Json, new: Json, path: str) -> Iterator[tuple[Kind, str]]:
    """What a record of a kind needs, for the kinds that there were before."""
    before, now = ({_kind_of(each): each["then"] for each in schema.get("allOf", ())} for schema in (old, new))
    for kind in old.get("properties", {}).get("kind", {}).get("enum", ()):
        if before.get(kind) != now.get(kind):
            yield "constraint changed", f"{path}.kind={kind}".removeprefix(".")


def _kind_of(condition: Json) -> str:
    return str(condition["if"]["properties"]["kind"]["const"])
