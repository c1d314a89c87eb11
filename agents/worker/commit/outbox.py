"""The outbox: the records that a worker writes to Kafka, in order, until the broker has acknowledged them.

Owns one queue of records for each task and topic partition that the task writes to. A queue sends what has gathered as
one flight and waits for its acknowledgement before the next, so that order holds and batches grow under load. A flight
that fails is sent again after a pause until the broker takes it: nothing is dropped, `failing` is true, and commits
wait (`drained`). Only closing a task drops its queues, whichever partitions they write to. Used by
`agents.worker.tasks.processor` (outputs, dead letters, forwards) and `agents.worker.commit.checkpoint` (changelog).

Up to `FEW` records go by plain sends, more as prepared batches: one awaited send costs about 15 microseconds.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from agents.worker.monitoring.metrics import Telemetry
from stream.publishing.effects import Message

log = structlog.get_logger()

FEW = 8
FLIGHT_RECORDS = 20_000
FLIGHTS_KNOWN = 256
UNACKNOWLEDGED_LIMIT = 100_000
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
_LOG_APPEND_TIME = 1

Record: TypeAlias = Message[bytes | None]


class Queue:
    """The records that one task writes to one topic partition and that are not acknowledged yet."""

    def __init__(self, topic: str, partition: int) -> None:
        """Begin empty."""
        self.topic = topic
        self.partition = partition
        self.waiting: list[Record] = []
        self.put = 0
        self.acknowledged = 0
        self.ends: deque[tuple[int, int]] = deque(maxlen=FLIGHTS_KNOWN)
        """After each of the last flights how many records were acknowledged, and the offset after them."""
        self.task: asyncio.Task[None] | None = None
        self.barriers: list[tuple[int, asyncio.Future[None]]] = []
        self.one_by_one = False

    def __len__(self) -> int:
        """Records not acknowledged yet."""
        return self.put - self.acknowledged

    def acknowledge(self, count: int, end: int | None) -> None:
        """Count a flight as acknowledged, up to before offset `end`; wake those who wait for it."""
        self.acknowledged += count
        if end is not None:
            self.ends.append((self.acknowledged, end))
        while self.barriers and self.barriers[0][0] <= self.acknowledged:
            future = self.barriers.pop(0)[1]
            if not future.done():
                future.set_result(None)


class Outbox:
    """All queues of a worker."""

    def __init__(
        self,
        producer: Callable[[], AIOKafkaProducer],
        telemetry: Telemetry,
        *,
        on_append_ms: Callable[[int], None],
        may_write: Callable[[], bool],
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        """`producer` returns the started producer.

        `on_append_ms` is called with the broker's time of a record where the topic has it. Nothing is sent while
        `may_write` returns False. `on_fatal` is called with errors that no other try can mend.
        """
        self._may_write = may_write
        self._on_fatal = on_fatal
        self._producer = producer
        self._telemetry = telemetry
        self._on_append_ms = on_append_ms
        self._queues: dict[tuple[int, str, int], Queue] = {}
        """By owner, topic and partition."""
        self._failing: set[Queue] = set()
        self.refused_at = float("-inf")
        """Monotonic time at which a send failed last."""
        self._unacknowledged = 0
        self._room = asyncio.Event()
        self._room.set()

    @property
    def failing(self) -> bool:
        """Whether the broker refuses something at the moment."""
        return bool(self._failing)

    def __len__(self) -> int:
        """Records not acknowledged yet, of all queues."""
        return self._unacknowledged

    async def room(self) -> None:
        """Wait until not too much is unacknowledged."""
        await self._room.wait()

    def _count(self, records: int) -> None:
        self._unacknowledged += records
        if self._unacknowledged > UNACKNOWLEDGED_LIMIT:
            self._room.clear()
        else:
            self._room.set()

    def put(self, topic: str, partition: int, records: Iterable[Record], *, owner: int | None = None) -> None:
        """Add records to a queue; sending them has begun when this returns.

        `owner` is the number of the task that writes. Without it, the task writes to the partition of its own number.
        """
        key = (partition if owner is None else owner, topic, partition)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = Queue(topic, partition)
        before = len(queue.waiting)
        queue.waiting.extend(records)
        queue.put += len(queue.waiting) - before
        self._count(len(queue.waiting) - before)
        if queue.waiting and queue.task is None:
            queue.task = asyncio.get_running_loop().create_task(self._run(queue))

    def count(self, topic: str, partition: int) -> int:
        """How many records the task of this number has put for its own partition so far."""
        queue = self._queues.get((partition, topic, partition))
        return 0 if queue is None else queue.put

    def end(self, topic: str, partition: int, count: int) -> int | None:
        """Offset after the first `count` of these records, all of them acknowledged; None where none is yet.

        `count` never goes back from call to call.
        """
        queue = self._queues.get((partition, topic, partition))
        if queue is None:
            return None
        while queue.ends and queue.ends[0][0] < count:
            queue.ends.popleft()
        if not queue.ends:
            return None
        # The flight in which that record was: later ones may have been written twice, after an answer was lost.
        acknowledged, end = queue.ends[0]
        return end - (acknowledged - count)

    async def drained(self, topics: Callable[[str], bool]) -> None:
        """Wait until every record of these topics that was put before this call is acknowledged or dropped."""
        barriers = []
        for queue in self._queues.values():
            if topics(queue.topic) and len(queue):
                barrier = asyncio.get_running_loop().create_future()
                queue.barriers.append((queue.put, barrier))
                barriers.append(barrier)
        if barriers:
            await asyncio.gather(*barriers)

    def drop(self, owner: int) -> None:
        """Drop the queues of a task that is closed: the worker that has its partition next writes them again."""
        for key in [key for key in self._queues if key[0] == owner]:
            self._drop(self._queues.pop(key))

    def _drop(self, queue: Queue) -> None:
        if queue.task is not None:
            queue.task.cancel()
        self._failing.discard(queue)
        self._count(-len(queue))
        for _, barrier in queue.barriers:
            if not barrier.done():
                barrier.set_result(None)

    async def _run(self, queue: Queue) -> None:
        pause = FIRST_PAUSE_S
        try:
            while queue.waiting:
                flight, queue.waiting = queue.waiting[:FLIGHT_RECORDS], queue.waiting[FLIGHT_RECORDS:]
                while True:
                    while not self._may_write():  # noqa: ASYNC110 -- only time decides it: there is no event to wait for
                        await asyncio.sleep(FIRST_PAUSE_S)
                    try:
                        end = await self._fly(queue, flight)
                    except (KafkaError, OSError) as error:
                        self._fail(queue, error)
                        await asyncio.sleep(pause)
                        pause = min(pause * 2, LONGEST_PAUSE_S)
                    except Exception as error:  # noqa: BLE001 -- a flight must not be lost with its task
                        self._on_fatal(error)
                        return
                    else:
                        self._failing.discard(queue)
                        pause = FIRST_PAUSE_S
                        queue.acknowledge(len(flight), end)
                        self._count(-len(flight))
                        break
        finally:
            queue.task = None

    def _fail(self, queue: Queue, error: BaseException) -> None:
        self._telemetry.send_errors.inc()
        self.refused_at = time.monotonic()
        if isinstance(error, MessageSizeTooLargeError):
            queue.one_by_one = True
        if queue not in self._failing:
            log.error("send_failed", topic=queue.topic, partition=queue.partition, error=str(error), will="retry")
        self._failing.add(queue)

    async def _fly(self, queue: Queue, flight: list[Record]) -> int | None:
        """Send a flight; return the offset after its last record, where the broker gives it."""
        producer = self._producer()
        plain = len(flight) <= FEW or queue.one_by_one
        futures: list[asyncio.Future[Any]] = []
        last = 1
        """How many records the last of these futures stands for."""
        if plain:
            for record in flight:
                futures.append(await self._send(producer, queue, record))
                if queue.one_by_one:
                    await futures[-1]  # the topic takes only small batches: one record at a time
        else:
            index = 0
            while index < len(flight):
                batch = producer.create_batch()
                first = index
                while index < len(flight):
                    record = flight[index]
                    head = list(record.headers)
                    at_ms = record.timestamp_ms
                    if batch.append(key=record.key, value=record.value, timestamp=at_ms, headers=head) is None:
                        break
                    index += 1
                if index == first:  # larger than a batch: it is sent alone
                    record = flight[index]
                    futures.append(await self._send(producer, queue, record))
                    index, last = index + 1, 1
                    continue
                futures.append(await producer.send_batch(batch, queue.topic, partition=queue.partition))
                last = index - first
        results = await asyncio.gather(*futures)
        if results and results[-1] is not None and results[-1].timestamp_type == _LOG_APPEND_TIME:
            self._on_append_ms(results[-1].timestamp)
        self._telemetry.flush_records.inc(len(flight))
        return results[-1].offset + last if results and results[-1] is not None else None

    @staticmethod
    async def _send(producer: AIOKafkaProducer, queue: Queue, record: Record) -> asyncio.Future[Any]:
        """Send one record by itself."""
        sent: asyncio.Future[Any] = await producer.send(
            queue.topic,
            value=record.value,
            key=record.key,
            partition=queue.partition,
            timestamp_ms=record.timestamp_ms,
            headers=list(record.headers),
        )
        return sent
