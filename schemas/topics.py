"""Topics: names, keys, retention and compaction, as data.

Owns what each topic should look like. The constants are names without the prefix of a deployment
(`Sources.own`, `Settings.topic`). Knows no client; `agents.kafka.topics` compares this with a broker and creates
missing topics.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from schemas.sources import DLQ_SUFFIX, INBOX, INTERNAL_TOPICS, PEERS_INPUT, Sources

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

SCORES = "health.scores"
CHANGES = "health.score-changes"
ALERTS = "health.alerts"
ROLLUPS = "health.rollups"
SHADOW = "health.shadow"
REPARTITION = INTERNAL_TOPICS[INBOX]
PEERS = INTERNAL_TOPICS[PEERS_INPUT]
WEBHOOK_DLQ = f"{ALERTS}.webhook{DLQ_SUFFIX}"
"""Alerts that the webhook refused."""
ORIGIN_HEADER = "vitals.origin"
"""Header of a record of the repartition topic: the source its event came from."""
MERGED_HEADER = "vitals.merged"
"""Header of a record that is forwarded because its account was merged: `schemas.records.MergedFrom` as JSON."""
ERROR_HEADER = "vitals.error."
POSITION_HEADER = "vitals.position"
"""Header of an alert: the position of the worker that published it (see `stream.recovery.alert_reconciler`)."""
LONGEST_TOPIC = 249
"""Characters of the name of a topic, by Kafka."""
LARGEST_RECORD = 20 * 1024 * 1024
LARGEST_TABLE = 8 * 1024 * 1024


class Topic(NamedTuple):
    """One topic. `cleanup` is Kafka's `cleanup.policy`, `retention_ms` its `retention.ms`; -1 keeps for ever."""

    name: str
    role: Literal["input", "output", "dead letters", "internal"]
    key: str
    cleanup: Literal["delete", "compact"]
    retention_ms: int
    max_message_bytes: int = 1_048_588
    stamped_by_broker: bool = False

    def under(self, prefix: str) -> Topic:
        """The topic in a deployment whose topics have a prefix."""
        return self._replace(name=prefix + self.name)

    def config(self) -> dict[str, str]:
        """The topic's settings as Kafka's admin protocol takes them."""
        settings = {"cleanup.policy": self.cleanup, "max.message.bytes": str(self.max_message_bytes)}
        if self.stamped_by_broker:
            settings["message.timestamp.type"] = "LogAppendTime"
        if self.cleanup == "delete":
            settings["retention.ms"] = str(self.retention_ms)
        return settings


MAPPER_DLQ = Topic(f"vitals-mapper{DLQ_SUFFIX}", "dead letters", "as it came", "delete", 30 * DAY_MS, LARGEST_RECORD)
"""Records of other systems that `vitals mapper`, which creates it, could not map."""
SCORE_ROWS = Topic("health.score-rows", "output", "account id", "delete", 90 * DAY_MS)
"""Score changes as rows of a table. `vitals rows`, which creates it, writes it."""
DLQ_PROGRESS = Topic("vitals-dlq-progress", "internal", "position of a dead letter", "compact", -1)
"""What was done with dead letters. `vitals dlq` and the board, which create it, write and read its one partition."""


def changelog(group: str, prefix: str = "") -> Topic:
    """The changelog topic of a consumer group."""
    name = f"{prefix}{group}-accounts-changelog"
    return Topic(name, "internal", "row key", "compact", -1, LARGEST_TABLE, stamped_by_broker=True)


def all_topics(group: str, sources: Sources) -> tuple[Topic, ...]:
    """Every topic of a deployment, inputs first."""
    inputs = [
        Topic(source.topic, "input", "account id", "compact" if source is sources.profiles else "delete", 400 * DAY_MS)
        for source in sources
    ]
    outputs = [
        Topic(SCORES, "output", "account id", "compact", -1),
        Topic(CHANGES, "output", "account id", "delete", 90 * DAY_MS),
        Topic(ALERTS, "output", "account id", "delete", 90 * DAY_MS),
        Topic(SHADOW, "output", "account id", "compact", -1),
        Topic(ROLLUPS, "output", "parent account id", "compact", -1),
    ]
    dead_letters = [
        Topic(sources.letters_of(source.topic), "dead letters", "as it came", "delete", 30 * DAY_MS, LARGEST_RECORD)
        for source in sources
    ]
    webhook = Topic(WEBHOOK_DLQ, "dead letters", "account id", "delete", 30 * DAY_MS, LARGEST_RECORD)
    repartition = Topic(REPARTITION, "internal", "account id", "delete", 7 * DAY_MS, LARGEST_RECORD)
    # Kept for as long as the events, so that a replay applies the same tables at the same positions.
    peers = Topic(PEERS, "internal", "none", "delete", 400 * DAY_MS, LARGEST_TABLE, stamped_by_broker=True)
    named = (*outputs, webhook, repartition, peers, changelog(group))
    ours = [topic.under(sources.prefix) for topic in named]
    split = len(outputs)
    return (*inputs, *ours[:split], *dead_letters, *ours[split:])


def optional_topics(sources: Sources) -> tuple[Topic, ...]:
    """Topics that a program creates which not every deployment runs."""
    return tuple(topic.under(sources.prefix) for topic in (MAPPER_DLQ, SCORE_ROWS, DLQ_PROGRESS))


def double_names(group: str, sources: Sources) -> list[str]:
    """Topics of two uses, of which Kafka would have one; it takes `.` and `_` for the same character in metrics."""
    names = [topic.name.replace(".", "_") for topic in (*all_topics(group, sources), *optional_topics(sources))]
    return sorted({source.topic for source in sources if names.count(source.topic.replace(".", "_")) > 1})
