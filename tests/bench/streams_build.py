"""Compiles the Kafka Streams rival.

Owns where its classes are cached. Must not know how it is run or measured. Called by `engines`.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from tests.broker.jars import cache_dir, fetch_jars, filled_once, tool

_PROJECT = Path(__file__).with_name("kafka_streams")
MAIN_CLASS = "HealthScores"


def build_streams() -> str:
    """Return the class path of the compiled program, building what is not yet cached.

    Raises:
        MissingToolError: `javac` or `mvn` is not installed; it names the Debian package.
        FetchError: Maven failed.
        subprocess.CalledProcessError: the sources do not compile; javac has printed why.

    """
    jars = fetch_jars(_PROJECT / "pom.xml", "kafka-streams")
    sources = sorted((_PROJECT / "src").glob("*.java"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    classes = cache_dir() / "kafka-streams" / f"classes-{jars.name}-{digest}"

    def compile_into(folder: Path) -> None:
        command = [tool("javac"), "-Xlint:all", "-d", str(folder), "-cp", f"{jars}/*", *map(str, sources)]
        subprocess.run(command, check=True)

    filled_once(classes, compile_into)
    return f"{classes}:{jars}/*"
