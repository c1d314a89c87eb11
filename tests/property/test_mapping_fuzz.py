"""Mappings and records that anybody can write: each record becomes events, is skipped or is named; nothing fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.files.inputs import NOT_MAPPED, UNMAPPED, read_file
from agents.files.mappings import mapping_file, preset_names
from agents.files.replay import Reading, replay_files
from agents.settings.settings import default_policy
from schemas.codecs import MALFORMED_JSON, REASONS
from schemas.sources import BUILT_IN
from stream.mapping.apply import ForeignRecord, Mapped
from stream.mapping.framing import UnmappedValueError, unwrap
from stream.mapping.reading import parse_mapping
from stream.mapping.rules import InputMapping
from stream.plan.plan import compile_plan
from stream.policy.errors import PolicyError, Problem
from stream.policy.policy import parse_policy
from tests.driving.mapping import mapped_alone
from tests.strategies.effort import examples

FOLDER = Path(__file__).parents[1] / "golden" / "presets"
PRESETS = {name: mapping_file(name).read_text(encoding="utf-8") for name in preset_names()}
MAPPINGS = {name: parse_mapping(text, f"{name}.toml") for name, text in PRESETS.items()}
PLAN = compile_plan(parse_policy(default_policy().read_text(encoding="utf-8"), "template.toml"))
TOPICS = ("events", "billing", "accounts", "shop.public.accounts", "shop.public.product_usage", "")


def payloads() -> list[Any]:
    files = [path for path in sorted(FOLDER.iterdir()) if path.suffix in {".json", ".jsonl"}]
    lines = [
        line for path in files if path.suffix == ".jsonl" for line in path.read_text(encoding="utf-8").splitlines()
    ]
    whole = [path.read_text(encoding="utf-8") for path in files if path.suffix == ".json"]
    return [json.loads(text) for text in (*lines, *whole)]


VALID = payloads()
NAMES = sorted({name for each in VALID if isinstance(each, dict) for name in each} | {"a", "", "$set", "type", "data"})
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -(2**63) - 1, 1e308, -0.0, 253_402_300_800_000]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=6),
    st.sampled_from(["track", "conversation", "invoice.paid", "2026-03-27", "0001-01-01T00:00:00+14:00", "9" * 5000]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner),
    max_leaves=8,
)


@st.composite
def changed(draw: st.DrawFn) -> Any:
    """A payload of a sender with some values replaced or removed, at any depth."""
    record = json.loads(json.dumps(draw(st.sampled_from(VALID))))
    for _ in range(draw(st.integers(0, 4))):
        target = record
        while isinstance(target, dict | list) and target:
            key: Any = draw(st.sampled_from(sorted(target) if isinstance(target, dict) else range(len(target))))
            if not isinstance(target[key], dict | list) or draw(st.booleans()):
                if draw(st.booleans()):
                    target[key] = draw(JSON)
                else:
                    del target[key]
                break
            target = target[key]
    return record


RECORDS = JSON | changed()
KEYS = (
    st.sampled_from([None, b"", b"acme", b'"acme"', b'{"id":1}', b'{"account_id":[]}', b"\xff", b"null"]) | st.binary()
)


def check(mapping: InputMapping, record: ForeignRecord) -> Mapped:
    """Apply a mapping; what it gives can be told apart, and its events are JSON with an account."""
    result = mapped_alone(mapping, record, BUILT_IN)
    for event in result.events:
        assert event.source in BUILT_IN
        assert (event.value is None) is (event.deletion is not None)
        document = msgspec.json.decode(event.value or event.deletion or b"")
        assert document["account_id"] == event.account
        assert document["id"] is not None
    assert mapped_alone(mapping, record, BUILT_IN) == result
    return result


@given(RECORDS, st.sampled_from(sorted(MAPPINGS)), st.sampled_from(TOPICS), KEYS)
@settings(max_examples=examples(300))
@example(None, "debezium", "accounts", b'{"id":1}')
@example([[[]]], "stripe", "events", None)
@example({"type": "invoice.paid", "created": 10**400, "data": {"object": {"customer": "c"}}}, "stripe", "events", None)
def test_a_preset_maps_skips_or_names_any_record(record: Any, name: str, topic: str, key: bytes | None) -> None:
    check(MAPPINGS[name], ForeignRecord(topic, record, "events-0-1", key, 1_774_612_800_000, {"ce_specversion": "1.0"}))


@given(st.binary() | st.sampled_from([b"\x00\x00\x00\x00\x01{", b"[" * 100_000, b'"[' + b"[" * 50_000 + b'"']))
def test_any_bytes_are_unwrapped_or_refused(value: bytes) -> None:
    message = None
    try:
        unwrap(value)
    except UnmappedValueError as error:
        message = str(error)
    assert message is None or message


@given(
    st.lists(RECORDS.map(msgspec.json.encode) | st.binary(max_size=20), max_size=8), st.sampled_from(sorted(MAPPINGS))
)
@settings(max_examples=examples(100))
def test_every_line_of_a_file_is_counted_once_and_scores_go_on(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], name: str
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "events.jsonl"
    lines = [b'{"type":"none"}', *(line.replace(b"\n", b" ").replace(b"\r", b" ") for line in lines)]
    path.write_bytes(b"\n".join(lines))
    ends: set[int] = set()

    def watch(record: Any, result: Mapped) -> None:
        if result.events or result.skipped or result.problems:
            ends.add(record.number)

    read = read_file(path, BUILT_IN, MAPPINGS[name], watch)
    assert {bad.reason for bad in read.bad} <= {MALFORMED_JSON, NOT_MAPPED, UNMAPPED}
    assert ends | {bad.line for bad in read.bad} == {number for number, line in enumerate(lines, 1) if line.strip()}
    replay = replay_files([path], PLAN, reading=Reading(0, 2**53, MAPPINGS[name]))
    known = {*REASONS, MALFORMED_JSON, NOT_MAPPED, UNMAPPED}
    assert {bad.reason for bad in replay.bad} <= known
    replay.engine.current()


PATHS = st.sampled_from(
    [
        "@",
        "a",
        "a.b",
        "rows",
        "a || b",
        "rows[].a",
        "[@][]",
        "without(@, ['a'])",
        "to_string(@)",
        "merge(@, {a: b})",
        "sum(rows)",
        "length(@)",
        "max_by(rows, &a)",
        "sort(rows)",
        "domain(a)",
        "parse_json(a)",
        "days_late(a, b)",
        "rows[::-1]",
        "rows[?a > `1`]",
        "keys(@)",
        "values(@)",
        "map(&a, rows)",
        "to_number(a)",
        "object(a, b)",
        "split(a, b)",
    ]
)
ITEMS = st.dictionaries(st.sampled_from(["a", "b", "rows", "account_id", "time", "id"]), JSON, max_size=5)
UNITS = st.sampled_from(["s", "ms", "us", "ns"])
FIELD = st.one_of(
    PATHS,
    st.fixed_dictionaries(
        {"path": PATHS},
        optional={
            "of": st.sampled_from(["item", "record", "key", "headers", "all"]),
            "default": st.sampled_from([1, "x", 0.5, True, []]),
            "unit": UNITS,
            "format": st.sampled_from(["%d.%m.%Y", "%Y-%m-%d", "week"]),
            "scale": st.sampled_from([0, 1.5, -2, 1e308, 10**15]),
            "minor_units": PATHS,
            "lookup": st.just({"a": "b", "1": 2}),
        },
    ),
    st.fixed_dictionaries({"value": st.sampled_from([1, "acme", True, "2026-03-27", {"a": 1}])}),
)
FIELDS = st.dictionaries(
    st.sampled_from(["id", "account_id", "time", "kind", "amount", "properties"]), FIELD, min_size=1
)
RULE = st.fixed_dictionaries(
    {"to": st.just("billing"), "fields": FIELDS},
    optional={"when": PATHS, "root": PATHS, "copy": PATHS, "time_unit": UNITS},
) | st.fixed_dictionaries({"skip": st.just(True)}, optional={"when": PATHS, "root": PATHS})


def written(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value)


@given(st.lists(RULE, min_size=1, max_size=3), JSON | ITEMS | st.lists(ITEMS), KEYS)
@settings(max_examples=examples(300))
def test_any_mapping_maps_skips_or_names_any_record(rules: list[dict], record: Any, key: bytes | None) -> None:
    mapping = parse_mapping(f"map = {written(rules)}")
    check(mapping, ForeignRecord("events", record, "events-0-1", key, None, {"a": "b"}))


def parsed(text: str) -> InputMapping | None:
    """The mapping in a text, or None if it has mistakes; each of them has a key and a message."""
    problems: tuple[Problem, ...] = ()
    try:
        return parse_mapping(text, "m.toml")
    except PolicyError as error:
        problems = error.problems
    assert problems
    assert all(problem.key and problem.message and problem.file == "m.toml" for problem in problems)
    return None


@st.composite
def broken(draw: st.DrawFn) -> str:
    """The text of a preset, or rules, in which something is replaced or removed."""
    text = draw(
        st.sampled_from(sorted(PRESETS.values())) | st.lists(RULE, max_size=2).map(lambda it: f"map = {written(it)}")
    )
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.integers(0, 12))
        other = draw(
            st.text(max_size=4) | st.sampled_from(['"', "=", "[[map]]", "1", "true", "{}", "[]", '"""', "nan", "\n"])
        )
        text = text[:start] + other + text[end:]
    return text


@given(broken() | st.text())
@settings(max_examples=examples(300))
@example("[[map]]\nfields = { a = { value = 1979-05-27 } }")
@example("map = [[]]")
def test_any_text_is_a_mapping_or_has_mistakes_with_messages(text: str) -> None:
    mapping = parsed(text)
    if mapping is None:
        return
    records: list[Any] = [{}, None, [{"a": 1}]]
    for record in records:
        check(mapping, ForeignRecord("events", record, "events-0-1", b"acme"))


@given(
    st.recursive(
        SCALARS.filter(lambda value: value is not None) | PATHS,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["map", "name", "from", "when", "root", "to", "copy", "skip", "delete", "time_unit", "fields"]
                )
                | st.sampled_from(
                    ["path", "of", "value", "lookup", "default", "unit", "format", "scale", "minor_units"]
                )
                | st.sampled_from(["lookups", "id", "amount", "a"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
@settings(max_examples=examples(300))
def test_a_file_of_any_tables_is_a_mapping_or_has_mistakes_with_messages(rules: Any) -> None:
    parsed(f"map = {written(rules if isinstance(rules, list) else [rules])}")
