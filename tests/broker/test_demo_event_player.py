"""The player against the embedded broker: everything arrives once, where and when Kafka's own producer would put it."""

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
from schemas.events import SOURCES

PARTITIONS = 3
END_MS = 1_767_225_600_000


@pytest.fixture
def address() -> Iterator[str]:
    """An embedded broker with the input topics on it."""
    with EmbeddedBroker() as broker:
        admin = KafkaAdminClient(bootstrap_servers=broker.address)
        admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in SOURCES])
        admin.close()
        yield broker.address


async def play(player: EventPlayer) -> None:
    try:
        assert await player.connect(SOURCES) == dict.fromkeys(SOURCES, PARTITIONS)
        await player.run()
    finally:
        await player.close()


def stored(address: str, expected: int) -> dict[TopicPartition, list[Any]]:
    """All records by partition; reads until it has seen `expected` and nothing more comes."""
    consumer = KafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest", enable_auto_commit=False)
    places = [TopicPartition(topic, number) for topic in SOURCES for number in range(PARTITIONS)]
    consumer.assign(places)
    found: dict[TopicPartition, list[Any]] = {place: [] for place in places}
    fetched: dict[TopicPartition, list[Any]] = {}
    while sum(map(len, found.values())) < expected or fetched:
        fetched = consumer.poll(1000, max_records=10_000)
        for place, records in fetched.items():
            found[place] += records
    consumer.close()
    return found


def test_a_company_arrives_whole_and_in_place(address: str) -> None:
    company = Company(accounts=40, days=12, end_ms=END_MS)
    events = list(company)
    player = EventPlayer(company, {"bootstrap_servers": address}, idempotent=False)
    asyncio.run(play(player))
    records = stored(address, len(events))
    assert player.sent == Counter(event[0] for event in events)
    assert player.time_ms == events[-1][2]
    wanted: dict[TopicPartition, list[tuple[bytes, int, bytes]]] = defaultdict(list)
    for topic, account, time_ms, value in events:
        number = (murmur2(account.encode()) & 0x7FFFFFFF) % PARTITIONS
        wanted[TopicPartition(topic, number)].append((account.encode(), time_ms, value))
    for place, found in records.items():
        assert [(record.key, record.timestamp, record.value) for record in found] == wanted[place]


def test_it_stops_when_told_and_counts_what_was_acknowledged(address: str) -> None:
    company = Company(accounts=10, days=60, end_ms=END_MS)

    def until_300(events: Iterable[Event]) -> Iterator[Event]:
        for number, event in enumerate(events):
            if number == 300:
                player.stop()
            yield event

    player = EventPlayer(until_300(company), {"bootstrap_servers": address}, idempotent=False, events_per_second=2_000)
    asyncio.run(play(player))
    sent = player.sent.total()
    assert 300 < sent < sum(1 for _ in company)
    values = {record.value for records in stored(address, sent).values() for record in records}
    assert values == {event[3] for event in islice(company, sent)}
