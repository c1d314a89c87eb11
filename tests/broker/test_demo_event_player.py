"""The event player on the embedded broker: each event arrives once, on the partition that Kafka's producer chooses."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import NewTopic
from kafka.partitioner import murmur2

from agents.demo.broker import EmbeddedBroker
from agents.demo.company import Company, Event
from agents.demo.event_player import EventPlayer
from schemas.sources import BUILT_IN

PARTITIONS = 3
END_MS = 1_767_225_600_000


@pytest.fixture
def address() -> Iterator[str]:
    """An embedded broker with the input topics on it."""
    with EmbeddedBroker() as broker:
        admin = KafkaAdminClient(bootstrap_servers=broker.address)
        admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in BUILT_IN.names])
        admin.close()
        yield broker.address


async def send(player: EventPlayer) -> None:
    try:
        assert await player.connect(BUILT_IN.names) == dict.fromkeys(BUILT_IN.names, PARTITIONS)
        await player.run()
    finally:
        await player.close()


def stored_records(address: str, expected: int) -> dict[TopicPartition, list[Any]]:
    """All records by partition; reads until it has seen `expected` and nothing more comes."""
    consumer = KafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest", enable_auto_commit=False)
    partitions = [TopicPartition(topic, number) for topic in BUILT_IN.names for number in range(PARTITIONS)]
    consumer.assign(partitions)
    stored: dict[TopicPartition, list[Any]] = {partition: [] for partition in partitions}
    fetched: dict[TopicPartition, list[Any]] = {}
    while sum(map(len, stored.values())) < expected or fetched:
        fetched = consumer.poll(1000, max_records=10_000)
        for partition, records in fetched.items():
            stored[partition] += records
    consumer.close()
    return stored


def test_every_event_arrives_once_on_its_partition(address: str) -> None:
    company = Company(accounts=40, days=12, end_ms=END_MS)
    events = list(company)
    player = EventPlayer(company, {"bootstrap_servers": address}, idempotent=False)
    asyncio.run(send(player))
    records = stored_records(address, len(events))
    assert player.sent == Counter(event[0] for event in events)
    assert player.time_ms == events[-1][2]
    wanted: dict[TopicPartition, list[tuple[bytes, int, bytes]]] = defaultdict(list)
    for topic, account, time_ms, value in events:
        number = (murmur2(account.encode()) & 0x7FFFFFFF) % PARTITIONS
        wanted[TopicPartition(topic, number)].append((account.encode(), time_ms, value))
    for partition, stored in records.items():
        assert [(record.key, record.timestamp, record.value) for record in stored] == wanted[partition]


def test_stop_ends_the_run_and_acknowledged_events_are_counted(address: str) -> None:
    company = Company(accounts=10, days=60, end_ms=END_MS)

    def until_300(events: Iterable[Event]) -> Iterator[Event]:
        for number, event in enumerate(events):
            if number == 300:
                player.stop()
            yield event

    player = EventPlayer(until_300(company), {"bootstrap_servers": address}, idempotent=False, events_per_second=2_000)
    asyncio.run(send(player))
    sent = player.sent.total()
    assert 300 < sent < sum(1 for _ in company)
    values = {record.value for records in stored_records(address, sent).values() for record in records}
    assert values == {event[3] for event in islice(company, sent)}
