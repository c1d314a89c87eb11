"""Builds the documentation site for tests, as `make docs` does.

Owns how MkDocs is called. Must not know what the site shows. Called by the tests of the site.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
