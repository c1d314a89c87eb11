"""Build the native decoder of events into `schemas/native/`, if cargo is installed; without it Python does the same.

Owns the command of cargo. Called by `make setup`, and by the hook that builds the wheel.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

CRATE = Path("schemas/native")
LIBRARY = CRATE / "vitals_native.lib"
_BUILT = {"darwin": "libvitals_native.dylib", "win32": "vitals_native.dll"}
_TARGET = Path("build/native")


def build(root: Path) -> Path | None:
    """Build the library in a checkout and return where it is; None where cargo is not installed.

    Raises `subprocess.CalledProcessError` when cargo fails.
    """
    cargo = shutil.which("cargo")
    if cargo is None:
        return None
    command = [cargo, "build", "--release", "--offline", "--quiet", "--manifest-path", str(root / CRATE / "Cargo.toml")]
    subprocess.run([*command, "--target-dir", str(root / _TARGET)], check=True)
    built = root / _TARGET / "release" / _BUILT.get(sys.platform, "libvitals_native.so")
    # Replaced, not written over: a running worker has the old file mapped.
    beside = (root / LIBRARY).with_suffix(".new")
    shutil.copy2(built, beside)
    beside.replace(root / LIBRARY)
    return root / LIBRARY


if __name__ == "__main__":
    if build(Path.cwd()) is None:
        sys.stderr.write(
            "cargo (Rust 1.63 or newer) is not installed: events are decoded in Python, which takes more processor "
            "time and gives the same results.\n"
        )
