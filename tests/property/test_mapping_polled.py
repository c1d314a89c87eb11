"""Records that are mapped together on what rules read of them have the outcomes that each has when it is read whole."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.mapper.records import Outcome, draft_of, polled_drafts
from schemas.sources import BUILT_IN
from stream.mapping.apply import BoundMapping
from stream.mapping.reading import parse_mapping
from tests.property.test_mapping_fuzz import JSON, KEYS, MAPPINGS, RECORDS, UNITS, VALID, changed, written
from tests.strategies.effort import examples

POLLED = ("amplitude", "delighted", "intercom", "mixpanel", "pipedrive", "segment", "stripe", "zendesk")
NAMES = ("a", "b", "c.d", "c.e", "c.f.g", "c", '"\\u00e9"')


class Consumed(NamedTuple):
    """What a consumer gives."""

    value: bytes | None
    key: bytes | None = b"acme"
    topic: str = "events"
    timestamp: int = 1_774_605_600_000
    headers: tuple[tuple[str, bytes | None], ...] = ()
    partition: int = 2
    offset: int = 17


def compared(mapping: BoundMapping, records: list[Consumed]) -> list[Outcome | None]:
    """What polls give, which is nothing else than what each record gives."""
    together = polled_drafts(records, mapping)
    for record, outcome in zip(records, together, strict=True):
        assert outcome is None or outcome == draft_of(record, mapping), record
    return together


NUMBERS = st.sampled_from(
    [b"1e400", b"-1E+999", b"9" * 310, b"9" * 310 + b".5", b"0." + b"9" * 400, b"1e-999", b"2e38"]
)


@st.composite
def damaged(draw: st.DrawFn, value: bytes) -> bytes:
    """A value of JSON with something that decoders may take in different ways."""
    start = value.find(b"{") + 1
    other: bytes = draw(
        NUMBERS | st.sampled_from([b'"\\x"', b'"\\ud800"', b'"\xff"', b"nul", b"[1,]", b"01", b'"\x01"'])
    )
    name = draw(st.sampled_from([b"zz", b"id", b"type", b"data", b"payload", b"schema", b"a", b"c", b"\\u0061"]))
    kind = draw(st.integers(0, 4))
    if kind == 0 and start:
        return value[:start] + b'"' + name + b'":' + other + (b"," if value[start:] != b"}" else b"") + value[start:]
    if kind == 1:
        return draw(st.sampled_from([b"\xef\xbb\xbf", b" ", b"\n", b"\x00\x00\x00\x00\x07"])) + value
    if kind == 2:
        return b'{"schema":null,"payload":' + value + b"}"
    if kind == 3:
        return msgspec.json.encode(value.decode(errors="replace"))
    return value[: draw(st.integers(0, len(value)))]


def bytes_of(records: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Consumed]]:
    values = records.map(lambda record: json.dumps(record).encode())
    mostly = st.integers(0, 5).flatmap(lambda number: values if number else st.none() | values.flatmap(damaged))
    keys = st.integers(0, 3).flatmap(lambda number: st.just(b"acme") if number else KEYS)
    times = st.sampled_from([1_774_605_600_000, 1_774_605_600_001, 0, -1])
    return st.lists(st.builds(Consumed, mostly, keys, timestamp=times), max_size=6)


@pytest.mark.parametrize("name", sorted(MAPPINGS))
@settings(max_examples=examples(60))
@given(records=bytes_of(changed()) | bytes_of(RECORDS))
def test_a_preset_makes_the_same_of_records_together(name: str, records: list[Consumed]) -> None:
    compared(BoundMapping(MAPPINGS[name], BUILT_IN), records)


def test_presets_of_webhooks_are_applied_to_polls() -> None:
    records = [Consumed(json.dumps(value).encode()) for value in VALID]
    polled = {name for name in MAPPINGS if BoundMapping(MAPPINGS[name], BUILT_IN).polled("events") is not None}
    assert polled == set(POLLED)
    for name in sorted(polled - {"delighted"}):
        bound = BoundMapping(MAPPINGS[name], BUILT_IN)
        assert any(compared(bound, records)), name


PLAIN = st.sampled_from([*NAMES, "a || b", "c.d || a", "lower(a)", "a == 'x'", "!(b)", "[a, c.d]", "{x: a, y: c.e}"])
ROOTS = st.sampled_from(
    [
        "@",
        "[@]",
        "[a || @][]",
        "[(b == 'x' && c) || @][]",
        "[@][].merge(@, {a: c.d || b})",
        "[c || @][].merge(@, {c: b})",
    ]
)
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "a": JSON,
        "b": st.sampled_from(["x", " X ", "", None, 0, 7, 1.5, [], [{"a": 1}], {"a": "x"}]),
        "c": JSON | st.fixed_dictionaries({"d": JSON, "e": JSON}, optional={"f": st.none() | st.just({"g": 1}) | JSON}),
        "é": JSON,
        "more": JSON,
    },
)
FIELD = st.one_of(
    PLAIN,
    st.fixed_dictionaries(
        {"path": PLAIN},
        optional={
            "of": st.sampled_from(["item", "record"]),
            "default": st.sampled_from([1, "x", 0.5, True]),
            "unit": UNITS,
            "scale": st.sampled_from([0, 1.5, 1e308]),
            "minor_units": PLAIN,
            "lookup": st.just({"x": "b", "7": 2}),
        },
    ),
    st.fixed_dictionaries({"value": st.sampled_from([1, "acme", True, "2026-03-27"])}),
)
FIELDS = st.builds(
    dict.__or__,
    st.dictionaries(st.sampled_from(["kind", "amount", "properties"]), FIELD, min_size=1),
    st.just({}) | st.dictionaries(st.sampled_from(["id", "account_id", "time"]), FIELD),
)
RULE = st.one_of(
    st.fixed_dictionaries(
        {"to": st.sampled_from(["billing", "accounts"]), "fields": FIELDS},
        optional={"when": PLAIN, "root": ROOTS, "copy": PLAIN, "time_unit": UNITS},
    ),
    st.fixed_dictionaries(
        {"to": st.just("accounts"), "fields": FIELDS, "delete": st.just(True)}, optional={"when": PLAIN}
    ),
    st.fixed_dictionaries({"skip": st.just(True)}, optional={"when": PLAIN, "root": ROOTS}),
)


@given(st.lists(RULE, min_size=1, max_size=3), bytes_of(ITEMS))
@settings(max_examples=examples(800))
@example([{"to": "billing", "fields": {"id": "a"}}], [Consumed(b'{"a":1,"b":1e400}'), Consumed(b'{"a":1}')])
@example([{"to": "billing", "fields": {"amount": "a"}}], [Consumed(b'{"schema":1,"payload":{"a":2}}')])
@example([{"to": "billing", "fields": {"amount": "c.d"}}], [Consumed(b'{"c":{"d":1},"c":null}'), Consumed(b'{"c":7}')])
def test_rules_make_the_same_of_records_together(rules: list[dict[str, Any]], records: list[Consumed]) -> None:
    compared(BoundMapping(parse_mapping(f"map = {written(rules)}"), BUILT_IN), records)


@given(st.lists(st.fixed_dictionaries({"to": st.just("billing"), "fields": FIELDS | st.just({"id": "@"})}), min_size=1))
@settings(max_examples=examples(50))
def test_rules_that_read_whole_records_are_not_for_polls(rules: list[dict[str, Any]]) -> None:
    reads_all = any(rule["fields"] == {"id": "@"} for rule in rules)
    polled = BoundMapping(parse_mapping(f"map = {written(rules)}"), BUILT_IN).polled("events")
    assert polled is None or not reads_all


VALUES = st.binary(max_size=30).map(lambda value: re.sub(rb"\n", b"", value))


@given(st.lists(VALUES | st.tuples(VALUES, NUMBERS, VALUES).map(b"".join), min_size=1, max_size=5))
def test_values_with_a_number_beyond_a_float_are_read_whole(values: list[bytes]) -> None:
    records = [Consumed(b'{"a":"x","z":[' + value + b"]}") for value in values]
    bound = BoundMapping(parse_mapping(f"map = {written([{'to': 'billing', 'fields': {'id': 'a'}}])}"), BUILT_IN)
    compared(bound, records)
