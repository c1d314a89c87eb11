"""Creates the Python environments of rivals, whose dependencies contradict ours and those of each other.

Owns where they are cached and how pip is called; the versions are in `requirements/`, a file for each rival. Must not
know how rivals are run. Called by `commands`.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from tests.broker.jars import FetchError, cache_dir, filled_once

_REQUIREMENTS = Path(__file__).with_name("requirements")
_INSTALL_TIMEOUT_S = 1800.0


def rival_python(name: str) -> str:
    """Return the Python that has what `requirements/<name>.txt` lists, installing it once for each content of the file.

    Raises:
        FetchError: pip failed, for example because no wheel is for this version of Python.

    """
    requirements = _REQUIREMENTS / f"{name}.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    folder = cache_dir() / "rivals" / f"{name}-{digest}"
    return str(filled_once(folder, lambda empty: _install(requirements, empty)) / "bin" / "python")


def _install(requirements: Path, folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--only-binary", ":all:", "--requirement", str(requirements)],
        capture_output=True,
        text=True,
        timeout=_INSTALL_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        message = f"pip could not install {requirements} (exit {done.returncode}):\n{done.stdout}{done.stderr}"
        raise FetchError(message)
