"""What the broker says of partitions that a worker takes over: offsets, topic ids and members of the group.

Owns the questions to the broker's admin API; what is made of the answers is for `agents.worker.tasks.takeover`. Called
by `agents.worker.tasks.restorer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec

from agents.kafka.client import admin_of, read_until, reader_of
from agents.kafka.groups import describe_group
from agents.kafka.topics import id_of
from agents.settings.settings import Settings
from agents.worker.identity import Client, client_of, worker_name
from schemas.sources import Sources
from stream.recovery.continuity import COMMIT_MARK, SourceLog
from stream.recovery.writer import Member


class Facts(NamedTuple):
    """What the broker says of some partitions."""

    logs: Mapping[int, Sequence[SourceLog]]
    """By partition, in the order of `Sources.inputs`."""
    first: Mapping[int, int]
    """The first offset of each partition of the changelog."""
    members: Sequence[Member]
    """The other members of the group."""


def read_facts(settings: Settings, changelog: str, this: Client, sources: Sources, partitions: Iterable[int]) -> Facts:
    """Ask the broker. Blocks. Raises `agents.kafka.client.BrokerError`, `kafka.errors.KafkaError`."""
    admin = admin_of(settings)
    try:
        return _facts(admin, (settings.group, changelog), this, sources.topics, list(partitions))
    finally:
        admin.close()


def _facts(
    admin: KafkaAdminClient, of: tuple[str, str], this: Client, topics: Sequence[str], partitions: list[int]
) -> Facts:
    """Ask about a group and its changelog."""
    group, changelog = of
    sources = [TopicPartition(topic, partition) for topic in topics for partition in partitions]
    changelogs = [TopicPartition(changelog, partition) for partition in partitions]
    first = admin.list_partition_offsets(dict.fromkeys((*sources, *changelogs), OffsetSpec.EARLIEST))
    end = admin.list_partition_offsets(dict.fromkeys(sources, OffsetSpec.LATEST))
    committed = admin.list_group_offsets({group: sources})[group]
    ids = {str(entry["name"]): id_of(entry) for entry in admin.describe_topics(list(topics))}

    def log(tp: TopicPartition) -> SourceLog:
        saved = committed.get(tp)
        offset = None if saved is None or saved.offset < 0 else int(saved.offset)
        marked = saved is not None and saved.metadata == COMMIT_MARK
        return SourceLog(tp.topic, int(first[tp].offset), int(end[tp].offset), offset, marked, ids.get(tp.topic))

    described = describe_group(admin, group)
    return Facts(
        {number: [log(TopicPartition(topic, number)) for topic in topics] for number in partitions},
        {tp.partition: int(first[tp].offset) for tp in changelogs},
        [] if described is None else _others(described.members, this),
    )


def _others(members: Iterable[Mapping[str, Any]], this: Client) -> list[Member]:
    """The other workers in the group, as far as their client ids say who they are."""
    others = []
    for member in members:
        client = client_of(str(member["client_id"]))
        if client is not None and client.token != this.token:
            name = worker_name(member.get("group_instance_id"), client.host)
            others.append(Member(name, client.version, client.configuration))
    return others


def find_record(settings: Settings, topic: str, partition: int, key: bytes, value: bytes) -> int | None:
    """The last offset at which a partition has this record. Blocks. Raises as `read_facts`."""
    consumer, tp = reader_of(settings), TopicPartition(topic, partition)
    try:
        consumer.assign([tp])
        consumer.seek_to_beginning(tp)
        ends = consumer.end_offsets([tp])
        offsets = [rec.offset for _, rec in read_until(consumer, ends) if (rec.key, rec.value) == (key, value)]
        return max(offsets, default=None)
    finally:
        consumer.close()
