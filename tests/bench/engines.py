"""What is measured: how each engine is started, where it publishes, and how to read a score from what it published.

Owns command lines and record formats of the engines. Must not know how speed is measured. Called by the measurements.
An engine gets a consumer group of its own for every run, so that it starts from nothing.
"""

from __future__ import annotations

import json
import os
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tests.bench.streams_build import MAIN_CLASS, build_streams
from tests.bench.workload import PARTITIONS
from tests.broker.child import ChildProcess
from tests.broker.jars import REPOSITORY, tool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.broker.kafka_server import KafkaServer

POLICY = Path(__file__).with_name("policy.toml")
ALERTING = Path(__file__).with_name("alerting.toml")
EVERYTHING = Path(__file__).with_name("everything.toml")
USAGE_TOPIC = "product-usage"


@dataclass(frozen=True)
class Run:
    """One start of one engine."""

    kafka: KafkaServer
    group: str
    input_topic: str
    folder: Path  # for logs and whatever the engine keeps

    @property
    def log(self) -> Path:
        """What the engine printed, stdout and stderr."""
        return self.folder / f"{self.group}.log"


class Engine(ABC):
    """A program that reads usage events and publishes scores."""

    name: str  # its key in the JSON line
    label: str  # its row in the table
    publishes = True
    share: float = 1.0
    """Which share of the events it reads, so that slow engines end in time."""

    @abstractmethod
    def command(self, run: Run) -> list[str]:
        """The command line."""

    def environment(self, run: Run) -> Mapping[str, str]:  # noqa: ARG002  an engine may need what the run says
        """Variables beside the ones of this process."""
        return {}

    def scores_topic(self, run: Run) -> str:
        """The topic with the scores, created before the start."""
        return f"{run.group}-scores"

    def changes_topic(self, run: Run) -> str:
        """The topic with one record for every change, to count them."""
        return self.scores_topic(run)

    def alerts_topic(self) -> str | None:
        """The topic of alerts, of an engine that has them."""
        return None

    def changelog_topic(self, run: Run) -> str:
        """The topic that the engine restores its accounts from."""
        return f"{run.group}-accounts-changelog"

    @abstractmethod
    def read_score(self, value: bytes) -> float:
        """The score in one published record."""

    def start(self, run: Run) -> ChildProcess:
        """Start the process; its stdout and stderr go to `<folder>/<group>.log`."""
        return ChildProcess(
            self.command(run),
            log=run.log,
            env={**os.environ, **self.environment(run)},
            cwd=REPOSITORY,
        )


class _ToScore(msgspec.Struct):
    to: float


@dataclass
class KafkaStreams(Engine):
    """Kafka Streams 4.1: Processor API, in-memory store with cache and changelog, a thread for each partition."""

    name: str = "kafka_streams"
    label: str = "Kafka Streams"
    publishing: str = "CONFLATED"
    settings: tuple[str, ...] = ()
    share: float = 0.7

    def command(self, run: Run) -> list[str]:
        """Java with 1 GiB of heap."""
        java = [tool("java"), "-Xms1g", "-Xmx1g", "-XX:+UseParallelGC", "-Dlog4j2.level=WARN", "-cp", build_streams()]
        arguments = [run.kafka.bootstrap, run.group, run.input_topic, self.scores_topic(run), self.publishing]
        return [*java, MAIN_CLASS, *arguments, str(run.folder / "streams-state"), *self.settings]

    def read_score(self, value: bytes) -> float:
        """Where the change goes to."""
        return msgspec.json.decode(value, type=_ToScore).to


@dataclass
class FaustDocumented(Engine):
    """Faust as its documentation writes it."""

    name: str = "faust"
    label: str = "Faust as documented"

    def command(self, run: Run) -> list[str]:
        """A Faust worker."""
        arguments = [run.kafka.url, run.group, run.input_topic, self.scores_topic(run), str(run.folder / "faust")]
        return [sys.executable, "-m", "tests.bench.faust_documented", *arguments]

    def read_score(self, value: bytes) -> float:
        """Where the change goes to."""
        return msgspec.json.decode(value, type=_ToScore).to


@dataclass
class Floor(Engine):
    """A consumer loop with parsing, nothing else."""

    name: str = "floor"
    label: str = "bare consumer loop"
    publishes = False

    def command(self, run: Run) -> list[str]:
        """The loop."""
        return [sys.executable, "-m", "tests.bench.floor", run.kafka.bootstrap, run.group, run.input_topic]

    def read_score(self, value: bytes) -> float:
        """It publishes nothing."""
        raise NotImplementedError


class _Health(msgspec.Struct):
    value: float


class _HealthScores(msgspec.Struct):
    scores: dict[str, _Health]


@dataclass
class Vitals(Engine):
    """Our own worker, as an operator starts it."""

    name: str = "ours"
    label: str = "account-vitals"
    settings: Mapping[str, str] = field(default_factory=dict)
    policy: Path | None = POLICY
    processes: int = 1
    share: float = 1.0

    def command(self, run: Run) -> list[str]:  # noqa: ARG002  everything else is said in the environment
        """The worker."""
        return [sys.executable, "-m", "agents", "worker", "--processes", str(self.processes)]

    def environment(self, run: Run) -> Mapping[str, str]:
        """Settings, as an operator would give them."""
        return {
            "VITALS_BROKER": run.kafka.url,
            "VITALS_GROUP": run.group,
            "VITALS_PARTITIONS": str(PARTITIONS),
            "VITALS_TOPIC_PREFIX": _prefix(run),
            "VITALS_WEB_PORT": "0",
            "VITALS_COMMIT_INTERVAL_S": "1.0",
            **({} if self.policy is None else {"VITALS_POLICY": str(self.policy)}),
            **self.settings,
        }

    def scores_topic(self, run: Run) -> str:
        """The compacted topic of latest scores."""
        return f"{_prefix(run)}health.scores"

    def changes_topic(self, run: Run) -> str:
        """The topic of explained changes."""
        return f"{_prefix(run)}health.score-changes"

    def changelog_topic(self, run: Run) -> str:
        """The topic that it restores its accounts from."""
        return f"{_prefix(run)}{super().changelog_topic(run)}"

    def alerts_topic(self) -> str | None:
        """The topic of alerts."""
        return "health.alerts"

    def read_score(self, value: bytes) -> float:
        """The value of the score that all engines compute."""
        return msgspec.json.decode(value, type=_HealthScores).scores["health"].value


def _prefix(run: Run) -> str:
    """What is before the name of the input topic, and of all topics of a worker."""
    return run.input_topic.removesuffix(USAGE_TOPIC)


CORES = min(PARTITIONS, os.cpu_count() or 1)
"""A Python process uses one core, so as many workers as there are; Kafka Streams has a thread for each partition."""
_EVENT_TIME = {"VITALS_TIME": "event", "VITALS_CATCH_UP": "conflate", "VITALS_DEDUP": "false"}

THROUGHPUT: tuple[Engine, ...] = (
    Vitals("ours", "account-vitals", _EVENT_TIME, processes=CORES),
    Vitals("ours_dedup", "account-vitals, dedup", {**_EVENT_TIME, "VITALS_DEDUP": "true"}, processes=CORES),
    Vitals("ours_one", "account-vitals, one process", _EVENT_TIME, share=0.6),
    KafkaStreams(),
    KafkaStreams(
        "kafka_streams_exactly_once",
        "Kafka Streams, EOS",
        settings=("processing.guarantee=exactly_once_v2",),
    ),
    Vitals(
        "ours_exact", "account-vitals, exact", {**_EVENT_TIME, "VITALS_CATCH_UP": "exact"}, processes=CORES, share=0.15
    ),
    KafkaStreams("kafka_streams_exact", "Kafka Streams, exact", "EACH", share=0.15),
    Vitals(
        "ours_everything", "account-vitals, all features", _EVENT_TIME, policy=EVERYTHING, processes=CORES, share=0.25
    ),
    FaustDocumented(),
    Floor(),
)

LATENCY: tuple[Engine, ...] = (
    Vitals("ours", "account-vitals", {"VITALS_TIME": "live", "VITALS_DEDUP": "true"}, ALERTING, processes=CORES),
    KafkaStreams("kafka_streams", "Kafka Streams", "EACH", settings=("producer.linger.ms=1",)),
)
RESTORE: tuple[Engine, ...] = (
    Vitals("ours", "account-vitals, default policy", _EVENT_TIME, policy=None, processes=CORES),
    KafkaStreams("kafka_streams", "Kafka Streams, two measures", "EACH"),
)


def log_events(run: Run, event: str) -> list[dict[str, object]]:
    """The whole JSON lines of a run's log whose `event` is this one."""
    text = run.log.read_text("utf-8", "replace") if run.log.exists() else ""
    lines = [line[line.index("{") :] for line in text.splitlines(keepends=True) if "{" in line and line.endswith("\n")]
    events = [json.loads(line) for line in lines if f'"{event}"' in line]
    return [fields for fields in events if fields.get("event") == event]
