"""Parallel test processes share nothing: tests with one broker, browser or board are run by one of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).parents[2] / "conftest.py"
SHARED = """
import os

import pytest


@pytest.fixture(scope="module")
def process():
    with open("started", "a") as file:
        file.write(f"{os.getpid()}\\n")


@pytest.mark.parametrize("number", range(8))
def test_with_the_process(process, number):
    pass
"""


def test_a_shared_fixture_is_made_by_one_process(tmp_path: Path) -> None:
    """pytest-xdist groups tests by their names, and a pytest that it does not know keeps the group out of them."""
    folder = tmp_path / "tests"
    folder.mkdir()
    shutil.copy(CONFTEST, folder)
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / "test_shared.py").write_text(SHARED, encoding="utf-8")
    printed = run(tmp_path, "-n", "2", "--dist", "loadgroup", "--no-loadscope-reorder")
    assert "8 passed" in printed
    assert "make test" not in printed
    assert len((tmp_path / "started").read_text("utf-8").split()) == 1
    alone = run(tmp_path)
    assert "8 passed" in alone
    assert "in one process; `make test` runs everything in several" in alone


def run(folder: Path, *options: str) -> str:
    """What pytest prints."""
    command = [sys.executable, "-m", "pytest", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
