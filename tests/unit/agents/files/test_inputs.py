"""Records of files become events of sources: JSON lines of ours, rows with our columns, and mapped records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.files.inputs import FileEvents, read_file
from agents.files.replay import replay_files
from agents.settings.settings import default_policy
from schemas.sources import BUILT_IN
from stream.mapping.reading import parse_mapping
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy

MAPPING = parse_mapping(
    """
[[map]]
name = "tickets"
from = "desk*"
when = "kind == 'ticket'"
to = "support-tickets"
[map.fields]
id = "key"
account_id = "customer"
time = { path = "at", unit = "s" }
ticket_id = "key"
status = { path = "state", lookup = { New = "opened", Done = "solved" } }

[[map]]
name = "notes"
from = "desk*"
when = "kind == 'note'"
skip = true
""",
    "desk.toml",
)
PLAN = compile_plan(parse_policy(default_policy().read_text(encoding="utf-8"), "template.toml"))


def ticket(**fields: object) -> str:
    return json.dumps({"kind": "ticket", "key": 7, "customer": "acme", "at": 1_774_605_600, "state": "new"} | fields)


def documents(read: FileEvents, source: str) -> list[dict]:
    return [json.loads(value) for _, value in read.by_source[source]]


def test_a_mapping_gives_events_and_says_what_becomes_of_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "desk-1.jsonl"
    path.write_text(
        "\n".join([ticket(), '{"kind":"note"}', '{"kind":"call","a":1}', "{", ticket(customer=None)]), "utf-8"
    )
    read = read_file(path, BUILT_IN, MAPPING)
    assert documents(read, "support-tickets") == [
        {"id": "7", "account_id": "acme", "time": 1_774_605_600_000, "ticket_id": "7", "status": "opened"}
    ]
    assert read.skipped == {"notes": 1}
    assert read.records == 5
    assert [(bad.line, bad.reason, bad.message) for bad in read.bad] == [
        (3, "unmapped", "no rule of desk.toml is for this record: its fields are kind, a"),
        (4, "malformed_json", "Input data was truncated"),
        (
            5,
            "mapping_failed",
            "rule tickets of desk.toml: it has no account: None is no account_id, and the record has no key",
        ),
    ]


ADVICE = (
    "it is an event already: copy the mapping, give its rules `from`, the names of the files that they are for, and "
    "name the copy with --mapping (a copy that `vitals init` writes has it)"
)
EVERY_FILE = parse_mapping(
    "[[map]]\nwhen = \"type == 'track'\"\nto = 'product-usage'\nfields = { id = 'k' }", "seg.toml"
)
PLAIN = {"id": "1", "account_id": "acme", "time": 1_774_605_600_000}


@pytest.mark.parametrize(
    ("name", "record", "advised"),
    [
        ("events.jsonl", PLAIN | {"topic": "billing", "kind": "upgraded"}, True),
        ("billing.jsonl", PLAIN | {"kind": "upgraded"}, True),
        ("events.jsonl", PLAIN | {"topic": "invoices"}, False),
        ("events.jsonl", PLAIN, False),
        ("events.jsonl", {"topic": ["billing"], "account_id": "acme", "time": 1}, False),
        ("billing.jsonl", {"payload": {"after": PLAIN}}, False),
        ("billing.jsonl", [1], False),
    ],
)
def test_an_event_that_a_mapping_keeps_out_says_how_to_let_it_in(
    tmp_path: Path, name: str, record: Any, advised: bool
) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(record) + "\n", "utf-8")
    (bad,) = read_file(path, BUILT_IN, EVERY_FILE).bad
    assert bad.reason == "unmapped"
    assert bad.message.startswith("no rule of seg.toml is for this record: ")
    assert bad.message.endswith(f"; {ADVICE}") is advised


def test_a_row_that_a_mapping_keeps_out_says_how_to_let_it_in(tmp_path: Path) -> None:
    path = tmp_path / "billing.csv"
    path.write_text("account_id,time,kind\nacme,2026-03-27,upgraded\n", "utf-8")
    (bad,) = read_file(path, BUILT_IN, EVERY_FILE).bad
    assert bad.message.endswith(f"; {ADVICE}")


def test_a_mapping_leaves_other_files_alone(tmp_path: Path) -> None:
    path = tmp_path / "support-tickets.jsonl"
    path.write_text('{"id":"1"}', "utf-8")
    assert read_file(path, BUILT_IN, MAPPING).by_source == {"support-tickets": [(1, b'{"id":"1"}')]}


def test_rows_have_the_fields_of_a_source_as_columns(tmp_path: Path) -> None:
    path = tmp_path / "billing.csv"
    path.write_text(
        "account_id,time,kind,amount\n"
        "7,2026-03-27 10:00:00,invoice_paid,12.5\n"
        "8,2026-03-27,Payment_Failed,\n"
        "9,2026-03-27T10:00:00+02,upgraded,abc\n",
        "utf-8",
    )
    read = read_file(path, BUILT_IN)
    assert documents(read, "billing") == [
        {
            "account_id": "7",
            "time": 1774605600000,
            "kind": "invoice_paid",
            "amount": 12.5,
            "id": f"{path.as_posix()}:2",
        },
        {"account_id": "8", "time": 1774569600000, "kind": "payment_failed", "id": f"{path.as_posix()}:3"},
        {"account_id": "9", "time": 1774598400000, "kind": "upgraded", "amount": "abc", "id": f"{path.as_posix()}:4"},
    ]
    assert not read.bad
    replay = replay_files([path], PLAN)
    (bad,) = replay.bad
    assert (bad.line, bad.reason) == (4, "invalid_field")
    assert bad.message == (
        "billing: Expected `float | null`, got `str` - at `$.amount`; "
        'the value is "abc": write a JSON number, such as 4800.5'
    )


def test_rows_of_several_sources_name_theirs(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("topic,account_id,time,kind\nbilling,7,2026-03-27,upgraded\ninvoices,7,2026-03-27,x\n", "utf-8")
    read = read_file(path, BUILT_IN)
    assert list(read.by_source) == ["billing"]
    (bad,) = read.bad
    assert (bad.line, bad.reason) == (3, "unknown_topic")
    assert bad.message.endswith("; add a column topic, or map it: --mapping")


def test_rows_of_files_with_one_name_in_two_folders_are_two_events(tmp_path: Path) -> None:
    for folder in ("berlin", "paris"):
        (tmp_path / folder).mkdir()
        text = "account_id,time,kind,amount\nacme,1774605600000,invoice_paid,5\n"
        (tmp_path / folder / "billing.csv").write_text(text, "utf-8")
    replay = replay_files([tmp_path], PLAN)
    assert not replay.bad
    assert replay.outcomes == {("billing", "applied"): 2}


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("billing.csv").write_text("account_id,time,kind\nacme,1774605600000,invoice_paid\n", "utf-8")
    named = [Path("billing.csv"), tmp_path / "billing.csv", Path("*.csv"), tmp_path]
    assert replay_files(named, PLAN).outcomes == {("billing", "applied"): 1}


@pytest.mark.parametrize("name", ["billing", "shop.public.billing", "BILLING-2", "product_usage"])
@pytest.mark.parametrize(
    ("ending", "content"),
    [
        ("jsonl", '{"topic":"surveys","id":"1"}'),
        ("json", '[{"topic":"surveys","id":"1"}]'),
        ("csv", "topic,account_id\nsurveys,1"),
    ],
)
def test_the_name_of_a_file_decides_its_source_before_the_field_topic(
    tmp_path: Path, name: str, ending: str, content: str
) -> None:
    path = tmp_path / f"{name}.{ending}"
    path.write_text(content, "utf-8")
    expected = {"BILLING-2": "surveys", "product_usage": "product-usage"}.get(name, "billing")
    assert list(read_file(path, BUILT_IN).by_source) == [expected]
