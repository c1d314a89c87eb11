"""Send a company's events to a broker at a given rate.

Owns the producer: batches, rate, partitions, counts. Called by `agents.demo.run`.

Records carry the event's time as their timestamp and the account id as their key, on the partition that Kafka's own
partitioner (murmur2) would choose. Batches are built here, because sending single records costs ten times as much.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

from agents.demo.company import Event

LARGEST_CHUNK = 4_000
"""Events put into batches before control returns to the event loop: about 15 ms."""
TICK_S = 0.05
LARGEST_BATCH = 256 * 1024
BATCHES_IN_FLIGHT = 48
LONGEST_WAIT_S = 0.25


class EventPlayer:
    """Sends events in the order given; `connect`, then `run` once, then `close`.

    `connection`: broker and credentials as options of aiokafka's clients. `events_per_second` may be changed while it
    runs; None is as fast as possible. `run` raises any error of the broker. An event counts as `sent` when the broker
    has acknowledged it.
    """

    def __init__(
        self,
        events: Iterable[Event],
        connection: Mapping[str, Any],
        *,
        idempotent: bool,
        prefix: str = "",
        events_per_second: float | None = None,
    ) -> None:
        self.events_per_second = events_per_second
        self.sent: Counter[str] = Counter()
        """Topic to acknowledged events."""
        self.time_ms: int | None = None
        """Time of the last event sent, epoch milliseconds."""
        self._events = iter(events)
        self._prefix = prefix
        self._options = dict(
            connection,
            acks="all",
            enable_idempotence=idempotent,
            max_batch_size=LARGEST_BATCH,
        )
        self._producer: Any = None
        self._partitions: dict[str, int] = {}
        self._keys: dict[str, tuple[bytes, int]] = {}
        self._stopping = False

    async def connect(self, topics: Iterable[str]) -> dict[str, int]:
        """Connect, and return each topic's number of partitions; topics are named without the prefix."""
        self._producer = AIOKafkaProducer(**self._options)
        await self._producer.start()
        self._partitions = {topic: len(await self._producer.partitions_for(self._prefix + topic)) for topic in topics}
        return self._partitions

    def stop(self) -> None:
        """Make `run` return once the events in flight are acknowledged."""
        self._stopping = True

    async def run(self) -> None:
        """Send until the events end or `stop` is called, and until everything sent is acknowledged."""
        in_flight: list[asyncio.Future[Any]] = []
        pace = _Pace()
        while not self._stopping:
            size = pace.due(self.events_per_second)
            chunk = list(islice(self._events, size))
            if size and not chunk:
                break
            in_flight += await self._send(chunk)
            if len(in_flight) >= BATCHES_IN_FLIGHT or size < LARGEST_CHUNK:
                await asyncio.gather(*in_flight)
                in_flight.clear()
            if chunk:
                self.time_ms = chunk[-1][2]
            await asyncio.sleep(0 if size == LARGEST_CHUNK else TICK_S)
        await asyncio.gather(*in_flight)

    async def close(self) -> None:
        """Disconnect."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def _send(self, chunk: list[Event]) -> list[asyncio.Future[Any]]:
        batches: dict[tuple[str, int], Any] = {}
        futures: list[asyncio.Future[Any]] = []
        for topic, account, time_ms, value in chunk:
            key, hashed = self._keys.get(account) or self._partition_of_account(account)
            topic_partition = (topic, hashed % self._partitions[topic])
            batch = batches.get(topic_partition)
            if batch is None:
                batch = batches[topic_partition] = self._producer.create_batch()
            if batch.append(timestamp=time_ms, key=key, value=value) is None:
                futures.append(await self._send_batch(topic_partition, batch))
                batch = batches[topic_partition] = self._producer.create_batch()
                batch.append(timestamp=time_ms, key=key, value=value)
        for topic_partition, batch in batches.items():
            futures.append(await self._send_batch(topic_partition, batch))
        return futures

    async def _send_batch(self, topic_partition: tuple[str, int], batch: Any) -> asyncio.Future[Any]:
        topic, number = topic_partition
        count = batch.record_count()
        batch.close()
        future: asyncio.Future[Any] = await self._producer.send_batch(batch, self._prefix + topic, partition=number)
        future.add_done_callback(lambda done: self._acknowledge(done, topic, count))
        return future

    def _acknowledge(self, future: asyncio.Future[Any], topic: str, count: int) -> None:
        if not future.cancelled() and future.exception() is None:
            self.sent[topic] += count

    def _partition_of_account(self, account: str) -> tuple[bytes, int]:
        key = account.encode()
        self._keys[account] = known = (key, murmur2(key) & 0x7FFFFFFF)
        return known


class _Pace:
    """Computes how many events are due since the last call; a long pause is not followed by a burst."""

    def __init__(self) -> None:
        self._allowance = 0.0
        self._before = time.monotonic()

    def due(self, events_per_second: float | None) -> int:
        """0..`LARGEST_CHUNK` events; always `LARGEST_CHUNK` without a rate."""
        now = time.monotonic()
        passed, self._before = min(now - self._before, LONGEST_WAIT_S), now
        if events_per_second is None:
            return LARGEST_CHUNK
        self._allowance += events_per_second * passed
        size = min(int(self._allowance), LARGEST_CHUNK)
        self._allowance -= size
        return size
