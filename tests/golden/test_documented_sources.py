"""The documented policy with a source of its own: its cases, its files, and the output that the page shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pages.blocks import DOCS, ROOT, all_blocks
from tests.unit.agents.cli.invoke import vitals

EXAMPLE = ROOT / "deploy" / "examples" / "own-source"
POLICY = EXAMPLE / "licences.toml"
EVENTS = EXAMPLE / "crm.licences.jsonl"
PAGE = DOCS / "reference" / "policy" / "sources.md"
COMMANDS = {
    "vitals test deploy/examples/own-source/licences.toml": ("test", POLICY),
    "vitals score deploy/examples/own-source/crm.licences.jsonl --policy deploy/examples/own-source/licences.toml "
    "--as-of 2026-03-03": ("score", EVENTS, "--policy", POLICY, "--as-of", "2026-03-03"),
}


def test_the_cases_beside_the_policy_give_the_stated_numbers_and_reach_all_of_it() -> None:
    # "licences": 30 of 50 seats are 60 points, 2 of 4 modules 50: (3 x 60 + 50) / 4 = 57.5.
    done = vitals("test", "--complete", "--json", POLICY)
    assert [case for case in json.loads(done.stdout)["cases"] if case["differences"]] == []
    assert done.exit_code == 0, done.stdout


def test_the_page_shows_the_policy_as_it_is_in_its_file() -> None:
    shown, _ = [block for block in all_blocks(PAGE) if block.language == "toml"]
    assert (shown.title, shown.body) == (str(POLICY.relative_to(ROOT)), POLICY.read_text("utf-8"))


def test_a_built_in_source_is_read_from_the_topic_that_the_policy_names(tmp_path: Path) -> None:
    # "own-topics": 40 uses in the last week of 100 are 40 points.
    _, shown = [block.body for block in all_blocks(PAGE) if block.language == "toml"]
    policy, events = tmp_path / "policy.toml", tmp_path / "prod.app-events.jsonl"
    policy.write_text(shown, "utf-8")
    uses = [{"id": str(n), "account_id": "acme", "time": f"2026-03-0{1 + n % 5}T09:00:00Z"} for n in range(40)]
    events.write_text("\n".join(map(json.dumps, uses)), "utf-8")
    profiles = tmp_path / "crm.accounts.jsonl"
    profiles.write_text('{"id": "p", "account_id": "acme", "time": "2026-03-01T00:00:00Z", "name": "Acme"}', "utf-8")
    done = vitals("score", events, profiles, "--policy", policy, "--as-of", "2026-03-05")
    assert not done.stderr
    assert json.loads(done.stdout)["scores"]["health"]["value"] == 40.0


@pytest.mark.parametrize("command", COMMANDS)
def test_the_output_that_the_page_shows_is_that_of_the_command(command: str) -> None:
    shown = dict(
        block.body.removeprefix("$ ").split("\n", 1) for block in all_blocks(PAGE) if block.language == "console"
    )
    assert shown.keys() == COMMANDS.keys()
    assert vitals(*COMMANDS[command]).stdout == shown[command]


def test_a_line_that_cannot_be_used_is_named_with_file_and_line() -> None:
    done = vitals("score", EVENTS, "--policy", POLICY)
    assert done.stderr.splitlines()[0].endswith(
        "crm.licences.jsonl:3: invalid_field: licences: Expected `float`, got `str` - at `$.seats`; "
        'the value is "ten": write a JSON number, such as 4800.5'
    )
    assert done.exit_code == 1


def test_lines_name_their_source_by_topic_or_by_name(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in EVENTS.read_text("utf-8").splitlines()]
    expected = vitals("score", EVENTS, "--policy", POLICY).stdout
    by_name, mixed = tmp_path / "licences.jsonl", tmp_path / "events.jsonl"
    by_name.write_bytes(EVENTS.read_bytes())
    spellings = ("crm.licences", "licences")
    mixed.write_text("\n".join(json.dumps(line | {"topic": spellings[n % 2]}) for n, line in enumerate(lines)))
    for file in (by_name, mixed):
        assert vitals("score", file, "--policy", POLICY).stdout == expected


def test_columns_of_a_table_are_read_as_the_fields_are(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in EVENTS.read_text("utf-8").splitlines()]
    head = ("id", "account_id", "time", "seats", "module", "active")
    rows = [head, *([str(line.get(name, "")) for name in head] for line in lines)]  # active is True or False here
    table = tmp_path / "licences.csv"
    table.write_text("\n".join(map(",".join, rows)), "utf-8")
    assert vitals("score", table, "--policy", POLICY).stdout == vitals("score", EVENTS, "--policy", POLICY).stdout
