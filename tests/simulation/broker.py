"""A simulated broker: logs of topic partitions, producers with epochs, a consumer group.

Owns what Kafka answers, as far as a worker depends on it: offsets, idempotent and fenced writes, generations of a
group, commits of offsets that only members may make. Knows no network: a request is a call that takes effect at once
(`tests.simulation.network` delays it). Must not use the product's code.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tests.faults.topic_log import Headers, Stored

if TYPE_CHECKING:
    from collections.abc import Sequence

TopicPartition = tuple[str, int]


class FencedError(Exception):
    """A producer wrote with an older epoch than the log has seen."""


class SequenceError(Exception):
    """A batch came without the one before it."""


class Unsent(NamedTuple):
    """A record on its way to the broker."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


class Writer(NamedTuple):
    """Who wrote a batch: the producer, its epoch, and the number of the batch's first record within the partition."""

    producer: str
    epoch: int
    sequence: int


class Appended(NamedTuple):
    """The last batch of a producer in a log."""

    sequence: int
    records: int
    base: int


@dataclass
class Log:
    """One topic partition. Markers of transactions are None: they have an offset, and no reader gets them."""

    records: list[Stored | None] = field(default_factory=list)
    epochs: dict[str, int] = field(default_factory=dict)
    """The newest epoch of each producer."""
    last: dict[str, Appended] = field(default_factory=dict)
    """The last batch of each producer."""

    @property
    def end(self) -> int:
        """The offset of the next record."""
        return len(self.records)


class Broker:
    """All logs, producers' epochs, and one group."""

    def __init__(self, partitions: int, *, session_s: float, rebalance_s: float) -> None:
        """Begin with empty topics of `partitions` partitions each."""
        self.partitions = partitions
        self.logs: defaultdict[TopicPartition, Log] = defaultdict(Log)
        self.group = Group(partitions, session_s=session_s, rebalance_s=rebalance_s)
        self._epochs: dict[str, int] = {}
        self._open: dict[str, Sequence[TopicPartition]] = {}
        """The partitions of each transaction that has begun."""

    def append(self, tp: TopicPartition, records: Sequence[Unsent], writer: Writer | None = None) -> int:
        """Append a batch; return its base offset. A repeated batch is not written again.

        Raises `FencedError`, `SequenceError`.
        """
        log = self.logs[tp]
        if writer is not None:
            if writer.epoch < log.epochs.get(writer.producer, -1):
                raise FencedError(writer.producer)
            if writer.epoch > log.epochs.get(writer.producer, -1):
                log.last.pop(writer.producer, None)
            last = log.last.get(writer.producer)
            if last is not None and (writer.sequence, len(records)) == (last.sequence, last.records):
                return last.base
            if writer.sequence != (0 if last is None else last.sequence + last.records):
                raise SequenceError(writer)
            log.epochs[writer.producer] = writer.epoch
            log.last[writer.producer] = Appended(writer.sequence, len(records), log.end)
        base = log.end
        log.records += [
            Stored(*tp, base + index, record.timestamp_ms, record.key, record.value, record.headers)
            for index, record in enumerate(records)
        ]
        return base

    # -- transactions -------------------------------------------------------------------------------------------------

    def next_epoch(self, producer: str) -> int:
        """Give a producer its next epoch; a transaction that it has begun is aborted."""
        self.abort(producer, self._epochs.get(producer, -1))
        self._epochs[producer] = self._epochs.get(producer, -1) + 1
        return self._epochs[producer]

    def begin(self, producer: str, epoch: int, partitions: Sequence[TopicPartition]) -> None:
        """Begin a transaction. Raises `FencedError`."""
        self._require_epoch(producer, epoch)
        self._open[producer] = partitions

    def abort(self, producer: str, epoch: int) -> None:
        """Abort a transaction, if there is one: its partitions learn the producer's epoch. Raises `FencedError`."""
        if producer not in self._open:
            return
        self._require_epoch(producer, epoch)
        for tp in self._open.pop(producer):
            self.mark(tp, producer, epoch)

    def mark(self, tp: TopicPartition, producer: str, epoch: int) -> None:
        """Write the marker of a transaction's end."""
        log = self.logs[tp]
        log.epochs[producer] = epoch
        log.last.pop(producer, None)
        log.records.append(None)

    def _require_epoch(self, producer: str, epoch: int) -> None:
        if epoch < self._epochs.get(producer, -1):
            raise FencedError(producer)

    # -- reading ------------------------------------------------------------------------------------------------------

    def fetch(self, tp: TopicPartition, start: int, limit: int) -> tuple[list[Stored], int, int]:
        """Return records from an offset on, the offset after them, and where the log ends."""
        log = self.logs[tp]
        end = min(start + limit, log.end)
        return [record for record in log.records[start:end] if record is not None], end, log.end

    def read(self, topic: str) -> list[Stored]:
        """Return all records of a topic, by partition and offset."""
        return [
            record
            for partition in range(self.partitions)
            for record in self.logs[topic, partition].records
            if record is not None
        ]


@dataclass
class Member:
    """One member of the group."""

    seen_at: float
    joining: asyncio.Future[tuple[int, list[int]]] | None = None


class Group:
    """A consumer group with Kafka's eager protocol: everybody stops, joins again, and gets partitions."""

    def __init__(self, partitions: int, *, session_s: float, rebalance_s: float) -> None:
        """Begin without members."""
        self._partitions = partitions
        self._session_s = session_s
        self._rebalance_s = rebalance_s
        self.members: dict[str, Member] = {}
        self.generation = 0
        self.offsets: dict[TopicPartition, int] = {}
        self._rebalance_until: float | None = None

    def join(self, name: str, now: float) -> asyncio.Future[tuple[int, list[int]]]:
        """Join; the future gives the generation and the partition numbers when all members have joined."""
        future: asyncio.Future[tuple[int, list[int]]] = asyncio.get_running_loop().create_future()
        self.members[name] = Member(now, future)
        if self._rebalance_until is None:
            self._rebalance_until = now + self._rebalance_s
        return future

    def leave(self, name: str, now: float) -> None:
        """Take a member out."""
        if self.members.pop(name, None) is not None and self.members:
            self._rebalance_until = self._rebalance_until or now + self._rebalance_s

    def heartbeat(self, name: str, generation: int, now: float) -> str:
        """Return `ok`, `rebalance` when the member must join again, or `unknown` when it is no member."""
        member = self.members.get(name)
        if member is None or (generation != self.generation and member.joining is None):
            return "unknown"
        member.seen_at = now
        return "ok" if self._rebalance_until is None else "rebalance"

    def commit(self, name: str, generation: int, offsets: dict[TopicPartition, int]) -> bool:
        """Keep offsets of a member of this generation; return whether they were kept."""
        member = self.members.get(name)
        if member is None or member.joining is not None or generation != self.generation:
            return False
        self.offsets.update(offsets)
        return True

    def turn(self, now: float) -> None:
        """Take out members whose session has ended, and complete a rebalance when it can be."""
        for name, member in list(self.members.items()):
            if member.joining is None and now - member.seen_at > self._session_s:
                self.leave(name, now)
        if self._rebalance_until is None or not self.members:
            return
        waiting = {name: member for name, member in self.members.items() if member.joining is not None}
        if len(waiting) < len(self.members) and now < self._rebalance_until:
            return
        for name in self.members.keys() - waiting.keys():
            del self.members[name]
        if waiting:
            self._complete(waiting, now)

    def _complete(self, waiting: dict[str, Member], now: float) -> None:
        self.generation += 1
        self._rebalance_until = None
        for index, name in enumerate(sorted(waiting)):
            member = waiting[name]
            numbers = list(range(index, self._partitions, len(waiting)))
            future, member.joining, member.seen_at = member.joining, None, now
            if future is not None and not future.done():
                future.set_result((self.generation, numbers))
