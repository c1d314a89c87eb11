"""The tutorial leads from the records of every preset to a score: what the page shows is what the commands print."""

from __future__ import annotations

import shlex
from contextlib import chdir
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agents.cli.main import app
from agents.files.mappings import preset_names
from agents.settings.settings import child_environment
from tests.pages.preset_paths import PAGE, PATHS, RECORDS, PresetPath, section
from tests.pages.steps import Command, File, steps

STEPS = list(steps(PAGE))


@pytest.fixture(autouse=True)
def _without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in child_environment():
        if name.startswith("VITALS_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.preset)
def test_the_section_is_that_of_the_commands_and_records(path: PresetPath, tmp_path: Path) -> None:
    """If not: `python -m tests.pages.preset_paths`."""
    with chdir(tmp_path):
        assert f"\n{section(path)}\n\n" in PAGE.read_text(encoding="utf-8")


def test_every_preset_has_a_section_and_every_file_is_an_example() -> None:
    assert sorted(path.preset for path in PATHS) == sorted(preset_names())
    assert sorted(name for path in PATHS for name in path.files) == sorted(file.name for file in RECORDS.iterdir())


def test_the_commands_about_several_systems_print_what_the_page_shows(tmp_path: Path) -> None:
    """The commands before them are those of the sections; tests/broker/test_tutorial.py types all of them."""
    folder, checked = tmp_path, 0
    for step in STEPS:
        if isinstance(step, File):
            (folder / step.name).write_text(step.text, encoding="utf-8")
        elif step.text == "cd together":
            folder /= "together"
        elif " segment.jsonl stripe.jsonl " in step.text or folder != tmp_path:
            with chdir(folder):
                done = CliRunner().invoke(app, shlex.split(step.text)[1:])
            assert (done.exit_code, done.stderr) == (0, ""), step.text
            assert step.prints(done.stdout), f"{step.text}\n{done.stdout}"
            checked += 1
    assert checked == 3


def test_every_section_ends_with_scores() -> None:
    scored = [step for step in STEPS if isinstance(step, Command) and step.text.startswith("vitals score ")]
    assert {preset for preset in preset_names() if any(f"--policy {preset}/" in step.text for step in scored)} == set(
        preset_names()
    )
    assert all(step.output[0].startswith('{"account_id":') for step in scored)
