"""Producers of other people: kcat, confluent-kafka, KafkaJS, franz-go and Kafka's own for Java, each as it comes.

Owns how each is fetched or built, once, and how it is called: with a file of lines of topic, key and value, separated
by tabs. No partitioner is set. Must not know what the records mean.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from tests.broker.jars import cache_dir, fetch_jars, filled_once, tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

HERE = Path(__file__).parent
_BROKER_POM = HERE.parents[1] / "broker" / "pom.xml"
_KAFKAJS = "kafkajs@2.2.4"
_WITHIN_S = 900.0  # a first build on a machine whose cores are all busy


def write_lines(file: Path, records: Iterable[tuple[str, str, str]]) -> Path:
    """Write records of topic, key and value to a file as `send` takes it."""
    file.write_text("".join("\t".join(record) + "\n" for record in records), encoding="utf-8")
    return file


def _run(*command: str | Path, **options: object) -> None:
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        timeout=_WITHIN_S,
        check=False,
        **options,  # type: ignore[call-overload]  # cwd and env
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}"


def _once(name: str, sources: Iterable[Path], make: Callable[[Path], None]) -> Path:
    """A folder in the cache that `make` fills, once for each content of the sources."""
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    return filled_once(cache_dir() / "producers" / f"{name}-{digest}", make)


def kcat(bootstrap: str, file: Path) -> None:
    """Send with kcat (librdkafka)."""
    by_topic: dict[str, list[str]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        topic, _, rest = line.partition("\t")
        by_topic.setdefault(topic, []).append(rest + "\n")
    for topic, lines in by_topic.items():
        of_topic = file.with_suffix(f".{topic}")
        of_topic.write_text("".join(lines), encoding="utf-8")
        _run(tool("kcat"), "-P", "-b", bootstrap, "-t", topic, "-K", "\t", "-l", of_topic)


def confluent_kafka(bootstrap: str, file: Path) -> None:
    """Send with confluent-kafka for Python (librdkafka)."""
    failed: list[object] = []

    def delivered(error: object, _record: object) -> None:
        if error is not None:
            failed.append(error)

    producer = Producer({"bootstrap.servers": bootstrap})
    for line in file.read_text(encoding="utf-8").splitlines():
        topic, key, value = line.split("\t")
        producer.produce(topic, key=key, value=value, on_delivery=delivered)
    assert not producer.flush(60)
    assert not failed


def kafkajs(bootstrap: str, file: Path) -> None:
    """Send with KafkaJS, from npm."""

    def install(folder: Path) -> None:
        _run(tool("npm"), "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, _KAFKAJS)

    script = HERE / "producer.cjs"
    module = _once(_KAFKAJS, [], install) / "node_modules" / "kafkajs"
    _run(tool("node"), script, module, bootstrap, file)


def franz_go(bootstrap: str, file: Path) -> None:
    """Send with franz-go; the module proxy has it."""
    project = HERE / "franz_go"

    def build(folder: Path) -> None:
        _run(tool("go"), "build", "-mod=readonly", "-o", folder / "producer", ".", cwd=project)

    _run(_once("franz-go", sorted(project.iterdir()), build) / "producer", bootstrap, file)


def java(bootstrap: str, file: Path) -> None:
    """Send with Kafka's own client, from Maven."""
    jars, source = fetch_jars(_BROKER_POM, "kafka"), HERE / "Producer.java"

    def compile_source(folder: Path) -> None:
        _run(tool("javac"), "-Xlint:all", "-d", folder, "-cp", f"{jars}/*", source)

    classes = _once("java", [source], compile_source)
    _run(tool("java"), "-cp", f"{classes}{os.pathsep}{jars}/*", "Producer", bootstrap, file)


MURMUR2: Mapping[str, Callable[[str, Path], None]] = {"kafkajs": kafkajs, "franz-go": franz_go, "java": java}
"""Clients that choose the partition of a key as Kafka's own does."""
CRC32: Mapping[str, Callable[[str, Path], None]] = {"kcat": kcat, "confluent-kafka": confluent_kafka}
"""Clients on librdkafka, which by default chooses it by another hash."""
