"""Faust's Kafka consumer with one event a fetch: all records that a fetch brought of one partition.

Topics that are neither a source nor our changelog are read for agents of others on the same app (decision 64): these
get single records, and their offsets are committed when Faust saw them acknowledged.

Owns the subclasses of Faust's consumer and transport, and nothing of what the records mean. The offsets that are
committed are those whose effects are safe (`Handover`), not those that Faust saw acknowledged. Each transport has a
handover and a lease of its own. `agents.worker.client.thread` has the part that runs in the consumer's thread. Made by
`agents.worker.wiring`.

Measured: Faust spends about 0.1 ms on an event; on batches of some thousand records that is nothing, on single
records it is all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import faust
import structlog
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from faust.types.transports import ConsumerCallback
from faust.types.tuples import Message
from mode.services import WaitResults

from agents.kafka.record_index import whole
from agents.worker.client.acknowledged import Acknowledged
from agents.worker.client.look_up import look_up
from agents.worker.client.single_records import SingleRecords
from agents.worker.client.thread import LeasedThread
from agents.worker.commit.lease import Lease
from agents.worker.membership import Membership

log = structlog.get_logger()

IDLE_S = 0.05


class Records(NamedTuple):
    """The value of a batch event: consecutive records of one partition, as a `RecordIndex` or as aiokafka gave them.

    The receiver must check that `start` connects to what was taken before. While partitions move, and while the flow
    stops and goes on, a fetch can get lost, come twice, or come out of turn; only offsets show it.
    """

    tp: TP
    records: Sequence[Any]
    start: int
    """Offset that was asked for: none of the log's records lies between it and the first of these."""
    end: int
    """Offset to ask for next: after the last record, and after markers of transactions behind it."""


class Handover(Protocol):
    """What the consumer asks of the worker."""

    sources: Sequence[str]
    """Topics of events."""
    changelog: str
    """Topic of the changelog. Any topic that is neither is read for an agent that is not ours."""

    def full(self) -> set[TP]:
        """Partitions of which enough records wait: no more are fetched."""

    async def commit(self) -> bool:
        """Make a periodic commit, which may be put off; return whether offsets were committed."""

    async def commit_last(self) -> bool:
        """Commit for the last time before partitions go; return whether offsets were committed."""

    async def leave(self, steps: Coroutine[Any, Any, None]) -> None:
        """Await `steps`, which Faust does before partitions go, until a deadline."""

    def session_lost(self) -> bool:
        """Close every task where the lease is lost."""


class Fence(Protocol):
    """What the consumer asks of those that write."""

    async def prepare(self) -> None:
        """Wait until `take_over` will be quick."""

    async def take_over(self, tasks: Iterable[int]) -> None:
        """Shut out who wrote for these partition tasks before, and let us write for them."""

    async def stop(self) -> None:
        """Write nothing any more."""


class BatchConsumer(SingleRecords):
    """A consumer whose messages hold whole fetches, or single records of topics that are not ours."""

    _epoch = 0

    def __init__(
        self, *positional: Any, handover: Handover, lease: Lease, membership: Membership, fence: Fence, **named: Any
    ) -> None:
        """Make Faust's consumer, whose commits and revocations `handover` does."""
        self._handover = handover
        self.lease = lease
        self._membership = membership
        self._fence = fence
        super().__init__(*positional, **named)
        self._acked = Acknowledged(self._is_ours, list)
        self._acked_index = Acknowledged(self._is_ours, set)

    def _is_ours(self, topic: str) -> bool:
        return topic in self._handover.sources or topic == self._handover.changelog

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return LeasedThread(self, loop=self.loop, beacon=self.beacon, lease=self.lease, membership=self._membership)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Begin a lease: the group counts on us from now on. Then shut out who had the partitions before.

        Tasks whose lease was lost meanwhile do not go on. Once the others are shut out, changelogs and outputs can be
        read to their ends: nothing of another worker is added any more.
        """
        self._handover.session_lost()
        self.lease.begin(time.monotonic())
        mine = assigned - self.app.assignor.assigned_standbys()  # a standby shuts nobody out
        await self._fence.take_over({tp.partition for tp in mine if tp.topic == self._handover.changelog})
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let Faust stop the flow, commit and flush, until the deadline of a revocation."""
        await self._handover.leave(super().on_partitions_revoked(revoked))
        self.forget_others()

    async def on_start(self) -> None:
        """Let those that write prepare before the worker joins the group."""
        await self._fence.prepare()
        await super().on_start()

    async def on_stop(self) -> None:
        """Make the last commit, and write nothing after it."""
        await super().on_stop()
        await self._fence.stop()

    async def wait_empty(self) -> None:
        """Make the last commit, at a revocation and at the end of the worker, also when another one is under way.

        Faust would wait for the batches that the agent has begun, and for its own periodic commit. What an agent has
        begun either is part of the last commit, or is fetched again.
        """
        await self._handover.leave(self._last_commit())

    async def _last_commit(self) -> None:
        await self._handover.commit_last()
        await self.commit_others()

    def stop_flow(self) -> None:
        """Stop handing out records, and invalidate records of changelogs that are being fetched."""
        super().stop_flow()
        self._epoch += 1

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:  # noqa: ASYNC109 -- Faust's signature
        """Fetch, and yield one message a partition whose value is a `Records`; of others' topics, each record.

        What comes when it is not wanted is fetched again. Records of sources are not wanted before a rebalance is over:
        Faust resumes partitions first, and then empties the queues of its agents. The merge would go on without a
        source whose records are lost there, after `VITALS_MERGE_WAIT_S`.
        """
        if self.flow_active and not self._get_active_partitions():
            await asyncio.sleep(IDLE_S)  # where Faust waits a second, also when partitions become active meanwhile
            return
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
        spans = self.leased().spans
        for fetched_tp in [tp for tp, span in spans.items() if span.empty or tp in records]:
            tp, span = TP(*fetched_tp), spans.pop(fetched_tp)
            unpacked = whole(records.get(fetched_tp, []))
            if not self._is_ours(tp.topic):
                async for message in self.single_messages(tp, unpacked, span, active):
                    yield tp, message
                continue
            if tp.topic in self._handover.sources:
                is_unwanted = self.app.rebalancing or not self.wants(tp, active)
            else:
                is_unwanted = self._epoch != epoch or self.app.consumer_generation_id != generation
            if is_unwanted:
                await self.leased().give_back(tp, span)
                continue
            # Faust drops records that it has read before, and counts as read what it dropped in a rebalance.
            self._read_offset[tp] = None
            yield tp, self._bundle(Records(tp, unpacked, span.start, span.end))

    async def sleep(self, n: Any) -> None:
        """Sleep; for no time at all without the task that mode makes, since Faust does so before every fetch."""
        await (super().sleep(n) if n else asyncio.sleep(0))

    async def wait_first(self, *coros: Any, timeout: Any = None) -> WaitResults:  # noqa: ASYNC109 -- mode's signature
        """Wait for the first that ends; where that is the first of all, at once, without a task for each of them.

        Faust waits so until a message is in the queue of an agent, which nearly always has room.
        """
        if not asyncio.iscoroutine(coros[0]):
            return await super().wait_first(*coros, timeout=timeout)
        first = asyncio.ensure_future(coros[0])
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            first.cancel()
            raise
        if not first.done() or self.should_stop:
            return await super().wait_first(first, *coros[1:], timeout=timeout)
        for other in coros[1:]:
            if asyncio.iscoroutine(other):
                other.close()
        return WaitResults([coros[0]], [first.result()], False)  # noqa: FBT003 -- mode's

    async def rejoin(self) -> None:
        """Ask the group for a new assignment."""
        await self.leased().rejoin()

    # -- look-ups: tried again until the broker answers, or until what asks for them is cancelled --------------------

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the first offsets that the broker still has."""
        return await look_up("first offsets", self._thread.earliest_offsets, *partitions)

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the offsets after the last records."""
        return await look_up("end offsets", self._thread.highwaters, *partitions)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Fetch from the committed offsets on."""
        return await look_up("committed offsets", self._thread.seek_to_committed)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Fetch from these offsets on, once the client has taken them over."""
        await look_up("positions", self._thread.seek_wait, partitions)

    def reconnect(self) -> None:
        """Close all connections to the broker and join the group again; does nothing before the consumer starts."""
        self.leased().reconnect()

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
        wanted = (active_partitions or set()) - self._handover.full()
        if not wanted:
            await asyncio.sleep(IDLE_S)  # enough records wait of every partition: let the engine work
            return {}
        fetched: Mapping[TP, list[Any]] = await super()._getmany(wanted, timeout)
        return fetched

    def ack(self, message: Message) -> bool:
        """Mark a batch as taken by the agent; its offsets are committed later, when its effects are safe.

        A record of a topic that is not ours is acknowledged as Faust does it.
        """
        if not self._is_ours(message.topic):
            return bool(super().ack(message))
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        if self._waiting_for_ack is not None and not self._waiting_for_ack.done():
            self._waiting_for_ack.set_result(None)
        return True

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing for our topics: offsets in a batch are no gaps, and Faust's tree of them would eat the loop."""
        if not self._is_ours(tp.topic):
            await super()._add_gap(tp, offset_from, offset_to)

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: FBT001, FBT002 -- Faust's signature
        """Make a periodic commit through the barrier; Faust's timer calls it."""
        del topics, start_new_transaction
        done = await self._handover.commit()
        await self.commit_others()
        await self.ask_again()
        return done

    async def commit_offsets(self, offsets: Mapping[TP, int]) -> bool:
        """Commit positions (next offset to read) of partitions that are still ours."""
        mine = {tp: offset for tp, offset in offsets.items() if tp in self.assignment()}
        if not mine:
            return False
        done = bool(await self._commit(mine))
        if done:
            self._committed_offset.update(mine)
        return done


class BatchTransport(driver.Transport):
    """Faust's aiokafka transport with the batch consumer."""

    Consumer = BatchConsumer

    def __init__(
        self, app: faust.App, *, handover: Handover, lease: Lease, membership: Membership, fence: Fence
    ) -> None:
        """Make the transport of one app."""
        super().__init__(app.conf.broker_consumer, app)
        self._ours: dict[str, Any] = {
            "handover": handover, "lease": lease, "membership": membership, "fence": fence
        }  # fmt: skip

    def create_consumer(self, callback: ConsumerCallback, **named: Any) -> BatchConsumer:
        """Make the app's consumer."""
        return BatchConsumer(self, callback=callback, loop=self.loop, **self._ours, **named)
