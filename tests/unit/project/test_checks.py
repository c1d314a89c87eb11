"""Each command of `make check` fails on a deliberate violation, under the project's own settings."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("account_vitals", "agents", "schemas", "stream")


def run(command: str, *arguments: str, folder: Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of the virtualenv these tests run in."""
    executable = str(Path(sys.executable).with_name(command))
    return subprocess.run(
        [executable, *arguments], cwd=folder, input=stdin, capture_output=True, text=True, check=False, timeout=240
    )


FORBIDDEN = [
    ("schemas", "import stream", "schemas.violation -> stream"),
    ("stream", "from agents import violated", "stream.violation -> agents.violated"),
    ("agents/files", "import account_vitals", "agents.files.violation -> account_vitals"),
    ("schemas", "import aiokafka", "schemas.violation -> aiokafka"),
    ("stream", "import asyncio", "stream.violation -> asyncio"),
    ("stream", "from http import client", "stream.violation -> http"),
    ("stream", "import time", "stream.violation -> time"),
    ("stream/columns", "from stream.policy import errors", "stream.columns.violation -> stream.policy.errors"),
    ("stream/policy", "from stream.measures import base", "stream.policy.violation -> stream.measures.base"),
    ("stream/measures", "from stream.plan import plan", "stream.measures.violation -> stream.plan.plan"),
    ("stream/plan", "from stream.accounts import overrides", "stream.plan.violation -> stream.accounts.overrides"),
    ("stream/accounts", "from stream.scoring import peers", "stream.accounts.violation -> stream.scoring.peers"),
    ("stream/scoring", "from stream.publishing import effects", "stream.scoring.violation -> stream.publishing"),
    ("stream/publishing", "from stream.ingest import merge", "stream.publishing.violation -> stream.ingest.merge"),
    ("stream/ingest", "from stream.alerts import storms", "stream.ingest.violation -> stream.alerts.storms"),
    ("stream/alerts", "from stream.engine import scorer", "stream.alerts.violation -> stream.engine.scorer"),
    ("stream/engine", "from stream.recovery import shadow", "stream.engine.violation -> stream.recovery.shadow"),
    ("stream/recovery", "from stream.explain import since", "stream.recovery.violation -> stream.explain.since"),
    ("stream/explain", "from stream.consumers import rollup", "stream.explain.violation -> stream.consumers"),
    (
        "agents/board",
        "from agents.worker.monitoring import metrics",
        "agents.board.violation -> agents.worker.monitoring.metrics",
    ),
    ("agents/backtest", "from agents.board import state", "agents.backtest.violation -> agents.board"),
    ("agents/demo", "from agents.sinks import metrics", "agents.demo.violation -> agents.sinks.metrics"),
    ("agents/sinks", "from agents.derived import peers", "agents.sinks.violation -> agents.derived.peers"),
    (
        "agents/derived",
        "from agents.worker.tasks import clock",
        "agents.derived.violation -> agents.worker",
    ),
    ("agents/shadow", "from agents.board import state", "agents.shadow.violation -> agents.board"),
    ("agents/state", "from agents.worker.tasks import clock", "agents.state.violation -> agents.worker"),
    ("agents/worker", "from agents.backtest import fit", "agents.worker.violation -> agents.backtest.fit"),
    (
        "agents/files",
        "from agents.worker.tasks import records",
        "agents.files.violation -> agents.worker",
    ),
    ("agents/kafka", "from agents.derived import rollup", "agents.kafka.violation -> agents.derived.rollup"),
    ("agents/process", "from agents.kafka import client", "agents.process.violation -> agents.kafka.client"),
    ("agents/settings", "from agents.process import logs", "agents.settings.violation -> agents.process.logs"),
]
"""Imports that a contract forbids: the package that has them, the statement, and what lint-imports shows of it."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the packages and their settings, free to be broken."""
    return copied(tmp_path)


def copied(folder: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_lint_imports_passes_on_the_copy_as_it_is(copy: Path) -> None:
    done = run("lint-imports", "--no-cache", folder=copy)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def shown_of_all(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What lint-imports shows of a copy with all forbidden imports, each of which it lists."""
    folder = copied(tmp_path_factory.mktemp("forbidden"))
    (folder / "agents" / "violated.py").write_text("")
    for package, statement, _ in FORBIDDEN:
        with (folder / package / "violation.py").open("a") as file:
            file.write(f"{statement}\n")
    done = run("lint-imports", "--no-cache", folder=folder)
    assert done.returncode == 1, done.stderr
    return done.stdout


@pytest.mark.parametrize(("package", "statement", "shown"), FORBIDDEN)
def test_lint_imports_fails_on_a_forbidden_import(shown_of_all: str, package: str, statement: str, shown: str) -> None:
    del package, statement
    assert shown in shown_of_all


def test_each_contract_can_be_broken(shown_of_all: str) -> None:
    assert "Contracts: 0 kept, 6 broken." in shown_of_all


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("import os\n", "F401"),
        ("def late(x=[]):\n    return x\n", "B006"),
        ("def undocumented() -> None:\n    return\n", "D103"),
    ],
)
def test_ruff_check_fails(text: str, shown: str) -> None:
    done = run("ruff", "check", "--no-cache", "--stdin-filename", "stream/violation.py", "-", folder=ROOT, stdin=text)
    assert done.returncode == 1, done.stderr
    assert shown in done.stdout


def test_ruff_format_fails() -> None:
    done = run("ruff", "format", "--check", "--stdin-filename", "violation.py", "-", folder=ROOT, stdin="x  = 1\n")
    assert done.returncode == 1, done.stderr


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("def untyped(x):\n    return x\n", "no-untyped-def"),
        ("def wrong() -> int:\n    return 'one'\n", "return-value"),
        ("x: int = 1  # type: ignore\n", "unused-ignore"),
    ],
)
def test_mypy_fails(tmp_path: Path, text: str, shown: str) -> None:
    (tmp_path / "violation.py").write_text(text)
    settings = ("--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(tmp_path / "cache"))
    done = run("mypy", *settings, "violation.py", folder=tmp_path)
    assert done.returncode == 1, done.stderr
    assert shown in done.stdout
