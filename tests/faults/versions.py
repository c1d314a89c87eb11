"""The code of earlier versions, taken out of the history of this repository.

Owns the list of versions whose state is restored, and unpacking them. Must not know what is tested. A version is run
with the packages that are installed now: `python -m agents` in its folder.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
from io import BytesIO
from typing import TYPE_CHECKING

from tests.broker.jars import tool
from tests.faults.worker_process import ROOT, clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VERSIONS = {"0.1.0": "cb49ad0", "without writer records": "5121433"}
"""Commit of each released version, and of the last version whose workers wrote no record `w`."""
_PACKAGES = ("agents", "schemas", "stream")


def code_of(version: str, folder: Path) -> Path:
    """Unpack the packages of a version into a new folder, and return it. Needs the whole history."""
    commit = VERSIONS[version]
    archive = subprocess.run(
        [tool("git"), "-C", str(ROOT), "archive", commit, *_PACKAGES], capture_output=True, check=False, timeout=60
    )
    assert archive.returncode == 0, (
        f"commit {commit} (version {version}) is not in this clone: fetch the whole history with "
        f"`git fetch --unshallow`\n{archive.stderr.decode()}"
    )
    code = folder / f"code-{commit}"
    code.mkdir()
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(code, filter="data")
    return code


def create_topics_with(code: Path, settings: Mapping[str, object]) -> None:
    """Create the product's topics with a version's own command."""
    subprocess.run(
        [sys.executable, "-m", "agents", "topics", "--create"],
        cwd=code,
        env=clean_environment(settings),
        capture_output=True,
        check=True,
        timeout=120,
    )
