"""Faust's Kafka transport, fed by batches: one Faust event is all that one fetch brought of one partition.

Owns the subclassing of Faust's consumer and nothing of what the records mean. Offsets that are committed are those that
`Handover.commit` has secured, not those Faust saw acknowledged. Wired by `agents.bootstrap`.

Measured: Faust spends about 0.1 ms on an event; on batches of some thousand records that is nothing, on single
records it is all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from faust.types.tuples import Message

IDLE_S = 0.05
FETCH_WAIT_MS = 20


class Records(NamedTuple):
    """The value of a batch event: consecutive records of one partition, as aiokafka gave them."""

    tp: TP
    records: list[Any]
    epoch: int
    """Counts interruptions of the flow: records fetched before one will be fetched again, and must not be used."""


class Handover(Protocol):
    """What the consumer asks of the worker."""

    def interrupt(self) -> None:
        """The flow stops: what waits will be fetched again from the committed offsets."""

    def full(self) -> set[TP]:
        """Partitions of which so much waits that no more should be fetched."""

    async def commit(self, *, periodic: bool) -> bool:
        """Secure all progress and commit its offsets; a periodic commit may be put off."""


class BatchConsumer(driver.Consumer):
    """A consumer whose messages hold whole fetches."""

    handover: Handover
    """Set once by `agents.bootstrap` before the app starts."""
    epoch = 0
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
        """Stop handing out records, and make those on their way void."""
        super().stop_flow()
        self.epoch += 1
        self.handover.interrupt()

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:  # noqa: ASYNC109 -- Faust's signature
        """Fetch, and yield one message a partition whose value is a `Records`."""
        # Read before the fetch: what was on its way while the flow stopped is void.
        epoch, generation = self.epoch, self.app.consumer_generation_id
        records, active = await self._wait_next_records(timeout)
        stopping: bool = self.should_stop
        if stopping or not records:
            return
        if not self.flow_active:
            # As the base class does: what was fetched while the flow stopped will be fetched again.
            await self.perform_seek()
            return
        for tp, batch in records.items():
            if self.epoch != epoch or self.app.consumer_generation_id != generation:
                break
            if batch and (not active or tp in active or tp in self._buffered_partitions):
                yield tp, self._bundle(TP(*tp), batch, epoch)

    def _bundle(self, tp: TP, records: list[Any], epoch: int) -> ConsumerMessage:
        last = records[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0 if last.timestamp is not None else 0.0,
            last.timestamp_type,
            [],
            b"",
            Records(tp, records, epoch),  # type: ignore[arg-type]  # Faust hands a value on as it is
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


class WholeBatches(fetcher.PartitionRecords):
    """Records of one fetch, unpacked at once and left as aiokafka's C code made them.

    The base class makes one more Python object of each record, in a generator: a third of all the time a worker spent.
    Used by `FetchResult.getall`, which takes everything.
    """

    next_fetch_offset: int

    def __iter__(self) -> Iterator[Any]:
        """Every record from the wanted offset on."""
        return iter(self._drain())

    def _drain(self) -> list[Any]:
        kept: list[Any] = []
        while self._records.has_next():
            batch = self._records.next_batch()
            if self._check_crcs and not batch.validate_crc():
                msg = f"invalid CRC in {self._tp}"
                raise CorruptRecordException(msg)
            if not batch.is_control_batch:
                records = list(batch)
                if records and records[0].offset < self.next_fetch_offset:
                    records = [record for record in records if record.offset >= self.next_fetch_offset]
                kept += records
            self.next_fetch_offset = batch.next_offset
        return kept


class LeasedThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread; every heartbeat that the group answers renews the lease."""

    async def on_start(self) -> None:
        """Start, unpack fetches whole, and listen in on the heartbeats."""
        fetcher.PartitionRecords = WholeBatches
        await super().on_start()
        consumer: Any = self._ensure_consumer()
        # One request at a time goes to a broker, without the partitions whose records still lie here. Faust lets it
        # wait 1.5 s for others that are idle, and all that time the busy ones are not asked for.
        consumer._fetcher._fetch_max_wait_ms = FETCH_WAIT_MS
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


class BatchTransport(driver.Transport):
    """Faust's aiokafka transport with the batch consumer."""

    Consumer = BatchConsumer
