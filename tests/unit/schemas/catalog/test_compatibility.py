"""Changes of records against an earlier release: each kind is found where it is planted, and judged by the table."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from schemas.catalog.compatibility import RULES, Described, Kind, Role, differences

TEXT, NUMBER, NULL = {"type": "string"}, {"type": "number"}, {"type": "null"}
BEFORE: dict[str, Any] = {
    "type": "object",
    "description": "Before.",
    "properties": {
        "id": {"type": "string", "minLength": 1},
        "score": {"type": "number", "maximum": 100},
        "count": {"type": "integer", "default": 1},
        "kind": {"enum": ["a", "b"]},
        "note": {"anyOf": [TEXT, NULL]},
        "list": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
        "map": {"type": "object", "additionalProperties": NUMBER},
    },
    "required": ["id", "score"],
    "allOf": [{"if": {"properties": {"kind": {"const": "a"}}}, "then": {"required": ["note"]}}],
    "$defs": {"Item": {"type": "object", "properties": {"name": TEXT, "size": NUMBER}, "required": ["name"]}},
}


def put(path: str, value: Any) -> Any:
    """Set (or, with None, delete) what is at a path of the schema."""

    def change(schema: dict[str, Any]) -> None:
        *steps, last = path.split("/")
        node: Any = schema
        for step in steps:
            node = node[step]
        if value is None:
            del node[last]
        else:
            node[last] = value

    return change


PLANTED: list[tuple[Kind, str, Any]] = [
    ("required field added", "more", [put("properties/more", TEXT), put("required", ["id", "score", "more"])]),
    ("optional field added", "more", [put("properties/more", TEXT)]),
    ("optional field added", "list[].more", [put("$defs/Item/properties/more", TEXT)]),
    ("field removed", "note", [put("properties/note", None)]),
    ("field removed", "list[].size", [put("$defs/Item/properties/size", None)]),
    ("field is required now", "note", [put("required", ["id", "score", "note"])]),
    ("field may be missing now", "score", [put("required", ["id"])]),
    ("field may be missing now", "list[].name", [put("$defs/Item/required", [])]),
    ("type added", "score", [put("properties/score", {"anyOf": [{"type": "number", "maximum": 100}, NULL]})]),
    ("type added", "count", [put("properties/count/type", "number")]),
    ("type added", "map.*", [put("properties/map/additionalProperties", {"anyOf": [NUMBER, NULL]})]),
    ("type removed", "note", [put("properties/note", TEXT)]),
    ("type removed", "score", [put("properties/score/type", "integer")]),
    ("value added", "kind=c", [put("properties/kind/enum", ["a", "b", "c"])]),
    ("value added", "kind", [put("properties/kind", TEXT)]),
    ("value removed", "kind=b", [put("properties/kind/enum", ["a"])]),
    ("range narrowed", "score", [put("properties/score/maximum", 10)]),
    ("range narrowed", "id", [put("properties/id/minLength", 2)]),
    ("range narrowed", "note", [put("properties/note/anyOf", [{"type": "string", "maxLength": 9}, NULL])]),
    ("range widened", "score", [put("properties/score/maximum", 1000)]),
    ("range widened", "id", [put("properties/id/minLength", None)]),
    ("constraint changed", "id", [put("properties/id/pattern", "x")]),
    ("constraint changed", "kind=a", [put("allOf", [])]),
    ("constraint changed", "", [put("additionalProperties", False)]),
    ("default changed", "count", [put("properties/count/default", 2)]),
]


def between(role: Role, *changes: Any) -> list[tuple[str, str, bool]]:
    now = copy.deepcopy(BEFORE)
    for change in changes:
        change(now)
    before = {"topic": Described(role, "account id", BEFORE)}
    return [
        (each.kind, each.field, each.allowed)
        for each in differences(before, {"topic": Described(role, "account id", now)})
    ]


@pytest.mark.parametrize("role", ["input", "output"])
@pytest.mark.parametrize(("kind", "field", "changes"), PLANTED)
def test_a_planted_change_is_found_and_judged_by_the_table(
    kind: Kind, field: str, changes: list[Any], role: Role
) -> None:
    assert between(role, *changes) == [(kind, field, role in RULES[kind].allowed)]


def test_texts_are_not_compared_and_a_new_kind_may_need_what_it_wants() -> None:
    wants = {"if": {"properties": {"kind": {"const": "c"}}}, "then": {"required": ["list"]}}
    assert between("input", put("description", "Now."), put("properties/id/examples", ["x"])) == []
    assert between("input", put("properties/kind/enum", ["a", "b", "c"]), put("allOf", [*BEFORE["allOf"], wants])) == [
        ("value added", "kind=c", True)
    ]


def test_topics_and_keys_are_compared() -> None:
    topic = Described("output", "account id", BEFORE)
    assert [str(each) for each in differences({"a": topic}, {"b": topic})] == ["a: topic removed", "b: topic added"]
    changed = differences({"a": topic}, {"a": topic._replace(key="none")})
    assert [(each.kind, each.allowed) for each in changed] == [("key changed", False)]


def test_every_kind_of_the_table_is_planted() -> None:
    planted = {kind for kind, _, _ in PLANTED} | {"topic added", "topic removed", "key changed"}
    assert planted == set(RULES)
