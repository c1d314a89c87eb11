"""`vitals test`: exit status, report and mistakes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.pages.blocks import all_blocks
from tests.unit.agents.cli.invoke import ROOT, vitals

EXAMPLE = ROOT / "deploy" / "examples" / "first-policy.toml"
CASES = EXAMPLE.with_name("first-policy.test.toml")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The example in a folder of its own."""
    shutil.copy(CASES, tmp_path)
    return Path(shutil.copy(EXAMPLE, tmp_path))


def test_the_example_holds_and_reaches_everything() -> None:
    done = vitals("test", "--complete", EXAMPLE, CASES)
    assert done.exit_code == 0, done.stdout
    assert done.stdout.count("2 of 2 cases pass") == 2
    assert "not reached" not in done.stdout


def test_a_case_that_fails_is_named_with_its_line(copy: Path) -> None:
    file = copy.with_name(CASES.name)
    file.write_text(file.read_text("utf-8").replace("value = 68\n", "value = 70\n"), "utf-8")
    done = vitals("test", copy)
    assert done.exit_code == 1
    assert done.stdout.splitlines()[:2] == [
        f"FAIL  eight users, and one urgent ticket of four ({file}:3)",
        "      acme: scores.health.value: expected 70, got 68.0",
    ]
    assert json.loads(vitals("test", copy, "--json").stdout)["cases"][0]["differences"] == [
        "acme: scores.health.value: expected 70, got 68.0"
    ]


def test_with_complete_what_no_case_reaches_fails(copy: Path) -> None:
    file = copy.with_name(CASES.name)
    file.write_text(file.read_text("utf-8").partition('\n[[cases]]\nname = "no users')[0], "utf-8")
    assert vitals("test", copy).exit_code == 0
    done = vitals("test", "--complete", copy)
    assert done.exit_code == 1
    assert "not reached: band at-risk of health\n" in done.stdout


def test_a_change_that_differs_and_a_mistake_in_a_change_are_named(copy: Path) -> None:
    file = copy.with_name(CASES.name)
    text = file.read_text("utf-8")
    file.write_text(text.replace("from = 88, to = 68", "from = 88, to = 70"), "utf-8")
    done = vitals("test", copy)
    assert (done.exit_code, done.stdout.splitlines()[1]) == (
        1,
        "      acme: change 3 (event at 2026-03-26T09:00:00Z, health 88.0 to 68.0): to: expected 70, got 68.0",
    )
    file.write_text(text.replace('  { cause = "event", from = 0, to = 80, band_to = "healthy" },', "  80,"), "utf-8")
    done = vitals("test", copy)
    mistake = "cases[0].changes.acme[0]: must be a table with fields of its record in health.score-changes, not 80"
    assert (done.exit_code, f"{file}:14: {mistake}" in done.stderr) == (2, True), done.stderr


def test_missing_files_and_mistakes_end_with_2(copy: Path, tmp_path: Path) -> None:
    assert "write the cases of other.toml there" in vitals("test", tmp_path / "other.toml").stderr
    file = copy.with_name(CASES.name)
    text = file.read_text("utf-8")
    file.write_text(text.replace("as_of = ", "asof = ", 1), "utf-8")
    done = vitals("test", copy)
    assert (done.exit_code, f"{file}:5: cases[0].asof: " in done.stderr) == (2, True)
    file.write_text('policy = "gone.toml"\n' + text, "utf-8")
    done = vitals("test", file)
    assert (done.exit_code, "gone.toml: no such file" in done.stderr) == (2, True)
    file.write_text(text.replace('account = "dune"', 'account = "dune"\nfiles = ["gone.jsonl"]'), "utf-8")
    done = vitals("test", copy)
    assert (done.exit_code, "gone.jsonl" in done.stderr) == (2, True)


def test_the_example_is_the_first_policy_of_the_reference() -> None:
    shown = [block.body for block in all_blocks(ROOT / "docs/reference/policy/index.md") if block.language == "toml"]
    assert EXAMPLE.read_text("utf-8") in shown


def test_the_how_to_page_shows_the_case_of_the_example() -> None:
    (shown,) = (block.body for block in all_blocks(ROOT / "docs/how-to/test-a-policy.md") if block.language == "toml")
    assert shown in CASES.read_text("utf-8")
