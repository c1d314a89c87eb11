"""The native decoder's own tests, which cargo runs, and its format."""

from __future__ import annotations

import runpy
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CRATE = ROOT / "schemas" / "native"


def environment() -> dict[str, str] | None:
    working: dict[str, str] | None = runpy.run_path(str(ROOT / "deploy/wheel/native.py"))["environment"]()
    return working


def cargo(*arguments: str, folder: Path) -> str:
    command = ["cargo", *arguments, "--offline", "--manifest-path", str(CRATE / "Cargo.toml")]
    command += ["--target-dir", str(folder)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir()
    path.write_text(text)
    path.chmod(0o755)
    return path.parent


def test_a_cargo_without_a_toolchain_does_not_hide_one_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unable = executable(tmp_path / "unable" / "cargo", "#!/bin/sh\nexit 1\n")
    able = executable(tmp_path / "able" / "cargo", "#!/bin/sh\nexit 0\n")
    monkeypatch.setenv("PATH", f"{unable}:{able}")
    working = environment()
    assert working is not None
    assert working["PATH"].split(":")[0] == str(able)
    monkeypatch.setenv("PATH", str(unable))
    assert environment() is None


def test_the_tests_in_rust_pass(tmp_path: Path) -> None:
    # With checks for overflows, which the library that is installed has, too.
    assert "test result: ok." in cargo("test", folder=tmp_path)


def test_unsafe_code_is_in_one_file() -> None:
    has_unsafe = {path.name for path in CRATE.glob("src/*.rs") if "unsafe " in path.read_text(encoding="utf-8")}
    assert has_unsafe == {"lib.rs"}


def test_the_library_has_no_dependencies() -> None:
    lock = (CRATE / "Cargo.lock").read_text(encoding="utf-8")
    assert lock.count("[[package]]") == 1
