"""README works: its policy scores its event as shown, and it installs the package as the tutorial does."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from tests.pages.steps import Command, File, steps

ROOT = Path(__file__).parents[3]
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial" / "score-a-file.md"


def files(page: Path) -> dict[str, str]:
    return {step.name: step.text for step in steps(page) if isinstance(step, File)}


def commands(page: Path) -> list[Command]:
    return [step for step in steps(page) if isinstance(step, Command)]


def test_the_first_event_is_scored_as_shown(tmp_path: Path) -> None:
    for name, text in files(README).items():
        (tmp_path / name).write_text(text, "utf-8")
    (shown,) = (command for command in commands(README) if command.text.startswith("vitals "))
    nothing_set = {name: value for name, value in os.environ.items() if not name.startswith("VITALS_")}
    done = subprocess.run(
        [sys.executable, "-m", "agents", *shlex.split(shown.text)[1:]],
        cwd=tmp_path,
        env={**nothing_set, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert shown.prints(done.stdout), done.stdout


def test_the_policy_and_the_event_are_those_of_the_tutorial() -> None:
    readme, tutorial = files(README), files(TUTORIAL)
    assert readme["first.toml"] == tutorial["first.toml"]
    assert tutorial["support-tickets.jsonl"].startswith(readme["support-tickets.jsonl"])


def test_the_package_is_installed_by_the_commands_of_the_tutorial() -> None:
    """The test of the tutorial runs them."""
    install = [command.text for command in commands(TUTORIAL)][:3]
    assert install[2] == "pip install ."
    assert [command.text for command in commands(README)][:3] == install
