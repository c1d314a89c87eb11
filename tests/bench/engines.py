"""The engines that are measured: our worker, and the tables of what runs in which measurement.

Owns the command line and record formats of our worker; those of the rivals are in `rivals.commands`. Must not know how
speed is measured. Called by the measurements.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tests.bench.engine import Engine, Run
from tests.bench.rivals.commands import CORES, Bytewax, FaustDocumented, Flink, Floor, KafkaStreams, Pathway, Quix
from tests.bench.rules import PARTITIONS
from tests.bench.workload import USAGE_TOPIC

if TYPE_CHECKING:
    from collections.abc import Mapping

POLICY = Path(__file__).with_name("policy.toml")
ALERTING = Path(__file__).with_name("alerting.toml")
EVERYTHING = Path(__file__).with_name("everything.toml")


class _Health(msgspec.Struct):
    value: float | None


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
        """The value of the score that all engines compute; it has none without events, where the others say 0."""
        return msgspec.json.decode(value, type=_HealthScores).scores["health"].value or 0.0


def _prefix(run: Run) -> str:
    """What is before the name of the input topic, and of all topics of a worker."""
    return run.input_topic.removesuffix(USAGE_TOPIC)


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
    Flink(),
    Quix(),
    Bytewax(),
    Pathway(),
    FaustDocumented(),
    Floor(),
)

_OURS = THROUGHPUT[0]
ZIPF: tuple[Engine, ...] = (_OURS, KafkaStreams())
DUPLICATES: tuple[Engine, ...] = (THROUGHPUT[1],)
"""Only an engine that removes duplicates can have the right scores."""
TEMPLATE_POLICY: tuple[Engine, ...] = (
    Vitals("ours", "account-vitals, template", _EVENT_TIME, policy=None, processes=CORES, share=0.5),
)
MANY_ACCOUNTS: tuple[Engine, ...] = (_OURS, KafkaStreams(heap="3g", share=0.4))
MANY_ACCOUNTS_TEMPLATE_POLICY: tuple[Engine, ...] = (
    Vitals("ours", "account-vitals, template", _EVENT_TIME, policy=None, processes=CORES, share=0.2),
)

LATENCY: tuple[Engine, ...] = (
    Vitals("ours", "account-vitals", {"VITALS_TIME": "live", "VITALS_DEDUP": "true"}, ALERTING, processes=CORES),
    KafkaStreams("kafka_streams", "Kafka Streams", "EACH", settings=("producer.linger.ms=1",)),
)
RESTORE: tuple[Engine, ...] = (
    Vitals("ours", "account-vitals, default policy", _EVENT_TIME, policy=None, processes=CORES),
    KafkaStreams("kafka_streams", "Kafka Streams, two measures", "EACH"),
)
