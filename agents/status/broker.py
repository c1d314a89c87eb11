"""What the broker knows of a deployment: the members of the group, lag, the newest records.

Owns these requests (kafka-python's admin API). Must not write. Called by `agents.status.report`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError

from agents.kafka.client import BrokerError, admin_of
from agents.kafka.groups import require_description
from agents.kafka.rights_check import require_rights
from agents.process.errors import error_text
from agents.settings.settings import Settings
from schemas.sources import Sources
from schemas.topics import ALERTS, CHANGES, REPARTITION, SCORES

_Answer = TypeVar("_Answer")


class Member(msgspec.Struct):
    """A worker as a member of the group; `tasks`: its partition numbers by input topic."""

    client: str
    host: str
    instance: str | None
    tasks: dict[str, list[int]]


class Group(msgspec.Struct):
    """The consumer group."""

    name: str
    state: str
    members: list[Member]


class Lag(msgspec.Struct):
    """How far the group has read a partition; `newest`: the largest record time in it, epoch ms."""

    topic: str
    partition: int
    committed: int | None
    end: int
    records: int
    newest: int | None


class Output(msgspec.Struct):
    """The newest record of an output topic, epoch ms."""

    topic: str
    newest: int | None


class Broker:
    """One broker, asked repeatedly. Every method raises `BrokerError`."""

    def __init__(self, settings: Settings, sources: Sources) -> None:
        """Connect. Raises `BrokerError`."""
        self._settings = settings
        self._topics = (*sources.of_topics, sources.own(REPARTITION))
        require_rights(settings, "status", sources=sources)
        self._admin: Any = admin_of(settings, "vitals-status")

    def close(self) -> None:
        """Close the connection."""
        self._admin.close()

    def group(self) -> Group:
        """The group and its members."""
        name = self._settings.group
        described = self._asked(lambda: require_description(self._admin, name))
        members = [_member(member, self._topics) for member in described.members]
        return Group(name, described.state, sorted(members, key=lambda member: (member.host, member.client)))

    def inputs(self) -> list[Lag]:
        """Every partition of the inputs that the broker has."""
        return self._asked(self._inputs)

    def _inputs(self) -> list[Lag]:
        partitions = self._partitions(self._topics)
        begins, ends = self._offsets(partitions, OffsetSpec.EARLIEST), self._offsets(partitions, OffsetSpec.LATEST)
        newest = self._newest(partitions)
        committed = self._admin.list_group_offsets({self._settings.group: None}).get(self._settings.group, {})
        lags = []
        for partition in partitions:
            offset = committed[partition].offset if partition in committed else None
            done = max(begins[partition] if offset is None else offset, begins[partition])
            waiting = max(ends[partition] - done, 0)
            lags.append(Lag(partition.topic, partition.partition, offset, ends[partition], waiting, newest[partition]))
        return lags

    def outputs(self) -> list[Output]:
        """The newest record of each output that workers write."""
        return self._asked(self._outputs)

    def _outputs(self) -> list[Output]:
        newest = self._newest(self._partitions([self._settings.topic(name) for name in (SCORES, CHANGES, ALERTS)]))
        times: dict[str, int | None] = {}
        for partition, time_ms in newest.items():
            times[partition.topic] = max(time_ms or 0, times.get(partition.topic) or 0) or None
        return [Output(topic, time_ms) for topic, time_ms in times.items()]

    def _partitions(self, names: Sequence[str]) -> list[TopicPartition]:
        """All partitions of those topics that the broker has."""
        existing = set(self._admin.list_topics())
        known = [name for name in names if name in existing]
        described = self._admin.describe_topics(known) if known else []
        counts = {str(topic.get("name") or topic.get("topic")): len(topic["partitions"]) for topic in described}
        return [TopicPartition(name, number) for name in known for number in range(counts[name])]

    def _offsets(self, partitions: list[TopicPartition], which: Any) -> dict[TopicPartition, int]:
        if not partitions:
            return {}
        listed = self._admin.list_partition_offsets(dict.fromkeys(partitions, which))
        return {partition: listed[partition].offset for partition in partitions}

    def _newest(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int | None]:
        """The largest record time of each partition; None if it is empty."""
        if not partitions:
            return {}
        listed = self._admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.MAX_TIMESTAMP))
        times = {partition: listed[partition].timestamp for partition in partitions}
        return {partition: None if time_ms is None or time_ms < 0 else time_ms for partition, time_ms in times.items()}

    def _asked(self, question: Callable[[], _Answer]) -> _Answer:
        try:
            return question()
        except (KafkaError, OSError) as error:
            raise BrokerError(f"the broker did not answer: {error_text(error)}") from error


def _member(member: dict[str, Any], topics: Sequence[str]) -> Member:
    assignment = member.get("member_assignment")
    assigned = assignment.get("assigned_partitions", []) if isinstance(assignment, dict) else []
    tasks = {topic["topic"]: sorted(topic["partitions"]) for topic in assigned if topic["topic"] in topics}
    host = str(member["client_host"]).lstrip("/")
    return Member(member["client_id"], host, member.get("group_instance_id"), dict(sorted(tasks.items())))
