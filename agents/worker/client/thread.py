"""The thread of a worker's consumer: fetches unpacked whole, heartbeats observed, positions moved.

Owns the subclasses of what Faust and aiokafka run in the consumer's thread.
`tests/unit/agents/worker/client/test_hooks.py` lists the private names that it relies on. Made by
`agents.worker.client.consumer`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import structlog
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException, KafkaError
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.utils.futures import maybe_set_exception, maybe_set_result

from agents.kafka.record_index import RecordIndex
from agents.process.errors import error_text
from agents.worker.client.batch_index import FEWEST_BYTES, RawRecords, batches_of, index_of
from agents.worker.client.connections import Connections
from agents.worker.client.fetch_session import Fetch, in_sessions
from agents.worker.client.gathering import LONGEST_MS, PERIOD_S, BusyTime, next_wait_ms
from agents.worker.client.look_up import look_up
from agents.worker.commit.lease import Lease
from agents.worker.membership import Membership
from schemas.native.library import load
from stream.recovery.continuity import COMMIT_MARK

log = structlog.get_logger()

LOOK_UP_S = 20.0
"""How long a question to the broker may take before it is asked again."""
FETCH_BYTES = 64 * 1024
"""What a fetch asks for while the worker is busy."""


class Span(NamedTuple):
    """Offsets that a fetch went through: from `start` up to before `end`; `empty` when no record was among them."""

    start: int
    end: int
    empty: bool


class _ThisThread(threading.local):
    """What the consumer that runs in the current thread has: spans, and the library if it takes indexes of records."""

    def __init__(self) -> None:
        self.spans: dict[Any, Span] = {}
        self.library: Any | None = None


_this_thread = _ThisThread()


class WholeBatches(fetcher.PartitionRecords):
    """Records of one fetch, unpacked at once and left as aiokafka's C code made them; none of aborted transactions.

    The base class makes one more Python object of each record, in a generator: a third of all the time a worker spent.
    Used by `FetchResult.getall`, which takes everything. aiokafka looks this class up in its module, so all consumers
    of a process use it; it has no state but the spans of the consumer in whose thread it runs.
    """

    next_fetch_offset: int
    _aborted_transactions: list[Any]
    _aborted_producers: set[int]

    def __iter__(self) -> Iterator[Any]:
        """Every record from the wanted offset on; in a worker's thread, where there are many, one index of them all."""
        start, spans = self.next_fetch_offset, _this_thread.spans
        self._records_iterator = None  # it refers to this object: the bytes of a fetch would wait for the collector
        index = self._index()
        unpacked = self._drain() if index is None else index
        before = spans.get(self._tp)
        if before is not None and before.empty and before.end == start:
            start = before.start
        spans[self._tp] = Span(start, self.next_fetch_offset, not unpacked)
        return iter([unpacked] if index else unpacked)

    def _index(self) -> RecordIndex | None:
        """All records, without an object for each; None, and nothing has changed, where that is for `_drain`."""
        library, records = _this_thread.library, self._records
        if library is None or not isinstance(records, RawRecords) or len(records.raw) < FEWEST_BYTES:
            return None
        raw, before = records.raw, (list(self._aborted_transactions), set(self._aborted_producers))

        def is_aborted(start: int, end: int) -> bool:
            return self._aborted(DefaultRecordBatch(raw[start:end]))

        with contextlib.suppress(Exception):  # a damaged marker of a transaction raises many kinds, and will again
            batches = batches_of(raw, self.next_fetch_offset, is_aborted=is_aborted, check_crcs=self._check_crcs)
            if batches is not None and (index := index_of(library, raw, batches)) is not None:
                self.next_fetch_offset = batches.next_offset
                return index
        self._aborted_transactions, self._aborted_producers = before
        return None

    def _drain(self) -> list[Any]:
        unpacked: list[Any] = []
        while self._records.has_next():
            batch = self._records.next_batch()
            if self._check_crcs and not batch.validate_crc():
                msg = f"invalid CRC in {self._tp}"
                raise CorruptRecordException(msg)
            if not self._aborted(batch) and not batch.is_control_batch:
                records = list(batch)
                if records and records[0].offset < self.next_fetch_offset:
                    records = [record for record in records if record.offset >= self.next_fetch_offset]
                unpacked += records
            self.next_fetch_offset = batch.next_offset
        return unpacked

    def _aborted(self, batch: Any) -> bool:
        """Whether a batch belongs to an aborted transaction. As the base class: asked once for each, in order.

        The broker gives with each fetch the offsets where aborted transactions begin; markers in the log end them.
        """
        if not batch.is_transactional:
            return False
        self._consume_aborted_up_to(batch.base_offset)
        if batch.is_control_batch and self._contains_abort_marker(batch):
            self._aborted_producers.discard(batch.producer_id)
        return batch.producer_id in self._aborted_producers


def handing_out_first(fetches: Any, fetch: Fetch) -> Fetch:
    """`fetch`, after which whoever waits for records gets them before aiokafka looks for what to fetch next.

    Else it looks twice: first in vain, since what has come was not taken yet.
    """

    async def fetch_and_hand_out(assignment: Any, node_id: int, request: Any) -> bool:
        if has_records := await fetch(assignment, node_id, request):
            for waiter in list(fetches._fetch_waiters):
                fetches._notify(waiter)
        return has_records

    return fetch_and_hand_out


class LeasedThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread; every heartbeat that the group answers renews the lease."""

    def __init__(self, *positional: Any, lease: Lease, membership: Membership, **named: Any) -> None:
        """Make the thread of one consumer."""
        self._lease = lease
        self._membership = membership
        self.spans: dict[Any, Span] = {}
        """Last span of each partition that the consumer has not taken yet."""
        self._connections: Connections | None = None
        self._fetching: set[asyncio.Task[None]] = set()
        self._gathering: asyncio.Future[None]
        """Ends with the thread."""
        super().__init__(*positional, **named)

    async def on_start(self) -> None:
        """Start in the thread, unpack fetches whole, and observe the heartbeats."""
        _this_thread.spans = self.spans
        _this_thread.library = load()
        fetcher.PartitionRecords, fetcher.MemoryRecords = WholeBatches, RawRecords
        await look_up("start the consumer", self._start)
        consumer: Any = self._ensure_consumer()
        fetches = consumer._fetcher
        fetches._proc_fetch_request = handing_out_first(fetches, in_sessions(fetches._proc_fetch_request))
        self._gathering = asyncio.ensure_future(self._gather(fetches))
        coordinator = consumer._coordinator
        heartbeat = coordinator._do_heartbeat

        async def observed() -> bool:
            sent = time.monotonic()
            answered = bool(await heartbeat())
            if answered:
                self._lease.renew(sent)
            elif coordinator.generation == OffsetCommitRequest.DEFAULT_GENERATION_ID:
                self._lease.end()  # the group does not know this member any more
            return answered

        coordinator._do_heartbeat = observed
        rejoin = coordinator._do_rejoin_group

        async def checked(subscription: Any) -> bool:
            if not coordinator.member_id:  # the group does not know us, or no longer
                await self._membership.before_join()
            return bool(await rejoin(subscription))

        coordinator._do_rejoin_group = checked
        join_complete = coordinator._on_join_complete

        async def beating(*assignment: Any) -> None:
            heartbeats = asyncio.ensure_future(self._beat(coordinator))
            try:
                await join_complete(*assignment)
            finally:
                heartbeats.cancel()

        coordinator._on_join_complete = beating
        self._connections = Connections(consumer._client)

    async def _gather(self, fetches: Any) -> None:
        """Have the broker gather records for as long as that helps.

        A broker gets one request at a time, for all partitions whose records are taken. Faust lets it wait for 1.5 s,
        and so would a partition that is wanted again meanwhile.
        """
        busy, wait_ms = BusyTime.of_engine_and_this_thread(), 0.0
        fetches._fetch_max_wait_ms = round(LONGEST_MS)
        while True:
            await asyncio.sleep(PERIOD_S)
            wait_ms = next_wait_ms(wait_ms, busy.share())
            fetches._fetch_max_wait_ms = round(wait_ms or LONGEST_MS)
            fetches._fetch_min_bytes = FETCH_BYTES if wait_ms else 1

    async def getmany(self, active_partitions: Any, timeout: float) -> Mapping[TP, list[Any]]:  # noqa: ASYNC109 -- Faust's signature
        """Return what was fetched of these partitions, or of all.

        Faust hands such a call over through a queue whose worker makes four tasks before it runs.
        """
        fetched: asyncio.Future[Mapping[TP, list[Any]]] = self.parent_loop.create_future()
        self.thread_loop.call_soon_threadsafe(self._begin_fetch, fetched, active_partitions, timeout)
        return await fetched

    def _begin_fetch(self, fetched: asyncio.Future[Any], active_partitions: Any, timeout: float) -> None:
        task = self.thread_loop.create_task(self._fetch_into(fetched, active_partitions, timeout))
        self._fetching.add(task)
        task.add_done_callback(self._fetching.discard)

    async def _fetch_into(self, fetched: asyncio.Future[Any], active_partitions: Any, wait_s: float) -> None:
        try:
            consumer: Any = self._ensure_consumer()
            records = await self._fetch_records(consumer, active_partitions, timeout=wait_s)
        except BaseException as error:  # noqa: BLE001 -- whatever it is, it is raised where the records are waited for
            self.parent_loop.call_soon_threadsafe(maybe_set_exception, fetched, error)
        else:
            self.parent_loop.call_soon_threadsafe(maybe_set_result, fetched, records)

    async def _start(self) -> None:
        """Make the consumer and connect it; one that finds no broker is closed, and the error is raised."""
        try:
            await super().on_start()
        except (KafkaError, OSError):
            await self._ensure_consumer().stop()
            raise

    async def _beat(self, coordinator: Any) -> None:
        """Send heartbeats while an assignment is dealt with, which aiokafka does only afterwards.

        Over a slow connection a takeover asks the broker for longer than a session.
        """
        with contextlib.suppress(KafkaError):  # its own routine meets the same error, and reports it
            while coordinator.generation != OffsetCommitRequest.DEFAULT_GENERATION_ID:
                await asyncio.sleep(coordinator._heartbeat_interval_ms / 1000)
                await coordinator._do_heartbeat()

    def reconnect(self) -> None:
        """Close all connections to the broker and join the group again; does nothing before the consumer starts.

        What waits for an answer on them fails at once: an answer that a broken network has lost would be waited for
        until the request times out, half a minute later.
        """
        if self._connections is not None and not self.thread_loop.is_closed():
            self.thread_loop.call_soon_threadsafe(self._reconnect, self._connections)

    def _reconnect(self, connections: Connections) -> None:
        coordinator: Any = self._ensure_consumer()._coordinator
        try:
            coordinator.check_errors()  # an error that nobody asks about stops it for ever
        except KafkaError as error:
            log.warning("group_error", error=error_text(error), will="retry")
        coordinator.request_rejoin()
        connections.close()

    def _create_worker_consumer(self, transport: Any) -> Any:
        """Make the consumer read committed records only, which Faust does only with its own transactions."""
        consumer: Any = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        return consumer

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Fetch from the committed offsets on, which are asked for in one request; aiokafka makes one a partition."""
        committed: Mapping[TP, int] = await self.call_thread(self._seek_to_committed)
        return committed

    async def _seek_to_committed(self) -> Mapping[TP, int]:
        consumer: Any = self._ensure_consumer()
        partitions = list(consumer.assignment())
        async with asyncio.timeout(LOOK_UP_S):
            offsets = await asyncio.gather(*(consumer.committed(tp) for tp in partitions))
        committed = dict(zip(partitions, offsets, strict=True))
        for tp, offset in committed.items():
            if offset and tp in consumer.assignment():
                consumer.seek(tp, offset)
        return committed

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit offsets and return whether it was done; what is refused or not answered is for the next commit.

        Faust lets the worker end at any error, and waits for ever while the group coordinator is not known.
        """
        consumer: Any = self._ensure_consumer()
        mine = {
            TopicPartition(*tp): OffsetAndMetadata(offset, COMMIT_MARK)
            for tp, offset in offsets.items()
            if tp in consumer.assignment()
        }
        try:
            async with asyncio.timeout(LOOK_UP_S):
                await consumer.commit(mine)
        except (KafkaError, TimeoutError) as error:
            log.warning("offsets_not_committed", error=error_text(error), will="retry")
            return False
        return True

    def highwater(self, tp: TP) -> int:
        """Return the offset up to which can be read: records after the start of an open transaction are no lag yet."""
        stable: int | None = self._ensure_consumer().last_stable_offset(tp)
        # A broker without transactions gives none, or -1.
        return super().highwater(tp) if stable is None or stable < 0 else stable

    async def rewind(self, tp: TP, offset: int) -> None:
        """Fetch from this offset on, if the partition is ours."""
        await self.call_thread(self._seek_if, tp, offset, None)

    async def give_back(self, tp: TP, span: Span) -> None:
        """Fetch a span again, unless the position was changed since."""
        await self.call_thread(self._seek_if, tp, span.start, span.end)

    async def rejoin(self) -> None:
        """Ask the group for a new assignment: partitions are revoked and assigned again."""
        await self.call_thread(self._request_rejoin)

    async def _request_rejoin(self) -> None:
        consumer: Any = self._ensure_consumer()
        consumer._coordinator.request_rejoin()

    async def _seek_if(self, tp: TP, offset: int, position: int | None) -> None:
        consumer: Any = self._ensure_consumer()
        if tp in consumer.assignment() and (position is None or await consumer.position(tp) == position):
            consumer.seek(tp, offset)
