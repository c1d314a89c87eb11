"""Faust's Kafka transport, fed by batches: one Faust event is all that one fetch brought of one partition.

Owns the subclassing of Faust's consumer and nothing of what the records mean. Offsets that are committed are those that
`Handover.commit` has secured, not those Faust saw acknowledged. Wired by `agents.worker.wiring`.

Measured: Faust spends about 0.1 ms on an event; on batches of some thousand records that is nothing, on single
records it is all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from faust.types.tuples import Message

IDLE_S = 0.05
FETCH_BYTES = 64 * 1024
FETCH_WAIT_MS = 25
"""How long the broker gathers what is less than `FETCH_BYTES`, so that each fetch, thread and step has more to do."""


class Records(NamedTuple):
    """The value of a batch event: consecutive records of one partition, as aiokafka gave them.

    Who takes it must check that `start` connects to what was taken before. While the flow stops and goes on, while
    partitions come and go, what is on its way may get lost, come twice, or come out of turn; offsets alone tell.
    """

    tp: TP
    records: list[Any]
    start: int
    """Offset that was asked for: none of the log's records lies between it and the first of these."""
    end: int
    """Offset to ask for next: beyond the last record, and beyond markers of transactions behind it."""


class Handover(Protocol):
    """What the consumer asks of the worker."""

    sources: Sequence[str]
    """Topics of events; any other is a changelog."""

    def full(self) -> set[TP]:
        """Partitions of which so much waits that no more should be fetched."""

    async def commit(self, *, periodic: bool) -> bool:
        """Secure all progress and commit its offsets; a periodic commit may be put off."""


class BatchConsumer(driver.Consumer):
    """A consumer whose messages hold whole fetches."""

    handover: Handover
    """Set once by `agents.worker.wiring` before the app starts."""
    _epoch = 0
    held_until = 0.0
    """Monotonic time until which the group counts on us: the last heartbeat it answered, and a session more."""

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return LeasedThread(self, loop=self.loop, beacon=self.beacon)

    def renew(self, since: float) -> None:
        """The group knew us at `since` (monotonic)."""
        self.held_until = since + self.app.conf.broker_session_timeout

    def holds(self) -> bool:
        """Whether no other worker can have our partitions: one that was frozen or cut off must not write."""
        return time.monotonic() < self.held_until

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Note that the group counts on us from now on."""
        self.renew(time.monotonic())
        await super().on_partitions_assigned(assigned, generation_id)

    def stop_flow(self) -> None:
        """Stop handing out records, and make those of changelogs that are on their way void."""
        super().stop_flow()
        self._epoch += 1

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:  # noqa: ASYNC109 -- Faust's signature
        """Fetch, and yield one message a partition whose value is a `Records`."""
        epoch, generation = self._epoch, self.app.consumer_generation_id
        fetched, active = await self._wait_next_records(timeout)
        records = fetched or {}
        stopping: bool = self.should_stop
        if stopping:
            return
        if records and not self.flow_active:
            # As the base class does: what was fetched while the flow stopped will be fetched again.
            await self.perform_seek()
            return
        spans = self._leased().spans
        for place in [place for place, span in spans.items() if span.empty or place in records]:
            tp, span = TP(*place), spans.pop(place)
            if tp.topic not in self.handover.sources:
                if self._epoch != epoch or self.app.consumer_generation_id != generation:
                    await self._leased().give_back(tp, span)
                    continue
                if span.empty:
                    continue
            elif active and tp not in active and tp not in self._buffered_partitions:
                continue
            # Faust drops what it takes for read already, and it takes for read what it gave up on in a rebalance.
            self._read_offset[tp] = None
            yield tp, self._bundle(Records(tp, records.get(place, []), span.start, span.end))

    def _leased(self) -> LeasedThread:
        thread = self._thread
        assert isinstance(thread, LeasedThread)
        return thread

    async def rewind(self, tp: TP, offset: int) -> None:
        """Fetch from this offset on, if the partition is ours."""
        await self._leased().rewind(tp, offset)

    async def earliest(self, tp: TP) -> int:
        """The first offset that the broker still has."""
        return int((await self._leased().earliest_offsets(tp))[tp])

    def _bundle(self, fetched: Records) -> ConsumerMessage:
        tp = fetched.tp
        stamp, kind = (fetched.records[-1].timestamp, fetched.records[-1].timestamp_type) if fetched.records else (0, 0)
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            fetched.end - 1,
            (stamp or 0) / 1000.0,
            kind,
            [],
            b"",
            fetched,  # type: ignore[arg-type]  # Faust hands a value on as it is
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Mapping[TP, list[Any]]:  # noqa: ASYNC109 -- Faust's signature
        wanted = (active_partitions or set()) - self.handover.full()
        if not wanted:
            await asyncio.sleep(IDLE_S)  # every partition has enough waiting: let the engine work
            return {}
        fetched: Mapping[TP, list[Any]] = await super()._getmany(wanted, timeout)
        return fetched

    def ack(self, message: Message) -> bool:
        """Mark a batch as taken over; its offsets are committed when its effects are safe, not now."""
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        if self._waiting_for_ack is not None and not self._waiting_for_ack.done():
            self._waiting_for_ack.set_result(None)
        return True

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: offsets inside a batch are no gaps, and the base class' tree of them would eat the loop."""

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: FBT001, FBT002 -- Faust's signature
        """Commit through the barrier, whoever asks: the timer, a rebalance, the end."""
        del topics
        # Faust passes False for the commit that ends something: a rebalance, or the worker.
        return await self.handover.commit(periodic=start_new_transaction)

    async def commit_offsets(self, offsets: Mapping[TP, int]) -> bool:
        """Commit positions (next offset to read) of partitions that are still ours."""
        mine = {tp: offset for tp, offset in offsets.items() if tp in self.assignment()}
        if not mine:
            return False
        done = bool(await self._commit(mine))
        if done:
            self._committed_offset.update(mine)
        return done


class Span(NamedTuple):
    """Offsets that a fetch went through: from `start` up to before `end`; `empty` when no record was among them."""

    start: int
    end: int
    empty: bool


class WholeBatches(fetcher.PartitionRecords):
    """Records of one fetch, unpacked at once and left as aiokafka's C code made them; none of aborted transactions.

    The base class makes one more Python object of each record, in a generator: a third of all the time a worker spent.
    Used by `FetchResult.getall`, which takes everything.
    """

    next_fetch_offset: int
    spans: ClassVar[dict[Any, Span]] = {}
    """Last span of each partition that nobody has asked for; set by the thread."""

    def __iter__(self) -> Iterator[Any]:
        """Every record from the wanted offset on."""
        start = self.next_fetch_offset
        kept = self._drain()
        before = self.spans.get(self._tp)
        if before is not None and before.empty and before.end == start:
            start = before.start
        self.spans[self._tp] = Span(start, self.next_fetch_offset, not kept)
        return iter(kept)

    def _drain(self) -> list[Any]:
        kept: list[Any] = []
        while self._records.has_next():
            batch = self._records.next_batch()
            if self._check_crcs and not batch.validate_crc():
                msg = f"invalid CRC in {self._tp}"
                raise CorruptRecordException(msg)
            if not self._aborted(batch) and not batch.is_control_batch:
                records = list(batch)
                if records and records[0].offset < self.next_fetch_offset:
                    records = [record for record in records if record.offset >= self.next_fetch_offset]
                kept += records
            self.next_fetch_offset = batch.next_offset
        return kept

    def _aborted(self, batch: Any) -> bool:
        """Whether a batch belongs to an aborted transaction. As the base class: asked once for each, in order.

        The broker names with each fetch where aborted transactions begin; their ends are markers in the log.
        """
        if not batch.is_transactional:
            return False
        self._consume_aborted_up_to(batch.base_offset)
        if batch.is_control_batch and self._contains_abort_marker(batch):
            self._aborted_producers.discard(batch.producer_id)
        return batch.producer_id in self._aborted_producers


class LeasedThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread; every heartbeat that the group answers renews the lease."""

    async def on_start(self) -> None:
        """Start, unpack fetches whole, and listen in on the heartbeats."""
        self.spans: dict[Any, Span] = {}
        WholeBatches.spans = self.spans
        fetcher.PartitionRecords = WholeBatches
        await super().on_start()
        consumer: Any = self._ensure_consumer()
        # One request at a time goes to a broker, without the partitions whose records still lie here. Faust lets it
        # wait 1.5 s for others that are idle, and all that time the busy ones are not asked for. But a fetch and a step
        # cost a millisecond each whatever their size: the broker gathers a little, for all partitions at once.
        consumer._fetcher._fetch_max_wait_ms = FETCH_WAIT_MS
        consumer._fetcher._fetch_min_bytes = FETCH_BYTES
        coordinator = consumer._coordinator
        heartbeat = coordinator._do_heartbeat
        parent = self.consumer
        assert isinstance(parent, BatchConsumer)

        async def observed() -> bool:
            sent = time.monotonic()
            answered = bool(await heartbeat())
            if answered:
                parent.renew(sent)
            return answered

        coordinator._do_heartbeat = observed

    def _create_worker_consumer(self, transport: Any) -> Any:
        """Make Faust's consumer read what was committed; Faust itself would only with its own transactions on."""
        consumer: Any = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        return consumer

    def highwater(self, tp: TP) -> int:
        """The offset that can be read up to: what lies behind an open transaction is no lag yet."""
        stable: int | None = self._ensure_consumer().last_stable_offset(tp)
        # A broker without transactions says none, or -1.
        return super().highwater(tp) if stable is None or stable < 0 else stable

    async def rewind(self, tp: TP, offset: int) -> None:
        """Fetch from this offset on, if the partition is ours."""
        await self.call_thread(self._seek_if, tp, offset, None)

    async def give_back(self, tp: TP, span: Span) -> None:
        """Fetch a span again, unless somebody has sought another place since."""
        await self.call_thread(self._seek_if, tp, span.start, span.end)

    async def _seek_if(self, tp: TP, offset: int, position: int | None) -> None:
        consumer: Any = self._ensure_consumer()
        if tp in consumer.assignment() and (position is None or await consumer.position(tp) == position):
            consumer.seek(tp, offset)


class BatchTransport(driver.Transport):
    """Faust's aiokafka transport with the batch consumer."""

    Consumer = BatchConsumer
