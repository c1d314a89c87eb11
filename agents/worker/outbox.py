"""The outbox: everything a worker writes to Kafka, in order, until the broker has it.

Owns one line of records a topic partition. A line sends what has gathered as one flight and waits for its
acknowledgement before the next, so that order holds and batches grow by themselves under load. A flight that fails is
sent again with a pause until it is taken: nothing is dropped, `failing` says so, and commits wait (`drained`). Used
by `agents.worker.processor` (outputs, dead letters, forwards) and `agents.worker.checkpoint` (changelog).

Few records go by plain sends, many as prepared batches: one awaited send costs about 15 microseconds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from agents.worker.metrics import Telemetry
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


class Line:
    """What waits for one topic partition."""

    def __init__(self, topic: str, partition: int) -> None:
        """Nothing waits."""
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
        """Count a flight as taken by the broker, up to before offset `end`; wake those who waited for it."""
        self.acknowledged += count
        if end is not None:
            self.ends.append((self.acknowledged, end))
        while self.barriers and self.barriers[0][0] <= self.acknowledged:
            future = self.barriers.pop(0)[1]
            if not future.done():
                future.set_result(None)


class Outbox:
    """All lines of a worker."""

    def __init__(
        self,
        producer: Callable[[], AIOKafkaProducer],
        telemetry: Telemetry,
        *,
        on_append_ms: Callable[[int], None],
        may_write: Callable[[], bool],
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        """`producer` gives the started producer; `on_append_ms` is told the broker's time where a topic shows it.

        Nothing is sent while `may_write` says no; `on_fatal` is told of errors that no second try can mend.
        """
        self._may_write = may_write
        self._on_fatal = on_fatal
        self._producer = producer
        self._telemetry = telemetry
        self._on_append_ms = on_append_ms
        self._lines: dict[tuple[str, int], Line] = {}
        self._failing: set[Line] = set()
        self._unacknowledged = 0
        self._room = asyncio.Event()
        self._room.set()

    @property
    def failing(self) -> bool:
        """Whether the broker refuses something at the moment."""
        return bool(self._failing)

    def __len__(self) -> int:
        """Records not acknowledged yet, of all lines."""
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

    def put(self, topic: str, partition: int, records: Iterable[Record]) -> None:
        """Add records to a line; they are on their way when this returns."""
        line = self._lines.get((topic, partition))
        if line is None:
            line = self._lines[topic, partition] = Line(topic, partition)
        before = len(line.waiting)
        line.waiting.extend(records)
        line.put += len(line.waiting) - before
        self._count(len(line.waiting) - before)
        if line.waiting and line.task is None:
            line.task = asyncio.get_running_loop().create_task(self._run(line))

    def count(self, topic: str, partition: int) -> int:
        """How many records were put in a line so far."""
        line = self._lines.get((topic, partition))
        return 0 if line is None else line.put

    def end(self, topic: str, partition: int, count: int) -> int | None:
        """Offset after the first `count` records of a line, all of them acknowledged; None where none is yet.

        `count` never goes back from call to call.
        """
        line = self._lines.get((topic, partition))
        if line is None:
            return None
        while line.ends and line.ends[0][0] < count:
            line.ends.popleft()
        if not line.ends:
            return None
        # The flight in which that record was: later ones may have been written twice, after an answer was lost.
        acknowledged, end = line.ends[0]
        return end - (acknowledged - count)

    async def drained(self, topics: Callable[[str], bool]) -> None:
        """Wait until every record of these topics that was put before this call is acknowledged."""
        barriers = []
        for (topic, _), line in self._lines.items():
            if topics(topic) and len(line):
                barrier = asyncio.get_running_loop().create_future()
                line.barriers.append((line.put, barrier))
                barriers.append(barrier)
        if barriers:
            await asyncio.gather(*barriers)

    def drop(self, partition: int) -> None:
        """Forget what waits for a partition number that belongs to another worker now: that worker does it again."""
        for place in [place for place in self._lines if place[1] == partition]:
            self._drop(self._lines.pop(place))

    def _drop(self, line: Line) -> None:
        if line.task is not None:
            line.task.cancel()
        self._failing.discard(line)
        self._count(-len(line))
        for _, barrier in line.barriers:
            if not barrier.done():
                barrier.set_result(None)

    async def _run(self, line: Line) -> None:
        pause = FIRST_PAUSE_S
        try:
            while line.waiting:
                flight, line.waiting = line.waiting[:FLIGHT_RECORDS], line.waiting[FLIGHT_RECORDS:]
                while True:
                    while not self._may_write():  # noqa: ASYNC110 -- time alone decides it: there is no event to wait for
                        await asyncio.sleep(FIRST_PAUSE_S)
                    try:
                        end = await self._fly(line, flight)
                    except (KafkaError, OSError) as error:
                        self._fail(line, error)
                        await asyncio.sleep(pause)
                        pause = min(pause * 2, LONGEST_PAUSE_S)
                    except Exception as error:  # noqa: BLE001 -- a flight must not be lost with its task
                        self._on_fatal(error)
                        return
                    else:
                        self._failing.discard(line)
                        pause = FIRST_PAUSE_S
                        line.acknowledge(len(flight), end)
                        self._count(-len(flight))
                        break
        finally:
            line.task = None

    def _fail(self, line: Line, error: BaseException) -> None:
        self._telemetry.send_errors.inc()
        if isinstance(error, MessageSizeTooLargeError):
            line.one_by_one = True
        if line not in self._failing:
            log.error("send_failed", topic=line.topic, partition=line.partition, error=str(error), will="retry")
        self._failing.add(line)

    async def _fly(self, line: Line, flight: list[Record]) -> int | None:
        """Send a flight; the offset after its last record, where the broker says it."""
        producer = self._producer()
        plain = len(flight) <= FEW or line.one_by_one
        futures: list[asyncio.Future[Any]] = []
        last = 1
        """Records in what the last of these is of."""
        if plain:
            for record in flight:
                futures.append(await self._send(producer, line, record))
                if line.one_by_one:
                    await futures[-1]  # the topic takes small batches only: one record at a time
        else:
            at = 0
            while at < len(flight):
                batch = producer.create_batch()
                first = at
                while at < len(flight):
                    record = flight[at]
                    head = list(record.headers)
                    at_ms = record.timestamp_ms
                    if batch.append(key=record.key, value=record.value, timestamp=at_ms, headers=head) is None:
                        break
                    at += 1
                if at == first:  # larger than a batch: it travels alone
                    record = flight[at]
                    futures.append(await self._send(producer, line, record))
                    at, last = at + 1, 1
                    continue
                futures.append(await producer.send_batch(batch, line.topic, partition=line.partition))
                last = at - first
        results = await asyncio.gather(*futures)
        if results and results[-1] is not None and results[-1].timestamp_type == _LOG_APPEND_TIME:
            self._on_append_ms(results[-1].timestamp)
        self._telemetry.flush_records.inc(len(flight))
        return results[-1].offset + last if results and results[-1] is not None else None

    @staticmethod
    async def _send(producer: AIOKafkaProducer, line: Line, record: Record) -> asyncio.Future[Any]:
        """Send one record by itself."""
        sent: asyncio.Future[Any] = await producer.send(
            line.topic,
            value=record.value,
            key=record.key,
            partition=line.partition,
            timestamp_ms=record.timestamp_ms,
            headers=list(record.headers),
        )
        return sent
