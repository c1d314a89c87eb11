"""The broker as the state commands see it: offsets, records, the consumer group, and writing.

Owns the Kafka clients of these commands (kafka-python). `Cluster` is all that the commands use, so that tests can run
them without a broker. Called by `agents.cli.state`, which opens one for each command.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, NoError
from kafka.structs import OffsetAndMetadata

from agents.kafka.client import BrokerError, admin_of, producer_of, read_until, reader_of, unlisted
from agents.kafka.groups import NOBODY, require_description
from agents.kafka.rights_check import require_rights
from agents.kafka.topics import id_of
from agents.process.errors import error_text
from agents.settings.settings import Settings
from schemas.sources import Sources
from schemas.topics import LARGEST_RECORD, changelog
from stream.recovery.continuity import COMMIT_MARK

_METADATA_S = 30.0
_METADATA_PAUSE_S = 0.1
_STOPPED = {"Empty", NOBODY}
_READ_BYTES = 4 * 1024 * 1024

Offsets = Mapping[tuple[str, int], int]
"""Offsets by topic and partition number."""


class Written(NamedTuple):
    """A record to write; a value None deletes its key."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = []  # noqa: RUF012 -- never changed


class Cluster(Protocol):
    """What the state commands ask of a broker."""

    sources: Sources
    """The inputs of the deployment."""

    def partitions(self, topic: str) -> int:
        """The number of partitions of a topic; 0 when it is missing."""

    def topic_ids(self) -> dict[str, str]:
        """The id of each input topic: a topic that is deleted and created again, or another cluster, has another."""

    def begins(self, topic: str) -> dict[int, int]:
        """The first offset that each partition still has."""

    def ends(self, topic: str) -> dict[int, int]:
        """The offset after the last committed record of each partition."""

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Any]:
        """The records from `start` to before `end` that are left."""

    def committed(self) -> dict[tuple[str, int], int]:
        """The offsets that the group has committed."""

    def commit(self, offsets: Offsets) -> None:
        """Set offsets of the group, which has no member, to positions of the state that was written before."""

    def write(self, topic: str, records: Iterable[Written]) -> None:
        """Write records in order; returns when all are acknowledged."""

    def grow(self, counts: Mapping[str, int]) -> None:
        """Add partitions to topics, up to these numbers."""

    def require_stopped(self) -> None:
        """Raise `BrokerError` unless the group has no member."""


class KafkaCluster:
    """A `Cluster` on a real broker."""

    def __init__(self, settings: Settings, admin: KafkaAdminClient, sources: Sources) -> None:
        """Connect a consumer, and use an admin client that is connected; see `open_cluster`."""
        self.sources = sources
        self._settings = settings
        self._consumer = _consumer(settings)
        self._admin = admin

    def partitions(self, topic: str) -> int:
        """As `Cluster.partitions`."""
        return self._counts([topic]).get(topic, 0)

    def _counts(self, topics: list[str]) -> dict[str, int]:
        """The number of partitions by topic, as the broker has it now."""
        described = self._admin.describe_topics(topics)
        return {str(topic["name"]): len(topic["partitions"]) for topic in described}

    def topic_ids(self) -> dict[str, str]:
        """As `Cluster.topic_ids`."""
        ids = {str(topic["name"]): id_of(topic) for topic in self._admin.describe_topics(list(self.sources.topics))}
        return {name: topic_id for name, topic_id in ids.items() if topic_id is not None}

    def _tps(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for number in range(self.partitions(topic))]

    def begins(self, topic: str) -> dict[int, int]:
        """As `Cluster.begins`."""
        return self._offsets(topic, KafkaConsumer.beginning_offsets)

    def ends(self, topic: str) -> dict[int, int]:
        """As `Cluster.ends`."""
        return self._offsets(topic, KafkaConsumer.end_offsets)

    def _offsets(self, topic: str, ask: Callable[..., dict[TopicPartition, int]]) -> dict[int, int]:
        """An offset of every partition. kafka-python has none of a partition whose leader it does not know yet."""
        tps, deadline = self._tps(topic), time.monotonic() + _METADATA_S
        while True:
            try:
                return {tp.partition: offset for tp, offset in ask(self._consumer, tps).items()}
            except KeyError:
                if time.monotonic() > deadline:
                    msg = f"{topic}: the leaders of some partitions are not known after {_METADATA_S:.0f} s"
                    raise BrokerError(msg) from None
            time.sleep(_METADATA_PAUSE_S)
            self._consumer.close()
            self._consumer = _consumer(self._settings)

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Any]:
        """As `Cluster.read`; each call has a consumer of its own, so that several topics can be read in turn."""
        if start >= end:
            return
        tp = TopicPartition(topic, partition)
        consumer = _consumer(self._settings)
        try:
            consumer.assign([tp])
            consumer.seek(tp, start)
            for _, record in read_until(consumer, {tp: end}):
                if record.offset < end:
                    yield record
        finally:
            consumer.close()

    def committed(self) -> dict[tuple[str, int], int]:
        """As `Cluster.committed`."""
        (offsets,) = self._admin.list_group_offsets({self._settings.group: None}).values()
        return {(tp.topic, tp.partition): meta.offset for tp, meta in offsets.items() if meta.offset >= 0}

    def commit(self, offsets: Offsets) -> None:
        """As `Cluster.commit`."""
        if not offsets:
            return
        metas = {TopicPartition(*name): OffsetAndMetadata(offset, COMMIT_MARK, -1) for name, offset in offsets.items()}
        for tp, error in self._admin.alter_group_offsets(self._settings.group, metas).items():
            if error is not NoError:
                msg = f"the offset of {tp.topic} partition {tp.partition} was not committed: {error.__name__}"
                raise BrokerError(msg)

    def write(self, topic: str, records: Iterable[Written]) -> None:
        """As `Cluster.write`."""
        producer = producer_of(
            self._settings, max_request_size=LARGEST_RECORD, linger_ms=20, max_in_flight_requests_per_connection=1
        )
        try:
            futures = [
                producer.send(
                    topic, key=record.key, value=record.value, partition=record.partition, headers=record.headers
                )
                for record in records
            ]
            producer.flush()
            for future in futures:
                future.get(timeout=60)
        finally:
            producer.close()

    def grow(self, counts: Mapping[str, int]) -> None:
        """As `Cluster.grow`."""
        if not counts:
            return
        self._admin.create_partitions(dict(counts))
        deadline = time.monotonic() + _METADATA_S
        while self._counts(list(counts)) != dict(counts):
            if time.monotonic() > deadline:
                msg = f"the broker does not list the new partitions after {_METADATA_S:.0f} s: {', '.join(counts)}"
                raise BrokerError(msg)
            time.sleep(_METADATA_PAUSE_S)

    def require_stopped(self) -> None:
        """As `Cluster.require_stopped`."""
        group = self._settings.group
        described = require_description(self._admin, group)
        if described.members or described.state not in _STOPPED:
            msg = (
                f"group {group} is {described.state.lower()} with {len(described.members)} members: stop all workers "
                f"first; one that was killed is a member until its session ends (VITALS_SESSION_TIMEOUT_S)"
            )
            raise BrokerError(msg)


def _consumer(settings: Settings) -> KafkaConsumer:
    return reader_of(settings, isolation_level="read_committed", max_partition_fetch_bytes=_READ_BYTES)


@contextmanager
def open_cluster(settings: Settings, command: str, sources: Sources) -> Iterator[KafkaCluster]:
    """Connect to the broker, with the rights that a subcommand needs.

    Raises `BrokerError`, also for a `KafkaError` of what is done with it.
    """
    try:
        require_rights(settings, "state", command, sources=sources)
        admin = admin_of(settings, "vitals-state")
        try:
            cluster = KafkaCluster(settings, admin, sources)
            try:
                yield cluster
            finally:
                cluster.close()
        finally:
            admin.close()
    except KafkaError as error:
        msg = f"the broker refused: {error_text(error)}"
        raise BrokerError(msg) from error


def changelog_of(cluster: Cluster, settings: Settings) -> str:
    """The name of the group's changelog. Raises `BrokerError` when the broker has no such topic."""
    name = changelog(settings.group, settings.topic_prefix).name
    if not cluster.partitions(name):
        way_out = f"check the setting `group` ({settings.group}), or create the topics with `vitals topics --create`"
        raise BrokerError(unlisted(name, way_out))
    return name
