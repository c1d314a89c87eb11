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
_WITHOUT = "events are decoded in Python, which takes more processor time and gives the same results."


def build(root: Path) -> Path | None:
    """Build the library in a checkout and return where it is; None, with the reason on stderr, where cargo cannot."""
    cargo = shutil.which("cargo")
    if cargo is None:
        sys.stderr.write(f"cargo (Rust 1.63 or newer) is not installed: {_WITHOUT}\n")
        return None
    command = [cargo, "build", "--release", "--offline", "--quiet", "--manifest-path", str(root / CRATE / "Cargo.toml")]
    done = subprocess.run([*command, "--target-dir", str(root / _TARGET)], check=False, capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(f"{done.stderr}\ncargo failed: {_WITHOUT}\n")
        return None
    built = root / _TARGET / "release" / _BUILT.get(sys.platform, "libvitals_native.so")
    # Replaced, not written over: a running worker has the old file mapped.
    beside = (root / LIBRARY).with_suffix(".new")
    shutil.copy2(built, beside)
    beside.replace(root / LIBRARY)
    return root / LIBRARY


if __name__ == "__main__":
    build(Path.cwd())
