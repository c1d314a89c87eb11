"""Mapping files: every key is read, and every mistake has a message with file, line, and what is allowed."""

from __future__ import annotations

import pytest

from schemas.events import EngagementEvent
from schemas.sources import BUILT_IN, Source
from stream.mapping.reading import parse_mapping
from stream.mapping.rules import InputMapping
from stream.policy.errors import PolicyError

RULE = '[[map]]\nto = "billing"\n'
FUNCTIONS = (
    "abs, avg, ceil, company_domain, contains, days_late, domain, ends_with, floor, join, keys, length, lower, map, "
    "max, max_by, merge, min, min_by, not_null, object, parse_json, reverse, sort, sort_by, split, starts_with, sum, "
    "to_array, to_number, to_string, type, upper, values, without"
)
SOURCES = "product-usage, support-tickets, surveys, billing, engagement, controls, signals, accounts"


def mistakes(text: str) -> list[str]:
    with pytest.raises(PolicyError) as error:
        parse_mapping(text, "my.toml")
    return str(error.value).splitlines()


def only_mistake(text: str) -> str:
    (mistake,) = mistakes(text)
    return mistake


EVERY_KEY = """
root = "items"
time_unit = "s"

[lookups.status]
" Open " = "opened"
Done = "solved"

[[map]]
name = "tickets"
from = ["desk", "desk-*"]
when = { path = "kind", of = "record" }
root = "rows"
to = "support-tickets"
copy = "@"
time_unit = "us"
[map.fields]
id = "key"
time = { path = "at", unit = "ns", format = "%d.%m.%Y" }
status = { path = "state", lookup = "status" }
priority = { path = "prio", of = "headers", lookup = { P1 = "urgent" }, default = "low" }
kind = { value = "bug" }
resolution_s = { path = "hours", scale = 3600 }

[[map]]
to = "accounts"
delete = true
fields = { account_id = "id", arr = { path = "cents", minor_units = "currency" } }

[[map]]
from = "desk"
when = "other"
skip = true
"""


def test_every_key_of_a_file_is_read() -> None:
    mapping = parse_mapping(EVERY_KEY, "my.toml")
    tickets, deleted, skipped = mapping.rules
    assert mapping.file == "my.toml"
    assert (tickets.name, tickets.topics, tickets.source) == ("tickets", ("desk", "desk-*"), "support-tickets")
    assert (tickets.when_of, tickets.skip, tickets.deletes) == ("record", False, False)
    assert [rule.root is deleted.root for rule in mapping.rules] == [False, True, True]
    record = {"kind": 1, "items": 2, "rows": 3}
    assert [each and each(record) for each in (tickets.when, tickets.root, tickets.copy)] == [1, 3, record]
    assert deleted.root is not None
    assert deleted.root(record) == 2
    fields = tickets.fields
    assert list(fields) == ["id", "time", "status", "priority", "kind", "resolution_s"]
    assert (fields["time"].unit, fields["time"].format) == ("ns", "%d.%m.%Y")
    assert fields["status"].lookup == {"open": "opened", "done": "solved"}
    assert (fields["priority"].of, fields["priority"].lookup) == ("headers", {"p1": "urgent"})
    assert fields["priority"].default == "low"
    assert (fields["kind"].path, fields["kind"].value) == (None, "bug")
    assert fields["resolution_s"].scale == 3600
    assert (deleted.name, deleted.topics, deleted.deletes) == ("2", (), True)
    assert deleted.fields["arr"].minor_units is not None
    assert (skipped.topics, skipped.skip, skipped.source) == (("desk",), True, None)


@pytest.mark.parametrize(
    ("file_unit", "rule_unit", "field", "expected"),
    [
        ("", "", '"t"', None),
        ('time_unit = "us"\n', "", '"t"', "us"),
        ('time_unit = "us"\n', 'time_unit = "s"\n', '"t"', "s"),
        ("", 'time_unit = "s"\n', '{ path = "t" }', "s"),
        ("", 'time_unit = "s"\n', '{ path = "t", unit = "ns" }', "ns"),
    ],
)
def test_the_unit_of_a_time_is_that_of_the_field_or_the_rule_or_the_file(
    file_unit: str, rule_unit: str, field: str, expected: str | None
) -> None:
    mapping = parse_mapping(f"{file_unit}{RULE}{rule_unit}[map.fields]\ntime = {field}\namount = {field}\n")
    fields = mapping.rules[0].fields
    assert fields["time"].unit == expected
    assert fields["amount"].unit == ("ns" if "ns" in field else None)


def test_a_byte_order_mark_is_skipped() -> None:
    assert isinstance(parse_mapping(f'\ufeff{RULE}copy = "@"'), InputMapping)


def test_sources_of_the_policy_can_be_named() -> None:
    sources = BUILT_IN.extended([Source("calls", "phone-calls", EngagementEvent)])
    text = '[[map]]\nto = "calls"\nfields = { kind = "k" }'
    assert parse_mapping(text, "my.toml", sources).rules[0].source == "calls"
    assert only_mistake(text).startswith("my.toml:2: map[0].to: must be one of product-usage, ")


EXPRESSION = 'a JMESPath expression, such as "data.object.customer"'
NO_EVENT = "a rule with skip = true makes no event: remove this key, or skip"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "my.toml: map: missing: must be a list of at least one rule, [[map]]"),
        ("map = []", "my.toml:1: map: must be a list of at least one rule, [[map]], not []"),
        (
            "map = [1]",
            (
                "my.toml:1: map[0]: must be a table with name, from, when, root, to, copy, skip, delete, "
                "time_unit, timezone, fields, not 1"
            ),
        ),
        ("[[map]", "my.toml: TOML: Expected ']]' at the end of an array declaration (at line 1, column 6)"),
        (
            f'{RULE}copy = "@"\nmapp = 1',
            (
                'my.toml:4: map[0].mapp: unknown key "mapp"; allowed here: name, from, when, '
                "root, to, copy, skip, delete, time_unit, timezone, fields"
            ),
        ),
        (
            f'rot = "a"\n{RULE}copy = "@"',
            (
                'my.toml:1: rot: unknown key "rot"; did you mean "root"? allowed here: map, lookups, root, time_unit, '
                "timezone"
            ),
        ),
        (f'root = 1\n{RULE}copy = "@"', f"my.toml:1: root: must be {EXPRESSION}, not 1"),
        (
            f'time_unit = "m"\n{RULE}copy = "@"',
            'my.toml:1: time_unit: must be one of s, ms, us, ns, not "m"; did you mean "ms"?',
        ),
        (
            f'{RULE}copy = "@"\ntime_unit = "sec"',
            'my.toml:4: map[0].time_unit: must be one of s, ms, us, ns, not "sec"',
        ),
        (
            '[[map]]\nto = "biling"\ncopy = "@"',
            f'my.toml:2: map[0].to: must be one of {SOURCES}, not "biling"; did you mean "billing"?',
        ),
        (f'{RULE}copy = "@"\nname = ""', 'my.toml:4: map[0].name: must be a name for messages, not ""'),
        (
            f'{RULE}copy = "@"\nfrom = ""',
            (
                "my.toml:4: map[0].from: must be a list of at least one string, such as "
                '["stripe", "stripe-*"], not ""; write [""]'
            ),
        ),
        (
            f'{RULE}copy = "@"\nfrom = []',
            'my.toml:4: map[0].from: must be a list of at least one string, such as ["stripe", "stripe-*"], not []',
        ),
        (
            f'{RULE}copy = "@"\nfrom = ["a", 1]',
            (
                "my.toml:4: map[0].from: must be a list of at least one string, such as "
                '["stripe", "stripe-*"], not ["a", 1]'
            ),
        ),
        (f"{RULE}copy = 1", f"my.toml:3: map[0].copy: must be {EXPRESSION}, not 1"),
        (f'{RULE}copy = "@"\nroot = []', f"my.toml:4: map[0].root: must be {EXPRESSION}, not []"),
        (f'{RULE}copy = "@"\nwhen = true', f"my.toml:4: map[0].when: must be {EXPRESSION}, not true"),
        (
            f'{RULE}copy = "@"\nwhen = {{ of = "key" }}',
            f'my.toml:4: map[0].when: must be {EXPRESSION}, or a table with path and of, not {{ of = "key" }}',
        ),
        (
            f'{RULE}copy = "@"\nwhen = {{ path = "a", of = "value" }}',
            'my.toml:4: map[0].when.of: must be one of item, record, key, headers, all, not "value"',
        ),
        (
            f'{RULE}copy = "@"\nwhen = {{ path = "a", lookup = "b" }}',
            'my.toml:4: map[0].when.lookup: unknown key "lookup"; allowed here: path, of',
        ),
        (f'{RULE}copy = "@"\nwhen = "a ="', "my.toml:4: map[0].when: is no JMESPath expression: "),
        (
            f'{RULE}copy = "@"\nwhen = ""',
            "my.toml:4: map[0].when: is no JMESPath expression: Invalid JMESPath expression: cannot be empty.",
        ),
        (
            f'{RULE}copy = "@"\nwhen = "size(a)"',
            (
                "my.toml:4: map[0].when: is no JMESPath expression: 'size(a)' calls "
                f"size(), which is not one of {FUNCTIONS}"
            ),
        ),
        (
            f'{RULE}copy = "@"\nwhen = "!a.b"',
            (
                "my.toml:4: map[0].when: is no JMESPath expression: '!a.b' has ! before a "
                "path, which negates only its first name: write !(a.b) for !a.b"
            ),
        ),
        (f'{RULE}copy = "@"\nskip = "yes"', 'my.toml:4: map[0].skip: must be true or false, not "yes"'),
        ('[[map]]\nskip = true\nto = "billing"', f"my.toml:3: map[0].to: {NO_EVENT}"),
        ('[[map]]\nskip = true\ncopy = "@"', f"my.toml:3: map[0].copy: {NO_EVENT}"),
        ('[[map]]\nskip = true\ntime_unit = "s"', f"my.toml:3: map[0].time_unit: {NO_EVENT}"),
        ('[[map]]\nskip = true\ntimezone = "UTC"', f"my.toml:3: map[0].timezone: {NO_EVENT}"),
        (
            f'timezone = "Europe/Berln"\n{RULE}copy = "@"',
            (
                'my.toml:1: timezone: "Europe/Berln" is not a time zone; did you mean "Europe/Berlin"? write a name '
                'of the IANA time zone database, such as "America/New_York" or "Asia/Kolkata"'
            ),
        ),
        ('[[map]]\nskip = true\nfields = { id = "a" }', f"my.toml:3: map[0].fields: {NO_EVENT}"),
        (f'{RULE}copy = "@"\ndelete = 1', "my.toml:4: map[0].delete: must be true or false, not 1"),
        (
            f'{RULE}copy = "@"\ndelete = true',
            'my.toml:4: map[0].delete: only profiles are deleted: set to = "accounts"',
        ),
        (RULE, "my.toml:1: map[0].fields: missing: must be a table of fields: field of an event = JMESPath expression"),
        (
            f"{RULE}fields = {{}}",
            "my.toml:3: map[0].fields: must be a table of fields: field of an event = JMESPath expression, not {}",
        ),
        (
            f'{RULE}fields = {{ amout = "a" }}',
            (
                'my.toml:3: map[0].fields.amout: "amout" is not a field of billing; did '
                'you mean "amount"? allowed here: id, account_id, time, kind, amount, currency, days_late, properties'
            ),
        ),
        (
            f"{RULE}fields = {{ kind = 1 }}",
            f"my.toml:3: map[0].fields.kind: must be {EXPRESSION}, or a table with path, not 1",
        ),
        (
            f"{RULE}fields = {{ kind = {{}} }}",
            "my.toml:3: map[0].fields.kind.path: a field needs path (an expression) or value (a constant), one of them",
        ),
        (
            f'{RULE}fields = {{ kind = {{ path = "a", value = 1 }} }}',
            "my.toml:3: map[0].fields.kind.path: a field needs path (an expression) or value (a constant), one of them",
        ),
        (
            f'{RULE}fields = {{ kind = {{ path = "a", off = "key" }} }}',
            (
                "my.toml:3: map[0].fields.kind.off: unknown key "
                '"off"; did you mean "of"? allowed here: path, of, value, lookup, default, unit, format, scale, '
                "minor_units, decimal"
            ),
        ),
        (
            f'{RULE}fields = {{ amount = {{ path = "a", decimal = ";" }} }}',
            'my.toml:3: map[0].fields.amount.decimal: must be one of ,, ., not ";"',
        ),
        (
            f'{RULE}fields = {{ kind = {{ path = "a", of = "body" }} }}',
            'my.toml:3: map[0].fields.kind.of: must be one of item, record, key, headers, all, not "body"',
        ),
        (
            f'{RULE}fields = {{ kind = {{ path = "a", lookup = "b" }} }}',
            'my.toml:3: map[0].fields.kind.lookup: "b" is not one of [lookups]; there is none',
        ),
        (
            f'{RULE}fields = {{ kind = {{ path = "a", lookup = 1 }} }}',
            "my.toml:3: map[0].fields.kind.lookup: must be the name of one of [lookups], or a table of values, not 1",
        ),
        (
            f'{RULE}fields = {{ kind = {{ path = "a", lookup = {{}} }} }}',
            "my.toml:3: map[0].fields.kind.lookup: a lookup needs at least one value",
        ),
        (
            f'{RULE}fields = {{ kind = {{ path = "a", lookup = {{ a = [] }} }} }}',
            "my.toml:3: map[0].fields.kind.lookup.a: must be a text, number or flag, not []",
        ),
        (
            f'{RULE}fields = {{ time = {{ path = "a", unit = "h" }} }}',
            'my.toml:3: map[0].fields.time.unit: must be one of s, ms, us, ns, not "h"',
        ),
        (
            f'{RULE}fields = {{ time = {{ path = "a", format = 1 }} }}',
            (
                "my.toml:3: map[0].fields.time.format: must be the layout of a time, as for strptime, such as "
                '"%d.%m.%Y", not 1'
            ),
        ),
        (
            f'{RULE}fields = {{ time = {{ path = "a", format = "%d.%Q" }} }}',
            (
                "my.toml:3: map[0].fields.time.format: must be the layout of a time, as for strptime, such as "
                '"%d.%m.%Y", not "%d.%Q"'
            ),
        ),
        (
            f'{RULE}fields = {{ amount = {{ path = "a", scale = "2" }} }}',
            'my.toml:3: map[0].fields.amount.scale: must be a number by which the value is multiplied, not "2"',
        ),
        (
            f'{RULE}fields = {{ amount = {{ path = "a", minor_units = 2 }} }}',
            f"my.toml:3: map[0].fields.amount.minor_units: must be {EXPRESSION}, not 2",
        ),
        (f'lookups = 1\n{RULE}copy = "@"', "my.toml:1: lookups: must be tables of values, [lookups.NAME], not 1"),
        (
            f'{RULE}copy = "@"\n[lookups]\na = 1',
            "my.toml:5: lookups.a: must be a table of values: what a system writes = what an event has, not 1",
        ),
        (f'{RULE}copy = "@"\n[lookups.a]', "my.toml:4: lookups.a: a lookup needs at least one value"),
        (
            f'{RULE}copy = "@"\n[lookups.a]\nb = {{ c = 1 }}',
            "my.toml:5: lookups.a.b: must be a text, number or flag, not { c = 1 }",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line_and_what_is_allowed(text: str, expected: str) -> None:
    mistake = only_mistake(text)
    assert mistake.rstrip(".") == expected.rstrip(".") or (expected.endswith(": ") and mistake.startswith(expected))


def test_all_mistakes_of_a_file_are_named_in_the_order_of_lines() -> None:
    named = mistakes('[[map]]\nto = "nothing"\nwhen = 1\nfields = { time = { path = 1 } }\n[[map]]\nskip = 1\n')
    assert [mistake.split(": ")[:2] for mistake in named] == [
        ["my.toml:2", "map[0].to"],
        ["my.toml:3", "map[0].when"],
        ["my.toml:4", "map[0].fields.time.path"],
        ["my.toml:5", "map[1].fields"],
        ["my.toml:6", "map[1].skip"],
    ]


def test_fields_of_accounts_and_of_unknown_sources_can_have_any_name() -> None:
    for head in ('[[map]]\nto = "accounts"\n', "[[map]]\n"):
        rule = parse_mapping(f'{head}fields = {{ "Customer Level" = "a" }}').rules[0]
        assert list(rule.fields) == ["Customer Level"]
