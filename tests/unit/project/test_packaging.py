"""What is installed from a wheel is whole: packages, policies, command."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import PathDistribution
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("agents", "schemas", "stream")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a wheel, built from this checkout and unpacked as an installer would."""
    built, unpacked = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("unpacked")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(built)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    (wheel,) = built.glob("*.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    return unpacked


def run(installed: Path, *arguments: str) -> str:
    """What Python prints with the unpacked wheel before everything else in its path."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=installed,
        env={**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_three_packages_and_no_more(installed: Path) -> None:
    folders = {path.name for path in installed.iterdir() if path.suffix != ".dist-info"}
    assert folders == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_is_in_the_wheel(installed: Path, package: str) -> None:
    here = {path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py")}
    there = {path.relative_to(installed) for path in (installed / package).rglob("*.py")}
    assert there == here


def test_what_lies_beside_the_modules_is_in_the_wheel(installed: Path) -> None:
    kinds = {".css", ".html", ".js", ".svg", ".LICENSE"}
    beside = [path.relative_to(ROOT) for path in (ROOT / "agents").rglob("*") if path.suffix in kinds]
    assert {path.suffix for path in beside} == kinds
    assert [path for path in beside if not (installed / path).exists()] == []


def test_the_policies_are_in_the_wheel_as_they_are_here(installed: Path) -> None:
    here = {path.name: path.read_bytes() for path in (ROOT / "deploy" / "policies").glob("*.toml")}
    there = {path.name: path.read_bytes() for path in (installed / "agents" / "policies").glob("*.toml")}
    assert "template.toml" in here
    assert there == here


def test_the_wheel_installs_the_command(installed: Path) -> None:
    (metadata,) = installed.glob("*.dist-info")
    (command,) = PathDistribution(metadata).entry_points
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (command.group, command.name, command.value) == ("console_scripts", "vitals", project["scripts"]["vitals"])


def test_the_command_runs_from_the_wheel(installed: Path) -> None:
    assert Path(run(installed, "-c", "import agents; print(agents.__file__)").strip()).is_relative_to(installed)
    shown = run(installed, "-m", "agents", "--help")
    assert "Usage" in shown
    assert "worker" in shown
