"""Build the native decoder of events into `schemas/native/`, if cargo is installed; without it Python does the same.

Owns the command of cargo. Called by `make setup`, and by the hook that builds the wheel.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CRATE = Path("schemas/native")
LIBRARY = CRATE / "vitals_native.lib"
_BUILT = {"darwin": "libvitals_native.dylib", "win32": "vitals_native.dll"}
_TARGET = Path("build/native")


def build(root: Path) -> Path | None:
    """Build the library in a checkout and return where it is; None, with the reason on stderr, where cargo cannot.

    One that was built before goes then: it may be of other code, and would be packed into a wheel for every platform.
    """
    why = _run_cargo(root)
    if why is not None:
        (root / LIBRARY).unlink(missing_ok=True)
        sys.stderr.write(f"{why}: events are decoded in Python, with the same results and more processor time.\n")
        return None
    built = root / _TARGET / "release" / _BUILT.get(sys.platform, "libvitals_native.so")
    # Replaced, not written over: a running worker has the old file mapped.
    beside = (root / LIBRARY).with_suffix(".new")
    shutil.copy2(built, beside)
    beside.replace(root / LIBRARY)
    return root / LIBRARY


def environment() -> dict[str, str] | None:
    """Return the environment in which cargo works; None where it does not.

    The first cargo in `PATH` may be that of a rustup without a toolchain, before one that works; cargo looks for
    `rustc` in `PATH`, so the folder of the cargo that works becomes its first.
    """
    path = os.environ.get("PATH", os.defpath)
    for folder in path.split(os.pathsep):
        cargo = shutil.which("cargo", path=folder)
        if cargo is not None:
            tried = {**os.environ, "PATH": os.pathsep.join([folder, path])}
            if subprocess.run([cargo, "--version"], env=tried, check=False, capture_output=True).returncode == 0:
                return tried
    return None


def _run_cargo(root: Path) -> str | None:
    """Compile the crate; return why it was not done, None where it was."""
    working = environment()
    if working is None:
        return "cargo (Rust 1.63 or newer) is not installed, or has no toolchain"
    command = [
        "cargo",
        "build",
        "--release",
        "--offline",
        "--quiet",
        "--manifest-path",
        str(root / CRATE / "Cargo.toml"),
    ]
    command += ["--target-dir", str(root / _TARGET)]
    done = subprocess.run(command, env=working, check=False, capture_output=True, text=True)
    return f"{done.stderr}\ncargo failed" if done.returncode else None


if __name__ == "__main__":
    build(Path.cwd())
