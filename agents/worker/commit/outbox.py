"""The outbox: the records that a worker writes to Kafka, in order, until the broker has acknowledged them.

Owns one queue of records for each task and topic partition that the task writes to. A queue sends what has gathered in
batches, with its task's producer, and waits for the acknowledgement of each before the next, so that order holds and
batches grow under load. A batch that fails is sent again after a pause until the broker takes it: nothing is dropped,
`failing` is true, and commits wait (`drained`). Only closing a task drops its queues, whichever partitions they write
to; a broker that refuses a task's producer (`agents.worker.commit.fencing`) has it closed. Used by
`agents.worker.tasks.processor` (outputs, dead letters, forwards) and `agents.worker.commit.checkpoint` (changelog).

Records without a time get the broker's, and none a later one: a broker refuses what its clock says is in the future.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias

import structlog
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from agents.worker.commit.fencing import LOST, TaskProducer
from agents.worker.monitoring.metrics import Telemetry
from stream.publishing.effects import Message

log = structlog.get_logger()

FLIGHT_RECORDS = 20_000
BATCHES_KNOWN = 256
UNACKNOWLEDGED_LIMIT = 100_000
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
SILENT_S = 10.0
"""A batch that is not acknowledged for so long counts as refused, though its producer goes on trying."""
_LOG_APPEND_TIME = 1

Record: TypeAlias = Message[bytes | None]


class Producers(Protocol):
    """What the outbox asks of `agents.worker.commit.fencing`."""

    def of(self, task: int) -> TaskProducer | None:
        """The producer of a task; None while it has none."""

    def close(self, task: int) -> None:
        """Stop the producer of a task that is closed."""


class Queue:
    """The records that one task writes to one topic partition and that are not acknowledged yet."""

    def __init__(self, owner: int, topic: str, partition: int) -> None:
        """Begin empty."""
        self.owner = owner
        self.topic = topic
        self.partition = partition
        self.waiting: list[Record] = []
        self.put = 0
        self.acknowledged = 0
        self.ends: deque[tuple[int, int]] = deque(maxlen=BATCHES_KNOWN)
        """After each of the last batches how many records were acknowledged, and the offset after them."""
        self.task: asyncio.Task[None] | None = None
        self.barriers: list[tuple[int, asyncio.Future[None]]] = []
        self.one_by_one = False

    def __len__(self) -> int:
        """Records not acknowledged yet."""
        return self.put - self.acknowledged

    def acknowledge(self, count: int, end: int | None) -> None:
        """Count a batch as acknowledged, up to before offset `end`; wake those who wait for it."""
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
        producers: Producers,
        telemetry: Telemetry,
        *,
        now_ms: Callable[[], int],
        on_append_ms: Callable[[int], None],
        may_write: Callable[[], bool],
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        """`now_ms` is the time by the broker's clock.

        `on_append_ms` is called with the broker's time of a record where the topic has it. Nothing is sent while
        `may_write` returns False. `on_fatal` is called with errors that no other try can mend.
        """
        self.on_lost: Callable[[int, BaseException], None]
        """Called with a task whose producer the broker refuses; it closes the task. Set by `agents.worker.wiring`."""
        self._now_ms = now_ms
        self._may_write = may_write
        self._on_fatal = on_fatal
        self._producers = producers
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
            queue = self._queues[key] = Queue(*key)
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
        # The batch in which that record was: markers, or records written twice, may lie before later ones.
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
        self._producers.close(owner)

    def _drop(self, queue: Queue) -> None:
        if queue.task is not None:
            queue.task.cancel()
        self._failing.discard(queue)
        self._count(-len(queue))
        for _, barrier in queue.barriers:
            if not barrier.done():
                barrier.set_result(None)

    async def _run(self, queue: Queue) -> None:
        try:
            while queue.waiting:
                flight, queue.waiting = queue.waiting[:FLIGHT_RECORDS], queue.waiting[FLIGHT_RECORDS:]
                sent = 0
                while sent < len(flight):
                    sent += await self._deliver(queue, flight, sent)
        except LOST as error:
            self.on_lost(queue.owner, error)
        except Exception as error:  # noqa: BLE001 -- records must not be lost with their task
            self._on_fatal(error)
        finally:
            queue.task = None

    async def _deliver(self, queue: Queue, flight: Sequence[Record], first: int) -> int:
        """Send the records from `first` on that fit a batch until the broker has them; return how many.

        Raises what `LOST` names.
        """
        pause, limit = FIRST_PAUSE_S, len(flight) - first
        while True:
            producer = await self._producer(queue)
            batch, count = self._fill(producer, flight, first, 1 if queue.one_by_one else limit)
            sequence = producer.sequence(queue.topic, queue.partition)
            try:
                await self._acknowledged(queue, producer, batch, count)
            except LOST:
                raise
            except (KafkaError, OSError) as error:
                if producer.ended:
                    raise LOST[0] from error
                # If the broker has the batch after all, it knows it by its sequence numbers: the next one is the same.
                producer.rewind(queue.topic, queue.partition, sequence)
                limit = count
                self._fail(queue, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
            else:
                return count

    async def _producer(self, queue: Queue) -> TaskProducer:
        """Return the queue's producer once the task has one and may write."""
        while not self._may_write() or (producer := self._producers.of(queue.owner)) is None:  # noqa: ASYNC110 -- only time decides it: there is no event to wait for
            await asyncio.sleep(FIRST_PAUSE_S)
        return producer

    def _fill(self, producer: TaskProducer, flight: Sequence[Record], first: int, limit: int) -> tuple[Any, int]:
        """Make a batch of at most `limit` records from `first` on; return it and their number."""
        batch, count, now_ms = producer.client.create_batch(), 0, self._now_ms()
        while count < limit:
            record = flight[first + count]
            at_ms = now_ms if record.timestamp_ms is None else min(record.timestamp_ms, now_ms)
            if batch.append(key=record.key, value=record.value, timestamp=at_ms, headers=list(record.headers)) is None:
                break
            count += 1
        return batch, count

    async def _acknowledged(self, queue: Queue, producer: TaskProducer, batch: Any, count: int) -> None:
        """Send a batch and wait for its acknowledgement. Raises `KafkaError`."""
        silent = asyncio.get_running_loop().call_later(SILENT_S, self._fail, queue, TimeoutError("no answer"))
        try:
            answer = await (await producer.client.send_batch(batch, queue.topic, partition=queue.partition))
        finally:
            silent.cancel()
        self._failing.discard(queue)
        # The broker gives no offset of a batch that it has had for long.
        queue.acknowledge(count, answer.offset + count if answer.offset >= 0 else None)
        self._count(-count)
        self._telemetry.flush_records.inc(count)
        if answer.timestamp_type == _LOG_APPEND_TIME:
            self._on_append_ms(answer.timestamp)

    def _fail(self, queue: Queue, error: BaseException) -> None:
        self._telemetry.send_errors.inc()
        self.refused_at = time.monotonic()
        if isinstance(error, MessageSizeTooLargeError):
            queue.one_by_one = True
        if queue not in self._failing:
            log.error("send_failed", topic=queue.topic, partition=queue.partition, error=str(error), will="retry")
        self._failing.add(queue)
