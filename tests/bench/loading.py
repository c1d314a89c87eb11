"""Writes the benchmark's events to a topic, and reads back what engines published.

Owns batching towards Kafka. Must not know engines or timing. Called by the three measurements.
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from kafka.partitioner.default import murmur2

from tests.bench.rules import PARTITIONS
from tests.bench.workload import SOURCES, USAGE_TOPIC, Workload, account_id, values

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tests.broker.kafka_server import KafkaServer

    Row = tuple[bytes, bytes | None, int]  # key, value and timestamp in milliseconds of a record
    Rows = Sequence[Row]

# Record times are event times, months ago: Kafka's default retention would delete them within minutes.
KEEP = {"retention.ms": "-1"}
_BATCH_BYTES = 128 * 1024
_POSITIVE = 0x7FFFFFFF
_WITHIN_S = 600.0  # the clients would ask a broker that has died for ever


def partition_of(key: bytes) -> int:
    """The partition that Kafka's Java client gives a key."""
    return int((murmur2(key) & _POSITIVE) % PARTITIONS)


@cache
def partitions_of_accounts(accounts: int) -> NDArray[np.int64]:
    """The partition of every account, by number."""
    return np.array([partition_of(account_id(number).encode()) for number in range(accounts)], dtype=np.int64)


async def load(kafka: KafkaServer, topic: str, workload: Workload, first_id: int = 0) -> None:
    """Append all events in order, keyed by account, stamped with their event time; return when the broker has them.

    `topic` is that of usage; the other sources have the same prefix.
    """
    partitions = partitions_of_accounts(int(workload.account.max()) + 1)
    homes = (workload.source * PARTITIONS + partitions[workload.account]).tolist()
    targets = [(f"{topic.removesuffix(USAGE_TOPIC)}{name}", number) for name in SOURCES for number in range(PARTITIONS)]
    rows = zip(homes, workload.account.tolist(), workload.time_ms.tolist(), values(workload, first_id), strict=True)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, max_batch_size=_BATCH_BYTES, acks="all")
    async with asyncio.timeout(_WITHIN_S), producer:
        batches = [producer.create_batch() for _ in targets]
        sent = []
        for home, account, time_ms, value in rows:
            key = account_id(account).encode()
            if batches[home].append(key=key, value=value, timestamp=time_ms) is None:
                sent.append(await producer.send_batch(batches[home], targets[home][0], partition=targets[home][1]))
                batches[home] = producer.create_batch()
                batches[home].append(key=key, value=value, timestamp=time_ms)
        for (name, partition), batch in zip(targets, batches, strict=True):
            if batch.record_count():
                sent.append(await producer.send_batch(batch, name, partition=partition))
        await asyncio.gather(*sent)


def end_offsets(kafka: KafkaServer, topic: str) -> dict[int, int]:
    """The offset after the last record of each partition."""
    return asyncio.run(_end_offsets(kafka, topic))


async def _end_offsets(kafka: KafkaServer, topic: str) -> dict[int, int]:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap)
    async with asyncio.timeout(_WITHIN_S), consumer:
        ends = await consumer.end_offsets([TopicPartition(topic, partition) for partition in range(PARTITIONS)])
    return {source.partition: offset for source, offset in ends.items()}


async def read_all(kafka: KafkaServer, topic: str, start: dict[int, int]) -> Rows:
    """Read a topic from the offsets `start` to its end, each partition in order."""
    rows: list[Row] = []
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, max_partition_fetch_bytes=4 * 1024 * 1024)
    async with asyncio.timeout(_WITHIN_S), consumer:
        sources = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        ends = await consumer.end_offsets(sources)
        consumer.assign(sources)
        for source in sources:
            consumer.seek(source, start.get(source.partition, 0))
        for source in sources:
            while await consumer.position(source) < ends[source]:
                rows.extend(_rows(await consumer.getmany(source, timeout_ms=1000)))
    return rows


def _rows(fetched: dict[TopicPartition, list[object]]) -> Iterator[Row]:
    for records in fetched.values():
        for record in records:
            yield record.key, record.value, record.timestamp  # type: ignore[attr-defined]
