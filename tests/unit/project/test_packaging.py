"""What is installed from a wheel is whole, and nothing of another distribution is overwritten."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import Distribution, PathDistribution, distributions
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[3]
PACKAGE = "account_vitals"
MOVED = ("agents", "schemas", "stream")
OTHERS = {"other-agents": "agents", "other-stream": "stream", "other-schemas": "schemas"}
"""Distributions that install packages of the names that the folders of the checkout have."""
REAL_OTHERS = {"openai-agents": "agents", "stream-python": "stream"}

IMPORT_EVERYTHING = """
import importlib, json, pkgutil, sys
import account_vitals
names = [module.name for module in pkgutil.walk_packages(account_vitals.__path__, "account_vitals.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(json.dumps({"modules": len(names), "loaded": sorted({name.partition(".")[0] for name in sys.modules})}))
"""
ALL_OF_THEM = """
import json
from account_vitals.agents.settings.settings import Settings
import account_vitals.stream, account_vitals.schemas, agents, stream, schemas
modules = (account_vitals.agents, account_vitals.stream, account_vitals.schemas, agents, stream, schemas)
print(json.dumps([getattr(module, "OWNER", "account-vitals") for module in modules]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that is built from this checkout."""
    built = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(built)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    (wheel,) = built.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the wheel, unpacked as an installer would."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    return unpacked


def run(installed: Path, *arguments: str, python: str = sys.executable, path: Path | None = None) -> str:
    """What Python prints with the unpacked wheel before everything else in its path."""
    done = subprocess.run(
        [python, *arguments],
        cwd=installed,
        env={**os.environ, "PYTHONPATH": str(path or installed), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_installs_one_package_and_no_more(installed: Path) -> None:
    folders = {path.name for path in installed.iterdir() if path.suffix != ".dist-info"}
    assert folders == {PACKAGE}


@pytest.mark.parametrize("package", [*MOVED, PACKAGE])
def test_every_module_is_in_the_wheel(installed: Path, package: str) -> None:
    moved = "" if package == PACKAGE else package
    here = {path.relative_to(ROOT / package) for path in (ROOT / package).rglob("*.py")}
    there = {path.relative_to(installed / PACKAGE / moved) for path in (installed / PACKAGE / moved).rglob("*.py")}
    if package == PACKAGE:
        there = {path for path in there if path.parts[0] not in MOVED}
    assert there == here


def test_modules_keep_their_lines_and_import_nothing_of_the_checkout(installed: Path) -> None:
    here = (ROOT / "agents" / "cli" / "main.py").read_text(encoding="utf-8").splitlines()
    there = (installed / PACKAGE / "agents" / "cli" / "main.py").read_text(encoding="utf-8").splitlines()
    changed = [(before, after) for before, after in zip(here, there, strict=True) if before != after]
    assert changed
    assert all(after == before.replace("from agents.", "from account_vitals.agents.") for before, after in changed)


def test_every_module_of_the_wheel_can_be_imported_without_the_checkout(installed: Path) -> None:
    code = f"import sys; sys.path.remove({str(ROOT)!r}) if {str(ROOT)!r} in sys.path else None\n{IMPORT_EVERYTHING}"
    result = json.loads(run(installed, "-c", code))
    assert result["modules"] > 400
    assert set(MOVED).isdisjoint(result["loaded"])


def test_what_lies_beside_the_modules_is_in_the_wheel(installed: Path) -> None:
    kinds = {".css", ".html", ".js", ".svg", ".LICENSE", ".lua"}
    beside = [path.relative_to(ROOT) for path in (ROOT / "agents").rglob("*") if path.suffix in kinds]
    assert {path.suffix for path in beside} == kinds
    assert [path for path in beside if not (installed / PACKAGE / path).exists()] == []
    assert (installed / PACKAGE / "py.typed").exists()


@pytest.mark.parametrize(("kind", "example"), [("policies", "template.toml"), ("mappings", "stripe.toml")])
def test_the_policies_and_mappings_are_in_the_wheel_as_they_are_here(installed: Path, kind: str, example: str) -> None:
    here = {path.name: path.read_bytes() for path in (ROOT / "deploy" / kind).glob("*.toml")}
    there = {path.name: path.read_bytes() for path in (installed / PACKAGE / "agents" / kind).glob("*.toml")}
    assert example in here
    assert there == here


NATIVE = "from account_vitals.schemas.native.library import load; print(load() is not None)"


def test_the_wheel_of_this_platform_has_the_native_decoder(wheel: Path, installed: Path) -> None:
    assert wheel.name.split("-")[2:4] == ["py3", "none"], "it is for any version of Python"
    assert not wheel.name.endswith("-any.whl")
    assert run(installed, "-c", NATIVE).strip() == "True"
    assert list((installed / PACKAGE / "schemas" / "native").glob("**/*.rs")) == []


@pytest.mark.parametrize("cargo", ["missing", "unable"])
def test_without_cargo_a_wheel_for_every_platform_is_built(tmp_path: Path, cargo: str) -> None:
    if cargo == "unable":  # such as that of rustup without a toolchain
        (tmp_path / "cargo").write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "cargo").chmod(0o755)
    copied = [ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE", PACKAGE, *MOVED, "deploy")]
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "target")
    for path in copied:
        target = checkout / path.name
        shutil.copytree(path, target, ignore=ignore) if path.is_dir() else shutil.copy2(path, target)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=checkout, env={"PATH": str(tmp_path)}, check=True, capture_output=True, timeout=240)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "unpacked")
    assert run(tmp_path / "unpacked", "-c", NATIVE).strip() == "False"


def test_the_wheel_installs_the_command(installed: Path) -> None:
    (metadata,) = installed.glob("*.dist-info")
    (command,) = PathDistribution(metadata).entry_points
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (command.group, command.name, command.value) == ("console_scripts", "vitals", project["scripts"]["vitals"])


def test_the_command_runs_from_the_wheel(installed: Path) -> None:
    where = run(installed, "-c", "import account_vitals.agents as agents; print(agents.__file__)")
    assert Path(where.strip()).is_relative_to(installed)
    shown = run(installed, "-m", PACKAGE, "--help")
    assert "Usage" in shown
    assert "worker" in shown


# -- beside other distributions ---------------------------------------------------------------------------------------


def other_wheel(folder: Path, name: str, package: str) -> Path:
    """A wheel of another distribution, with one package of this name that says whose it is."""
    info = f"{name.replace('-', '_')}-1.0.dist-info"
    files = {
        f"{package}/__init__.py": f"OWNER = {name!r}\n",
        f"{package}/cli/__init__.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    wheel = folder / f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        records = [f"{path},sha256={digest(text.encode())},{len(text)}" for path, text in files.items()]
        archive.writestr(f"{info}/RECORD", "\n".join([*records, f"{info}/RECORD,,", ""]))
    return wheel


def digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def environment(folder: Path, *groups: list[Path] | list[str]) -> tuple[Path, Path]:
    """A new virtual environment with packages, a group after the other: its Python, its site-packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=240)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    for packages in groups:
        done = subprocess.run([*pip, *map(str, packages)], capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stderr
    (site,) = folder.glob("lib/python*/site-packages")
    return python, site


def damaged(distribution: Distribution) -> list[str]:
    """Files of a distribution that are missing or do not have the content that it was installed with."""
    wrong = []
    for file in distribution.files or []:
        path = Path(str(file.locate()))
        if not path.exists() or (file.hash is not None and digest(path.read_bytes()) != file.hash.value):
            wrong.append(str(file))
    return wrong


@pytest.mark.parametrize(
    "ours_first",
    [pytest.param(True, id="installed first", marks=pytest.mark.faults), pytest.param(False, id="installed last")],
)
def test_packages_of_other_distributions_work_beside_ours(wheel: Path, tmp_path: Path, ours_first: bool) -> None:
    others = [other_wheel(tmp_path, name, package) for name, package in OTHERS.items()]
    python, site = environment(tmp_path / "venv", *([[wheel], others] if ours_first else [others, [wheel]]))
    installed = {each.metadata["Name"]: each for each in distributions(path=[str(site)])}
    assert {"account-vitals", *OTHERS} <= installed.keys()
    assert [file for each in installed.values() for file in damaged(each)] == []

    dependencies = Path(sysconfig.get_path("purelib"))
    owners = json.loads(run(tmp_path, "-c", ALL_OF_THEM, python=str(python), path=dependencies))
    assert owners == [*["account-vitals"] * 3, "other-agents", "other-stream", "other-schemas"]
    assert "Usage" in run(tmp_path, str(python.with_name("vitals")), "--help", python=str(python), path=dependencies)


@pytest.mark.faults
def test_the_packages_whose_names_are_taken_work_beside_ours(wheel: Path, tmp_path: Path) -> None:
    """With the distributions of PyPI that ship `agents` and `stream`, so it needs the network."""
    python, site = environment(tmp_path / "venv", [wheel], list(REAL_OTHERS))
    installed = {each.metadata["Name"]: each for each in distributions(path=[str(site)])}
    assert {"account-vitals", *REAL_OTHERS} <= installed.keys()
    assert [file for each in installed.values() for file in damaged(each)] == []
    tops = {name: {file.parts[0] for file in each.files or []} for name, each in installed.items()}
    assert all(package in tops[name] for name, package in REAL_OTHERS.items())
    assert set(MOVED).isdisjoint(tops["account-vitals"])
    dependencies = Path(sysconfig.get_path("purelib"))
    assert "Usage" in run(tmp_path, str(python.with_name("vitals")), "--help", python=str(python), path=dependencies)
