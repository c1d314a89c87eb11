"""How each rival is started, where it keeps its changelog, and how to read a score from what it published.

Owns the command lines and record formats of the rivals. Must not know how speed is measured. Called by `engines`.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tests.bench.engine import Engine, Run
from tests.bench.progress import Progress
from tests.bench.rivals.copies import COPY
from tests.bench.rivals.environments import rival_python
from tests.bench.rivals.java_build import class_path
from tests.bench.rules import PARTITIONS
from tests.broker.child import ChildProcess
from tests.broker.jars import tool
from tests.broker.kafka_server import free_port

if TYPE_CHECKING:
    from kafka import KafkaAdminClient

CORES = min(PARTITIONS, os.cpu_count() or 1)
"""A Python process uses one core, so as many workers as there are; a JVM has a thread for each partition."""
_COPIES = (sys.executable, "-m", "tests.bench.rivals.copies", str(CORES))


def _java(heap: str = "1g") -> list[str]:
    return [tool("java"), f"-Xms{heap}", f"-Xmx{heap}", "-XX:+UseParallelGC", "-Dlog4j2.level=WARN"]


# What Flink's own scripts give to Java 17: the packages that its serialisers look into.
_FLINK_OPENS = tuple(
    f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in ("lang", "util", "time", "math", "net")
)


class _ToScore(msgspec.Struct):
    to: float


class _Count(msgspec.Struct):
    events: int


class Rival(Engine):
    """An engine that publishes changes as JSON objects with the new score in `to`."""

    def read_score(self, value: bytes) -> float:
        """Where the change goes to."""
        return msgspec.json.decode(value, type=_ToScore).to


@dataclass
class KafkaStreams(Rival):
    """Kafka Streams 4.1: Processor API, in-memory store with cache and changelog, a thread for each partition."""

    name: str = "kafka_streams"
    label: str = "Kafka Streams"
    publishing: str = "CONFLATED"
    settings: tuple[str, ...] = ()
    share: float = 0.7
    heap: str = "1g"

    def command(self, run: Run) -> list[str]:
        """Java with 1 GiB of heap, or more for many accounts."""
        arguments = [run.kafka.bootstrap, run.group, run.input_topic, self.scores_topic(run), self.publishing]
        java = [*_java(self.heap), "-cp", class_path("kafka_streams"), "HealthScores"]
        return [*java, *arguments, str(run.folder / "streams-state"), *self.settings]


@dataclass
class Flink(Rival):
    """Flink 2.2 in one JVM, with checkpoints to a folder: it has no changelog topic."""

    name: str = "flink"
    label: str = "Flink, exact"
    share: float = 0.25

    def command(self, run: Run) -> list[str]:
        """Java with 1 GiB of heap; as many slots as cores."""
        java = [*_java(), "-Dlog4j2.level=ERROR", *_FLINK_OPENS, "-cp", class_path("flink"), "FlinkScores"]
        arguments = [run.kafka.bootstrap, run.group, run.input_topic, self.scores_topic(run)]
        return [*java, *arguments, str(run.folder / f"{run.group}-checkpoints"), str(CORES)]


@dataclass
class FaustDocumented(Rival):
    """Faust as its documentation writes it."""

    name: str = "faust"
    label: str = "Faust as documented, each change"
    limit: int = 200_000
    timers: bool = False

    def command(self, run: Run) -> list[str]:
        """A Faust worker."""
        arguments = [run.kafka.url, run.group, run.input_topic, self.scores_topic(run), str(run.folder / "faust")]
        return [sys.executable, "-m", "tests.bench.rivals.faust_documented", *arguments]


@dataclass
class Quix(Rival):
    """Quix Streams: a process for each core, RocksDB and a changelog topic."""

    name: str = "quix"
    label: str = "Quix Streams, each change"
    share: float = 0.04
    timers: bool = False

    def command(self, run: Run) -> list[str]:
        """As many processes as cores, in its own environment."""
        arguments = [run.kafka.bootstrap, run.group, run.input_topic, self.scores_topic(run)]
        program = [rival_python("quix"), "-m", "tests.bench.rivals.quix", *arguments]
        return [*_COPIES, *program, str(run.folder / f"{run.group}-state-{COPY}")]

    def changelog_topic(self, run: Run) -> str:
        """As Quix names it."""
        return f"changelog__{run.group}--{run.input_topic}--default"


@dataclass
class Bytewax(Rival):
    """Bytewax: a process for each core, state and offsets in SQLite files."""

    name: str = "bytewax"
    label: str = "Bytewax, each change"
    limit: int = 1_000_000
    timers: bool = False

    def command(self, run: Run) -> list[str]:
        """A cluster of as many processes as cores."""
        addresses = ";".join(f"127.0.0.1:{free_port()}" for _ in range(CORES))
        arguments = ",".join(repr(name) for name in (run.kafka.bootstrap, run.input_topic, self.scores_topic(run)))
        flow = f"tests.bench.rivals.bytewax:build({arguments})"
        recovery = ["-r", str(_recovery_folder(run)), "-s", "1", "-b", "0"]
        program = [rival_python("bytewax"), "-m", "bytewax.run", *recovery, "-i", COPY, "-a", addresses, flow]
        return [*_COPIES, *program]

    def start(self, run: Run) -> ChildProcess:
        """Create the empty recovery partitions first, as Bytewax wants."""
        folder = _recovery_folder(run)
        folder.mkdir()
        subprocess.run([rival_python("bytewax"), "-m", "bytewax.recovery", str(folder), str(CORES)], check=True)
        return super().start(run)

    def progress(self, admin: KafkaAdminClient, run: Run) -> Progress:  # noqa: ARG002  nothing is in a consumer group
        """The offsets that it would start again from."""
        return Progress(time.monotonic(), recovery_offset(_recovery_folder(run)))


def _recovery_folder(run: Run) -> Path:
    return run.folder / f"{run.group}-recovery"


def recovery_offset(folder: Path) -> int:
    """The sum of the offsets in Bytewax's recovery partitions.

    Bytewax removes snapshots that are older than the committed one, so the oldest that is left is the committed one.
    """
    committed = 0
    for file in folder.glob("part-*.sqlite3"):
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            oldest = database.execute(
                "SELECT min(snap_epoch), ser_change FROM snaps WHERE step_id = 'scores.usage' GROUP BY state_key"
            )
            committed += sum(max(0, _integer(offset)) for _, offset in oldest)
    return committed


def _integer(serialised: bytes) -> int:
    """The integer in Bytewax's bytes: protocol, perhaps a frame, a letter for the size, the integer, a full stop."""
    body = serialised[2:-1]
    if body.startswith(b"\x95"):
        body = body[9:]
    return int.from_bytes(body[1:], "little", signed=body.startswith(b"J"))


@dataclass
class Pathway(Rival):
    """Pathway: a process for each core, input kept in a folder."""

    name: str = "pathway"
    label: str = "Pathway"
    share: float = 0.2
    settle_s: float = 15.0
    timers: bool = False

    def command(self, run: Run) -> list[str]:
        """A cluster of as many processes as cores, with the variables that `pathway spawn` sets."""
        cluster = {"PROCESSES": str(CORES), "PROCESS_ID": COPY, "THREADS": "1", "FIRST_PORT": str(free_port())}
        variables = [f"PATHWAY_{name}={value}" for name, value in cluster.items()]
        arguments = [run.kafka.bootstrap, run.group, run.input_topic, self.scores_topic(run)]
        files = [str(_counts_file(run)), str(run.folder / f"{run.group}-state")]
        program = [rival_python("pathway"), "-m", "tests.bench.rivals.pathway", *arguments, *files]
        return [*_COPIES, "env", *variables, *program]

    def progress(self, admin: KafkaAdminClient, run: Run) -> Progress:  # noqa: ARG002  its commits say what was read
        """The events in all accounts, as its second output counts them; changes reach Kafka some seconds later."""
        return Progress(time.monotonic(), last_count(_counts_file(run)))


def _counts_file(run: Run) -> Path:
    return run.folder / f"{run.group}-counts.jsonl"


def last_count(file: Path) -> int:
    """The number of events in the last whole line of a file of counts; 0 if there is none."""
    lines = file.read_bytes().splitlines(keepends=True)[-2:] if file.exists() else []
    whole = [line for line in lines if line.endswith(b"\n")]
    return msgspec.json.decode(whole[-1], type=_Count).events if whole else 0


@dataclass
class Floor(Engine):
    """A consumer loop with parsing, nothing else."""

    name: str = "floor"
    label: str = "bare consumer loop"
    publishes = False

    def command(self, run: Run) -> list[str]:
        """The loop."""
        return [sys.executable, "-m", "tests.bench.rivals.floor", run.kafka.bootstrap, run.group, run.input_topic]

    def read_score(self, value: bytes) -> float:
        """It publishes nothing."""
        raise NotImplementedError
