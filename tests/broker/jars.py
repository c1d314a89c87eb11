"""Fetches the jars that real Java programs of the tests need: the Kafka broker and the Kafka Streams rival.

Owns where jars are cached and how Maven is called. Must not know what is run with them.
Called by `kafka_server` and by the benchmark's Java engine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).resolve().parents[2]
_MAVEN_TIMEOUT_S = 900.0
_DEBIAN_PACKAGES = {
    "bash": "bash",
    "chromium-headless-shell": "chromium-headless-shell",
    "go": "golang-go",
    "java": "default-jre-headless",
    "javac": "default-jdk-headless",
    "kcat": "kcat",
    "mvn": "maven",
    "node": "nodejs",
    "npm": "npm",
    "initdb": "postgresql",
    "postgres": "postgresql",
    "psql": "postgresql",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "sh": "dash",
}


class MissingToolError(RuntimeError):
    """A program that tests need is not installed; the message names the Debian package that has it."""


class FetchError(RuntimeError):
    """Maven could not fetch the jars; the message holds what Maven printed."""


def cache_dir() -> Path:
    """Return the folder for downloads: `$VITALS_CACHE`, else `.cache` in the repository."""
    return Path(os.environ.get("VITALS_CACHE") or REPOSITORY / ".cache")


def tool(name: str) -> str:
    """Return the path of a program (`java`, `javac`, `mvn`).

    Raises:
        MissingToolError: it is not on the PATH.

    """
    path = shutil.which(name)
    if path is None:
        message = (
            f"'{name}' is not installed, and these tests run the real thing: apt-get install {_DEBIAN_PACKAGES[name]}"
        )
        raise MissingToolError(message)
    return path


def fetch_jars(pom: Path, name: str) -> Path:
    """Return a folder with every runtime jar of `pom`, fetched once for each content of the file.

    Args:
        pom: a Maven project file that lists dependencies.
        name: the folder in the cache, such as `kafka`.

    Raises:
        MissingToolError: Maven or Java is not installed.
        FetchError: Maven failed, for example without a network.

    """
    tool("java")
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()[:12]
    return filled_once(cache_dir() / name / digest, lambda folder: _copy_dependencies(pom, folder))


def filled_once(target: Path, fill: Callable[[Path], None]) -> Path:
    """Return a folder that `fill` fills if it does not exist yet.

    It is filled beside its place and renamed, so that what was interrupted is never taken for a whole. Of processes
    that fill it at the same time, the first one counts.
    """
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        partial.chmod(0o755)
        fill(partial)
        try:
            partial.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _copy_dependencies(pom: Path, output: Path) -> None:
    command = [
        tool("mvn"),
        "-q",
        "-B",
        "-f",
        str(pom),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={output}",
        "-DincludeScope=runtime",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_MAVEN_TIMEOUT_S, check=False)
    if done.returncode != 0 or not any(output.iterdir()):
        message = (
            f"Maven could not fetch the jars of {pom} (exit {done.returncode}). Check the network, or put the jars "
            f"into {output.parent} by running it elsewhere with the same VITALS_CACHE.\n{done.stdout}{done.stderr}"
        )
        raise FetchError(message)
