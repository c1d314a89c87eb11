"""`vitals schemas`: the files that it writes, what it prints, and what it says where it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.agents.cli.invoke import ROOT, vitals

COPY = ROOT / "docs" / "reference" / "schemas"
OWN_SOURCE = """
name = "own"

[sources.hr]
topic = "hr-events"
fields = { heads = "number" }

[measures.heads]
source = "hr"
stat = "sum"
field = "heads"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }
weight = 1
missing = "neutral"

[scores.health]
min_change = 1.0
bands = [{ name = "all", from = 0 }]
"""


def test_a_directory_gets_the_files_of_the_reference(tmp_path: Path) -> None:
    done = vitals("schemas", tmp_path / "new" / "schemas")
    assert done.exit_code == 0, done.stderr
    written = {file.name: file.read_text("utf-8") for file in (tmp_path / "new" / "schemas").iterdir()}
    assert written == {file.name: file.read_text("utf-8") for file in COPY.iterdir()}
    assert done.stdout == f"{len(written)} files written to {tmp_path / 'new' / 'schemas'}\n"


def test_the_files_of_one_form_are_written_alone(tmp_path: Path) -> None:
    assert vitals("schemas", tmp_path, "--format", "asyncapi").exit_code == 0
    assert [file.name for file in tmp_path.iterdir()] == ["asyncapi.json"]


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (("--format", "asyncapi"), "asyncapi.json"),
        (("--format", "connect", "--topic", "health.score-rows"), "health.score-rows.connect.json"),
        (("--format", "json-schema", "--topic", "billing"), "billing.schema.json"),
    ],
)
def test_a_form_is_printed_on_one_line(arguments: tuple[str, ...], file: str) -> None:
    done = vitals("schemas", *arguments)
    assert done.stdout.count("\n") == 1
    assert json.loads(done.stdout) == json.loads((COPY / file).read_text("utf-8"))


def test_the_sources_of_a_policy_are_included_where_it_is_named(tmp_path: Path) -> None:
    policy = tmp_path / "own.toml"
    policy.write_text(OWN_SOURCE, encoding="utf-8")
    assert "hr-events" not in json.loads(vitals("schemas", "--format", "json-schema").stdout)
    done = vitals("schemas", "--format", "json-schema", "--policy", policy)
    assert "heads" in json.loads(done.stdout)["hr-events"]["properties"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a directory for the files, or print one form with --format"),
        (("--format", "connect", "--topic", "nowhere"), "--topic nowhere: no input or output has this name"),
        (("--format", "asyncapi", "--topic", "billing"), "an AsyncAPI document is of all topics"),
        (("somewhere", "--topic", "billing"), "use it without a directory"),
    ],
)
def test_a_mistake_is_explained(arguments: tuple[str, ...], message: str) -> None:
    done = vitals("schemas", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = vitals("schemas", tmp_path / "file")
    assert done.exit_code == 1
    assert f"{tmp_path / 'file'}: the schemas cannot be written" in done.stderr
