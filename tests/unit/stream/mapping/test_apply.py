"""Rules applied to records: which items become which events, and what an event has where no rule gives it."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from schemas.events import EngagementEvent
from schemas.sources import BUILT_IN, Source
from stream.mapping.apply import ForeignRecord, Mapped, merged, source_of
from stream.mapping.reading import parse_mapping
from tests.driving.mapping import mapped_alone

NOON_MS = 1_774_612_800_000
BEYOND = pytest.param(10**400, id="beyond a float")
RULE = '[[map]]\nname = "r"\nto = "billing"\n'


def apply(text: str, value: Any, name: str = "events", **around: Any) -> Mapped:
    return mapped_alone(parse_mapping(text, "m.toml"), ForeignRecord(name, value, f"{name}-0-7", **around), BUILT_IN)


def documents(result: Mapped) -> list[dict[str, Any]]:
    assert not result.problems, result.problems
    return [json.loads(event.value or event.deletion or b"") for event in result.events]


def field(rule: str, value: Any, name: str = "amount", to: str = "billing", **around: Any) -> Any:
    """The value of one field."""
    text = f'[[map]]\nto = "{to}"\n[map.fields]\naccount_id = {{ value = "acme" }}\n{name} = {rule}\n'
    (document,) = documents(apply(text, value, **around))
    return document.get(name)


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        ('"a"', {"a": "12.5"}, 12.5),
        ('"a"', {}, None),
        ('{ path = "a" }', {"a": 3}, 3),
        ('{ path = "a", default = 4 }', {"a": None}, 4),
        ('{ path = "a", default = 4 }', {"a": ""}, 4),
        ('{ path = "a", default = 4 }', {"a": 0}, 0),
        ("{ value = 5 }", {}, 5),
        ("{ value = 0 }", {}, 0),
        ('{ path = "a", scale = 60 }', {"a": "1.5"}, 90.0),
        ('{ path = "a", scale = 60 }', {"a": "much"}, "much"),
        ('{ path = "a", scale = 60 }', {"a": True}, True),
        ('{ path = "a", minor_units = "c" }', {"a": "1999", "c": "eur"}, 19.99),
        ('{ path = "a", minor_units = "c" }', {"a": 1999, "c": "jpy"}, 1999.0),
        ('{ path = "a", minor_units = "c", scale = -1 }', {"a": 1999, "c": "eur"}, -19.99),
        ('{ path = "a", decimal = "," }', {"a": "4.800,50"}, 4800.5),
        ('{ path = "a", decimal = "," }', {"a": "4.800"}, 4800.0),
        ('{ path = "a", decimal = ",", scale = 2 }', {"a": "1,5"}, 3.0),
        ('{ path = "a", decimal = "." }', {"a": "4,800.50"}, 4800.5),
        ('{ path = "a", decimal = "," }', {"a": 7}, 7),
        ('{ path = "a", lookup = { low = 1, high = 9 } }', {"a": " HIGH "}, 9),
        ('{ path = "a", lookup = { low = 1, high = 9 } }', {"a": "other"}, "other"),
        ('{ path = "a", lookup = { low = 1, high = 9 }, default = 5 }', {"a": "other"}, 5),
        ('{ path = "a", lookup = { low = 1, high = 9 }, default = 5 }', {}, 5),
        ('{ path = "a", lookup = { 1 = 10, true = 20 } }', {"a": 1}, 10),
        ('{ path = "a", lookup = { 1 = 10, true = 20 } }', {"a": True}, 20),
        ('{ path = "a", lookup = { low = 1 } }', {"a": ["low"]}, ["low"]),
    ],
)
def test_a_field_has_the_value_of_its_rule(rule: str, value: Any, expected: Any) -> None:
    assert field(rule, value) == expected


def test_the_currency_of_an_amount_is_asked_for_a_blank_amount_and_not_for_a_missing_one() -> None:
    text = f'{RULE}[map.fields]\naccount_id = {{ value = "acme" }}\namount = {{ path = "a", minor_units = "sum(c)" }}\n'
    assert documents(apply(text, {"a": ""}))
    (problem,) = apply(text, {"a": " "}).problems
    assert "In function sum()" in problem


@pytest.mark.parametrize(
    ("name", "to", "value", "expected"),
    [
        ("user_id", "surveys", 42, "42"),
        ("user_id", "surveys", "  ", None),
        ("kind", "surveys", "NPS", "nps"),
        ("score", "surveys", "9", 9.0),
        ("time", "surveys", "2026-03-27T12:00:00Z", NOON_MS),
        ("owner", "accounts", 7, "7"),
        ("renewal_at", "accounts", "2026-03-27T12:00:00Z", NOON_MS),
        ("level", "accounts", 7, 7),
        ("properties", "surveys", {"a": "1"}, {"a": "1"}),
    ],
)
def test_a_value_is_converted_to_the_type_of_its_field(name: str, to: str, value: Any, expected: Any) -> None:
    assert field('"a"', {"a": value}, name, to) == expected


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        ('{ path = "a", unit = "s" }', NOON_MS // 1000, NOON_MS),
        ('{ path = "a", format = "%d.%m.%Y %H:%M" }', "27.03.2026 12:00", NOON_MS),
    ],
)
def test_a_time_of_a_field_that_is_a_text_is_a_time(rule: str, value: Any, expected: int) -> None:
    assert field(rule, {"a": value}, "user_id", "surveys") == expected


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        ('{ path = "a", unit = "s" }', NOON_MS // 1000, NOON_MS),
        ('{ path = "a", format = "%d.%m.%Y %H:%M" }', "27.03.2026 12:00", NOON_MS),
    ],
)
def test_a_time_of_an_attribute_is_written_as_text(rule: str, value: Any, expected: int) -> None:
    assert field(rule, {"a": value}, "renewal_at", "accounts") == expected
    assert field(rule, {"a": value}, "trial_end", "accounts") == "2026-03-27T12:00:00Z"


@pytest.mark.parametrize(
    ("of", "path", "expected"),
    [
        ("item", "n", "1"),
        ("record", "name", "page"),
        ("key", "k", "5"),
        ("headers", "h", "x"),
        ("all", "join('/', [name, to_string(item.n), record.name, to_string(key.k), headers.h])", "events/1/page/5/x"),
    ],
)
def test_an_expression_looks_at_what_of_says(of: str, path: str, expected: str) -> None:
    text = f"""{RULE}root = "rows"
when = {{ path = "{path}", of = "{of}" }}
[map.fields]
account_id = {{ value = "acme" }}
currency = {{ path = "{path}", of = "{of}" }}
"""
    result = apply(text, {"name": "page", "rows": [{"n": 1}]}, key=b'{"k":5}', headers={"h": "x"})
    assert [document["currency"] for document in documents(result)] == [expected]


@pytest.mark.parametrize(
    ("value", "applies"),
    [
        (None, False),
        (False, False),
        ("", False),
        ([], False),
        ({}, False),
        (0, True),
        (0.0, True),
        ("x", True),
        ([0], True),
    ],
)
def test_when_is_true_as_in_jmespath(value: Any, applies: bool) -> None:
    result = apply(f'{RULE}when = "a"\ncopy = "@"', {"a": value, "account_id": "acme"})
    assert bool(result.events) is applies
    assert not result.problems


def test_when_is_asked_of_each_item_and_one_that_fails_does_not_cost_the_others() -> None:
    text = f"""root = "rows"
{RULE}when = "kind == 'paid'"
[map.fields]
account_id = "account"
[[map]]
name = "other"
when = "kind != 'paid'"
skip = true
"""
    rows = [{"kind": "paid", "account": "a"}, {"kind": "note"}, {"kind": "paid"}, {"kind": "paid", "account": "b"}]
    result = apply(text, {"rows": rows})
    assert [event.account for event in result.events] == ["a", "b"]
    assert result.skipped == ["other"]
    assert result.problems == ["rule r of m.toml: it has no account: None is no account_id, and the record has no key"]


@pytest.mark.parametrize(
    ("root", "count"),
    [("rows", 2), ("rows[0]", 1), ("missing", 0), ("rows[?n > `1`]", 1), ("@", 1), ("rows[?n > `9`]", 0)],
)
def test_a_root_gives_an_item_or_a_list_of_items(root: str, count: int) -> None:
    text = f'{RULE}root = "{root}"\nfields = {{ account_id = {{ value = "acme" }} }}'
    assert len(apply(text, {"rows": [{"n": 1}, {"n": 2}]}).events) == count


def test_a_root_that_fails_is_one_problem_for_all_rules_that_have_it() -> None:
    text = f'root = "sum(rows)"\n{RULE}copy = "@"\n{RULE}copy = "@"\n'
    (problem,) = apply(text, {"rows": ["a"]}).problems
    assert problem.startswith("root of rule r of m.toml: ")


def test_fields_replace_what_is_copied_and_null_is_left_out_of_events() -> None:
    text = f'{RULE}copy = "row"\nfields = {{ currency = "c", kind = "missing" }}'
    row = {"account_id": 7, "currency": "usd", "kind": "UPGRADED", "amount": None, "id": "1", "time": NOON_MS}
    (document,) = documents(apply(text, {"row": row, "c": "eur"}))
    assert document == {"account_id": "7", "currency": "eur", "kind": "upgraded", "id": "1", "time": NOON_MS}


def test_null_that_is_copied_clears_a_field_of_a_profile() -> None:
    text = '[[map]]\nto = "accounts"\ncopy = "@"'
    (document,) = documents(apply(text, {"id": 1, "account_id": "acme", "time": NOON_MS, "plan": None}))
    assert document == {"id": "1", "account_id": "acme", "time": NOON_MS, "plan": None}


def test_what_is_copied_must_be_an_object() -> None:
    assert documents(apply(f'{RULE}copy = "a"', {"a": [1]}, key=b"acme")) == [
        {"account_id": "acme", "id": "events-0-7"}
    ]


@pytest.mark.parametrize(
    ("key", "account", "account_of_profile"),
    [
        (b"acme", "acme", "acme"),
        (b'"acme"', "acme", "acme"),
        (b"42", "42", "42"),
        (b"4.5", "4.5", "4.5"),
        (b'\x00\x00\x00\x00\x07"acme"', "acme", "acme"),
        (b"\x00\x00\x00\x00\x0742", "42", "42"),
        (b'{"schema":{"type":"string"},"payload":"acme"}', "acme", "acme"),
        (b'{"account_id":7,"line":2}', "7", "7"),
        (b'{"id":1}', None, "1"),
        (b'{"schema":{},"payload":{"id":1}}', None, "1"),
        (b'{"id":1,"line":2}', None, None),
        (b"{}", None, None),
        (b"[1]", None, None),
        (b"null", None, None),
        (b"\xff", None, None),
        (b"", None, None),
        (None, None, None),
    ],
)
def test_without_an_account_it_is_the_key(
    key: bytes | None, account: str | None, account_of_profile: str | None
) -> None:
    for to, expected in (("billing", account), ("accounts", account_of_profile)):
        result = apply(f'[[map]]\nto = "{to}"\ncopy = "@"', {"account_id": " "}, key=key)
        assert [event.account for event in result.events] == [expected] * (expected is not None)
        assert bool(result.problems) is (expected is None)


def test_a_record_without_an_account_says_why() -> None:
    (problem,) = apply(f'{RULE}copy = "@"', {"account_id": ["acme"]}, key=b"{}").problems
    assert problem == (
        "rule r of m.toml: it has no account: ['acme'] is no account_id, and the key of the record names none"
    )


def test_without_a_time_and_an_id_they_are_those_of_the_record() -> None:
    text = f'{RULE}root = "rows"\ncopy = "@"'
    rows = [{"account_id": "a"}, {"account_id": "b", "id": 5, "time": NOON_MS + 1}, {"account_id": "c"}]
    first, second, third = documents(apply(text, {"rows": rows}, time_ms=NOON_MS))
    assert (first["id"], first["time"]) == ("events-0-7", NOON_MS)
    assert (second["id"], second["time"]) == ("5", NOON_MS + 1)
    assert (third["id"], third["time"]) == ("events-0-7-2", NOON_MS)


def test_two_rules_for_a_record_give_events_with_different_ids() -> None:
    text = f'{RULE}copy = "@"\n{RULE}copy = "@"\n'
    assert [document["id"] for document in documents(apply(text, {"account_id": "a"}))] == [
        "events-0-7",
        "events-0-7-1",
    ]


def test_a_deletion_has_no_value_but_its_id_account_and_time() -> None:
    text = '[[map]]\nto = "accounts"\ndelete = true\nfields = { account_id = "a", name = "n" }'
    (event,) = apply(text, {"a": 1, "n": "x"}, time_ms=NOON_MS).events
    assert (event.source, event.account, event.value, event.rule) == ("accounts", "1", None, "1")
    assert json.loads(event.deletion or b"") == {"id": "events-0-7", "account_id": "1", "time": NOON_MS}


def test_a_tombstone_can_be_mapped() -> None:
    text = '[[map]]\nwhen = "@ == `null`"\nto = "accounts"\ndelete = true\nfields = { account_id = "missing" }'
    (event,) = apply(text, None, key=b'{"id":1}').events
    assert (event.account, event.value) == ("1", None)


def test_a_rule_that_does_not_delete_is_not_for_tombstones() -> None:
    assert apply(f'{RULE}fields = {{ account_id = "a" }}', None, key=b"acme") == Mapped([], [], [])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("billing", "billing"),
        ("product_usage", "product-usage"),
        ("shop.public.product_usage", "product-usage"),
        ("shop.billing", "billing"),
        ("phone-calls", "calls"),
        ("calls", "calls"),
        ("billing.shop", None),
        ("", None),
    ],
)
def test_the_source_is_that_which_the_topic_is_called_after(name: str, expected: str | None) -> None:
    sources = BUILT_IN.extended([Source("calls", "phone-calls", EngagementEvent)])
    assert source_of(name, sources) == expected


def test_an_unknown_source_is_a_problem_that_lists_them() -> None:
    (problem,) = apply('[[map]]\ncopy = "@"', {"account_id": "a"}, "orders").problems
    assert problem.startswith(
        "rule 1 of m.toml: the source of 'orders' is not known: set `to` to one of product-usage, "
    )


def test_rules_are_for_the_topics_that_from_names() -> None:
    text = f'{RULE}from = "stripe-*"\ncopy = "@"\n[[map]]\nfrom = ["a", "b"]\nskip = true\n'
    mapping = parse_mapping(text)
    assert [mapping.reads(name) for name in ("stripe-eu", "a", "stripe", "c")] == [True, True, False, False]
    assert apply(text, {"account_id": "x"}, "stripe-eu").skipped == []
    assert apply(text, {"account_id": "x"}, "b") == Mapped([], ["2"], [])
    assert apply(text, {"account_id": "x"}, "c") == Mapped([], [], [])


def test_mappings_are_merged_in_their_order() -> None:
    both = merged([parse_mapping(f'{RULE}copy = "@"', "a.toml"), parse_mapping("[[map]]\nskip = true", "b.toml")])
    assert both.file == "a.toml, b.toml"
    assert [rule.name for rule in both.rules] == ["r", "1"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "NaN", "1e999", "-Infinity", BEYOND, Decimal("NaN")])
@pytest.mark.parametrize(
    ("source", "field"),
    [
        ("billing", 'amount = { path = "v", scale = 2 }'),
        ("billing", 'amount = { path = "v", minor_units = "currency" }'),
        ("surveys", 'score = { path = "v", scale = 0.5 }'),
    ],
)
def test_a_number_that_is_not_finite_is_a_problem_that_names_the_field(source: str, field: str, value: Any) -> None:
    mapped = apply(f'[[map]]\nto = "{source}"\n[map.fields]\naccount_id = "a"\n{field}\n', {"a": "x", "v": value})
    assert mapped.events == []
    (problem,) = mapped.problems
    assert problem.startswith(f"rule 1 of m.toml: {field.split(maxsplit=1)[0]} is ")
    assert problem.endswith(", which is not a finite number")


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ('id = "v"', "id"),
        ('time = "v"', "time"),
        ('started_at = { path = "v", unit = "s" }', "started_at"),
        ('seats = "v"', "seats"),
        ('limits = "{most: [v]}"', "limits"),
    ],
)
def test_no_field_of_an_event_is_emptied_because_a_number_is_not_finite(field: str, name: str) -> None:
    text = f'[[map]]\nto = "accounts"\n[map.fields]\naccount_id = "a"\n{field}\n'
    (problem,) = apply(text, {"a": "x", "v": float("nan")}).problems
    assert problem.startswith(f"rule 1 of m.toml: {name} is ")


@pytest.mark.parametrize("path", ["ceil(v)", "floor(to_number(t))", "avg([v, v])"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), BEYOND])
def test_an_expression_that_cannot_compute_with_a_number_is_a_problem(path: str, value: Any) -> None:
    text = f'[[map]]\nto = "billing"\n[map.fields]\naccount_id = "a"\namount = {{ path = \'{path}\', scale = 1 }}'
    mapped = apply(text, {"a": "x", "v": value, "t": "1e999"})
    assert (mapped.events, len(mapped.problems)) == ([], 1)


def test_the_example_of_the_reference_makes_the_events_that_the_page_shows() -> None:
    page = (Path(__file__).parents[4] / "docs/reference/mapping.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(toml|json)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (_, mapping), (_, record), (_, events) = blocks
    expected = [json.loads(line) for line in events.splitlines()]
    assert documents(apply(mapping, json.loads(record), "orders")) == expected
    assert apply(mapping, json.loads(record) | {"test": True}, "orders") == Mapped([], ["test order"], [])
