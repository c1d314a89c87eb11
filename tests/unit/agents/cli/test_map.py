"""`vitals map`: what a person sees of a mapping, and the events that a program gets."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from agents.cli.main import app
from agents.files.mappings import preset_names

RUNNER = CliRunner()
FAILED = {
    "id": "evt_1",
    "object": "event",
    "type": "invoice.payment_failed",
    "created": 1772000000,
    "data": {"object": {"id": "in_1", "customer": "cus_9", "amount_due": 1999, "currency": "eur"}},
}
MISSING = {**FAILED, "data": {"object": {"id": "in_2"}}}


def hooks(folder: Path, *records: dict) -> Path:
    path = folder / "hooks.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


def test_records_are_shown_before_and_after_with_counts(tmp_path: Path) -> None:
    path = hooks(tmp_path, FAILED, {**FAILED, "id": "evt_2"}, {"object": "event", "type": "charge.refunded"})
    result = RUNNER.invoke(app, ["map", str(path), "--mapping", "stripe"])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"{path}:1: rule payment failed",
        f"  before  {json.dumps(FAILED, separators=(',', ':'))}",
        (
            '  after   {"topic":"billing","id":"evt_1","account_id":"cus_9","time":1772000000000,'
            '"kind":"payment_failed",'
            '"amount":19.99,"currency":"EUR","properties":{"invoice_id":"in_1","subscription_id":null,"attempts":null,'
            '"reason":null}}'
        ),
        f"{path}: 3 records",
        "          2  events of billing",
        "          1  skipped by rule other events",
    ]


def test_the_events_are_json_lines_that_score_reads(tmp_path: Path) -> None:
    mapped = RUNNER.invoke(app, ["map", str(hooks(tmp_path, FAILED)), "--mapping", "stripe", "--json"])
    assert mapped.exit_code == 0
    events = tmp_path / "events.jsonl"
    events.write_text(mapped.stdout, "utf-8")
    direct = RUNNER.invoke(app, ["score", str(hooks(tmp_path, FAILED)), "--mapping", "stripe"])
    assert direct.exit_code == 0
    assert RUNNER.invoke(app, ["score", str(events)]).stdout == direct.stdout
    assert json.loads(direct.stdout)["account_id"] == "cus_9"


def test_what_cannot_be_mapped_is_named_and_counted(tmp_path: Path) -> None:
    path = hooks(tmp_path, MISSING, *[{"a": 1}] * 25)
    result = RUNNER.invoke(app, ["map", str(path), "--mapping", "stripe"])
    assert result.exit_code == 1
    errors = result.stderr.splitlines()
    assert errors[0].startswith(f"{path}:1: mapping_failed: rule payment failed of ")
    assert errors[20:] == [
        *errors[20:21],
        f"{path}: 5 more lines like this (unmapped)",
        "left out: 1 line (mapping_failed)",
        "left out: 25 lines (unmapped)",
    ]
    assert result.stdout.splitlines() == [
        f"{path}: 26 records",
        "          1  left out: mapping_failed",
        "         25  left out: unmapped",
    ]


def test_an_unknown_mapping_is_refused_with_the_presets(tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["map", str(hooks(tmp_path)), "--mapping", "strip"])
    assert result.exit_code == 2
    assert result.stderr == (
        "--mapping: 'strip' is neither a file nor a preset; did you mean \"stripe\"? "
        f"presets: {', '.join(preset_names())}\n"
    )
    result = RUNNER.invoke(app, ["map", str(hooks(tmp_path)), "--mapping", str(tmp_path / "my.toml")])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{tmp_path / 'my.toml'}: no such file: check the path, or name a preset: ")


def test_mistakes_of_a_mapping_are_all_named(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text('[[map]]\nto = "biling"\nwhen = "a ="\nfields = { id = "id" }\n', "utf-8")
    result = RUNNER.invoke(app, ["map", str(hooks(tmp_path)), "--mapping", str(path)])
    assert result.exit_code == 2
    assert [line.partition(":2")[0].partition(":3")[0] for line in result.stderr.splitlines()] == [str(path)] * 2
