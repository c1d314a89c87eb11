"""Records into Kafka and back: what a test sends, and what the topics hold in the end.

Owns writing with every detail of a record chosen (partition, time, headers, codec) and reading whole topics. Must not
know what the records mean. Called by `tests.faults.deployment` and by tests with records of their own.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from kafka import KafkaAdminClient
from kafka import TopicPartition as KafkaTopicPartition
from kafka.admin import OffsetSpec
from kafka.partitioner.default import murmur2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PARTITIONS = 4
BATCH_RECORDS = 100
"""Small batches, so that a broker that is configured to return little per fetch can do so."""
LARGEST_BYTES = 21 * 1024 * 1024
_WAIT_MS = 10
"""How long a fetch at the end of a topic may wait: the client waits for more after the marker of a transaction."""

Codec = Literal["gzip", "snappy", "lz4", "zstd"]
Headers = tuple[tuple[str, bytes | None], ...]


class Message(NamedTuple):
    """One record to send; `partition` None means the one that Kafka's default partitioner takes for the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: Headers = ()
    partition: int | None = None


class Stored(NamedTuple):
    """One record as the broker keeps it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def partition_of(key: bytes) -> int:
    """Return the partition of a key by kafka-python's murmur2; the product uses another implementation."""
    return int((murmur2(key) & 0x7FFFFFFF) % PARTITIONS)


def send(bootstrap: str, messages: Iterable[Message], codec: Codec | None = None) -> int:
    """Write messages, in order within each partition, and return how many the broker has acknowledged: all.

    Raises:
        aiokafka.errors.KafkaError: one was refused.

    """
    gathered: dict[tuple[str, int], list[Message]] = defaultdict(list)
    count = 0
    for message in messages:
        partition = message.partition
        if partition is None:
            assert message.key is not None, "a message without a key has to name its partition"
            partition = partition_of(message.key)
        gathered[message.topic, partition].append(message)
        count += 1
    asyncio.run(_send(bootstrap, gathered, codec))
    return count


async def _send(bootstrap: str, gathered: dict[tuple[str, int], list[Message]], codec: Codec | None) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        compression_type=codec,
        max_batch_size=LARGEST_BYTES,
        max_request_size=2 * LARGEST_BYTES,
    )
    await producer.start()
    try:
        acknowledged: list[Any] = []
        for (topic, partition), messages in gathered.items():
            for first in range(0, len(messages), BATCH_RECORDS):
                batch = producer.create_batch()
                for key, value, timestamp_ms, headers in (
                    (message.key, message.value, message.timestamp_ms, message.headers)
                    for message in messages[first : first + BATCH_RECORDS]
                ):
                    fits = batch.append(key=key, value=value, timestamp=timestamp_ms, headers=list(headers))
                    assert fits is not None, "100 records have to fit a batch"
                acknowledged.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*acknowledged)
    finally:
        await producer.stop()


def read(bootstrap: str, topics: Sequence[str]) -> dict[str, list[Stored]]:
    """Return all records of topics as they stand now, none of open or aborted transactions: by topic, in order."""
    return asyncio.run(_read(bootstrap, topics))


async def _read(bootstrap: str, topics: Sequence[str]) -> dict[str, list[Stored]]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=LARGEST_BYTES,
        fetch_max_wait_ms=_WAIT_MS,
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, partition) for topic in topics for partition in range(PARTITIONS)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        left = {partition for partition in partitions if await consumer.position(partition) < ends[partition]}
        by_topic: dict[str, list[Stored]] = {topic: [] for topic in topics}
        while left:
            for partition, records in (await consumer.getmany(timeout_ms=_WAIT_MS)).items():
                for record in records:
                    stored = Stored(
                        record.topic,
                        record.partition,
                        record.offset,
                        record.timestamp,
                        record.key,
                        record.value,
                        tuple(record.headers),
                    )
                    by_topic[partition.topic].append(stored)
            left = {partition for partition in left if await consumer.position(partition) < ends[partition]}
    finally:
        await consumer.stop()
    for records in by_topic.values():
        records.sort(key=lambda record: (record.partition, record.offset))
    return by_topic


def ends(bootstrap: str, topics: Sequence[str]) -> dict[tuple[str, int], int]:
    """Return the offset after the last record of every (topic, partition)."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        partitions = [KafkaTopicPartition(topic, partition) for topic in topics for partition in range(PARTITIONS)]
        latest = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
    finally:
        admin.close()
    return {(partition.topic, partition.partition): int(end.offset) for partition, end in latest.items()}
