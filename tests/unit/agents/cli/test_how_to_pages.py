"""The how-to pages about `explain`, `check` and `score` show exactly what the commands print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agents.cli.main import app
from agents.settings.settings import child_environment

ROOT = Path(__file__).parents[4]
BLOCK = re.compile(r"^```console\n\$ vitals (.*)\n((?:.*\n)*?)```$", re.MULTILINE)
NAMES = (
    *("explain-a-score.md", "try-a-policy.md", "test-a-policy.md"),
    *("use-your-own-data.md", "score-products-and-sites.md"),
)
PAGES = [ROOT / "docs/how-to" / name for name in NAMES]
SHOWN = [shown for page in PAGES for shown in BLOCK.findall(page.read_text(encoding="utf-8"))]


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in child_environment():
        if name.startswith("VITALS_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command.split()[0] for command, _ in SHOWN])
def test_the_page_shows_what_is_printed(command: str, output: str) -> None:
    done = CliRunner().invoke(app, shlex.split(command))
    assert done.exit_code == 0, done.stderr
    assert [line.rstrip() for line in done.stdout.splitlines()] == output.splitlines()


def test_the_pages_show_each_command() -> None:
    commands = "explain check score score test map map explain score score"
    assert " ".join(command.split()[0] for command, _ in SHOWN) == commands
