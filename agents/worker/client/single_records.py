"""The half of the consumer that reads topics of agents that are not ours (decision 64): they get single records.

A fetch can get lost, come twice or come out of turn while partitions move, and while the flow stops and goes on. As of
our topics, records are handed out in turn, and what does not come is fetched again. What Faust saw acknowledged is
committed. Owns these topics and nothing of ours. Extended by `agents.worker.client.consumer`.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from faust.exceptions import ProducerSendError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from faust.types.tuples import Message

from agents.process.errors import error_text
from agents.worker.client.thread import LeasedThread, Span

log = structlog.get_logger()

OTHERS_S = 5.0
"""How long a commit for agents that are not ours may take (ours wait for it), and their records may be on the way."""


class SingleRecords(driver.Consumer):
    """A consumer of Faust that hands out single records of others' topics."""

    def __init__(self, *positional: Any, **named: Any) -> None:
        """As Faust's."""
        super().__init__(*positional, **named)
        self._due_of_others: dict[TP, int] = {}
        """Offsets of others' topics that were not committed yet."""
        self._next_of_others: dict[TP, int] = {}
        """Up to which offset records of others' topics were handed out since the last seek."""
        self._waits_of_others: dict[TP, tuple[int, float]] = {}
        """The offset that was next of others' topics, and since when it is."""

    @abstractmethod
    def _is_ours(self, topic: str) -> bool:
        """Whether a topic is one of ours."""

    @abstractmethod
    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the first offsets that the broker still has."""

    def forget_others(self) -> None:
        """Start anew: partitions move."""
        self._due_of_others.clear()
        self._next_of_others.clear()

    async def single_messages(
        self, tp: TP, records: Sequence[Any], span: Span, active: set[TP] | None
    ) -> AsyncIterator[Message]:
        """One message a record, in turn, until the flow stops or partitions move; what is left is fetched again.

        Nothing is handed out before a rebalance is over, as of sources (`BatchConsumer.getmany`).
        """
        generation = self.app.consumer_generation_id
        begin = self._next(tp)
        if span.start > begin and span.start > (begin := max(begin, await self.earliest(tp))):
            await self.rewind(tp, begin)
            return
        for record in records:
            if record.offset < begin:
                continue
            is_settled = not self.app.rebalancing and self.app.consumer_generation_id == generation
            if not (self.flow_active and is_settled and self.wants(tp, active)):
                await self.leased().give_back(tp, span._replace(start=record.offset))
                return
            if begin < record.offset:  # compacted, or a marker of a transaction
                await self._add_gap(tp, begin, record.offset - 1)
            begin = self._next_of_others[tp] = record.offset + 1
            self._read_offset[tp] = None  # else Faust drops what it takes for read after a rebalance
            yield self._to_message(tp, record)
        if begin < span.end:
            await self._add_gap(tp, begin, span.end - 1)
            self._next_of_others[tp] = span.end

    def _next(self, tp: TP) -> int:
        """The offset to hand out next of a topic that is not ours."""
        return self._next_of_others.get(tp, self._committed_offset.get(tp) or 0)

    async def ask_again(self) -> None:
        """Fetch records of others' topics again that do not come: a fetch was lost while partitions moved."""
        for tp in [each for each in self.assignment() if not self._is_ours(each.topic)]:
            begin, now = self._next(tp), time.monotonic()
            before, since = self._waits_of_others.get(tp, (-1, now))
            if before != begin:
                self._waits_of_others[tp] = begin, now
            elif now - since > OTHERS_S and begin < self._end(tp):
                begin = max(begin, await self.earliest(tp))
                log.info(
                    "fetch_again", topic=tp.topic, partition=tp.partition, first=begin, waited_s=round(now - since)
                )
                self._waits_of_others[tp] = begin, now
                await self.rewind(tp, begin)

    def _end(self, tp: TP) -> int:
        """Up to where a partition can be read; 0 while it is not known."""
        try:
            return self.highwater(tp) or 0
        except Exception:  # noqa: BLE001 -- aiokafka raises its own kinds while a partition is being taken away
            return 0

    async def perform_seek(self) -> None:
        """Fetch from the committed offsets on, also what was handed out of topics that are not ours."""
        self._next_of_others.clear()
        await super().perform_seek()

    def wants(self, tp: TP, active: set[TP] | None) -> bool:
        """Whether records of a partition are handed out: not while Faust has stopped it."""
        return not active or tp in active or tp in self._buffered_partitions

    def leased(self) -> LeasedThread:
        """The consumer's thread."""
        thread = self._thread
        assert isinstance(thread, LeasedThread)
        return thread

    async def rewind(self, tp: TP, offset: int) -> None:
        """Fetch from this offset on, if the partition is ours."""
        await self.leased().rewind(tp, offset)

    async def earliest(self, tp: TP) -> int:
        """The first offset that the broker still has."""
        return int((await self.earliest_offsets(tp))[tp])

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        """One record as aiokafka's C code made it, of a topic that is not ours."""
        key, value = record.key, record.value
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            record.offset,
            (record.timestamp or 0) / 1000.0,
            record.timestamp_type,
            list(record.headers),
            key,
            value,
            record.checksum,
            -1 if key is None else len(key),
            -1 if value is None else len(value),
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def commit_others(self) -> None:
        """Commit what agents that are not ours have acknowledged; a failure is for the next commit."""
        due = self._due_of_others
        due |= self._filter_committable_offsets([tp for tp in self._acked if not self._is_ours(tp.topic)])
        if not due:
            return
        self._committed_offset.update(due)  # Faust forgets what it was asked for, and goes on behind it
        try:
            async with asyncio.timeout(OTHERS_S):
                await self._handle_attached(due)
                done = await self._commit_offsets(dict(due))
        except ProducerSendError as error:
            await self.crash(error)
        except (KafkaError, TimeoutError) as error:
            log.warning("offsets_of_other_agents_not_committed", error=error_text(error), will="retry")
        else:
            if done:
                due.clear()
