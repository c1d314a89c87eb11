"""Compiles the rivals that are written in Java: Kafka Streams and Flink.

Owns where their classes are cached. Must not know how they are run or measured. Called by `commands`.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from tests.broker.jars import cache_dir, fetch_jars, filled_once, tool


def class_path(name: str) -> str:
    """Return the class path of the compiled program, building what is not yet cached.

    Args:
        name: the folder beside this file with a `pom.xml` and the sources in `src/`.

    Raises:
        MissingToolError: `javac` or `mvn` is not installed; it names the Debian package.
        FetchError: Maven failed.
        subprocess.CalledProcessError: the sources do not compile; javac has printed why.

    """
    project = Path(__file__).with_name(name)
    cache = name.replace("_", "-")
    jars = fetch_jars(project / "pom.xml", cache)
    sources = sorted((project / "src").glob("*.java"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    classes = cache_dir() / cache / f"classes-{jars.name}-{digest}"

    def compile_into(folder: Path) -> None:
        command = [tool("javac"), "-Xlint:all", "-d", str(folder), "-cp", f"{jars}/*", *map(str, sources)]
        subprocess.run(command, check=True)

    filled_once(classes, compile_into)
    return f"{classes}:{jars}/*"
