"""Builds the documentation site for tests, as `make docs` does.

Owns how MkDocs is called. Must not know what the site shows. Called by the tests of the site.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]


def build(site: Path, *, source: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Build the site of a checkout into the folder `site`; what is wrong with it stands in `stderr`."""
    command = str(Path(sys.executable).with_name("mkdocs"))
    return subprocess.run(
        [command, "build", "--strict", "--site-dir", str(site)],
        cwd=source,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def built_once(factory: pytest.TempPathFactory) -> Path:
    """The folder of this checkout's site, built by the process of a test run that asks first; nobody changes it."""
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "site"
    with (shared / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            done = build(folder.with_name("unfinished-site"))
            assert done.returncode == 0, done.stderr
            folder.with_name("unfinished-site").rename(folder)
    return folder
