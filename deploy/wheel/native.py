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


def _run_cargo(root: Path) -> str | None:
    """Compile the crate; return why it was not done, None where it was."""
    cargo = shutil.which("cargo")
    if cargo is None:
        return "cargo (Rust 1.63 or newer) is not installed"
    command = [cargo, "build", "--release", "--offline", "--quiet", "--manifest-path", str(root / CRATE / "Cargo.toml")]
    done = subprocess.run([*command, "--target-dir", str(root / _TARGET)], check=False, capture_output=True, text=True)
    return f"{done.stderr}\ncargo failed" if done.returncode else None


if __name__ == "__main__":
    build(Path.cwd())
