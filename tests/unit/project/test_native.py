"""The native decoder's own tests, which cargo runs, and its format."""

from __future__ import annotations

import subprocess
from pathlib import Path

CRATE = Path(__file__).parents[3] / "schemas" / "native"


def cargo(*arguments: str, folder: Path) -> str:
    command = ["cargo", *arguments, "--offline", "--manifest-path", str(CRATE / "Cargo.toml")]
    done = subprocess.run(
        [*command, "--target-dir", str(folder)], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tests_in_rust_pass(tmp_path: Path) -> None:
    # With checks for overflows, which the library that is installed has, too.
    assert "test result: ok." in cargo("test", folder=tmp_path)


def test_unsafe_code_is_in_one_file() -> None:
    has_unsafe = {path.name for path in CRATE.glob("src/*.rs") if "unsafe " in path.read_text(encoding="utf-8")}
    assert has_unsafe == {"lib.rs"}


def test_the_library_has_no_dependencies() -> None:
    lock = (CRATE / "Cargo.lock").read_text(encoding="utf-8")
    assert lock.count("[[package]]") == 1
