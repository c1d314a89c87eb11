"""A deployment in memory: topics, a group and workers, for tests of what is done to saved state.

Owns a `Cluster` without a broker, and workers that restore, apply, publish and commit as real ones do, one partition
after the other. Must not know any expected value. Called by the tests of `agents.state`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from agents.kafka.client import BrokerError
from agents.kafka.partitions import partition_of
from agents.kafka.source_records import read
from agents.settings.settings import Settings
from agents.state.cluster import Written
from agents.worker.identity import writer_of
from agents.worker.tasks.broker_facts import Facts
from agents.worker.tasks.records import forwarded
from agents.worker.tasks.takeover import take_over
from schemas.sources import BUILT_IN
from schemas.topics import ALERTS, CHANGES, ORIGIN_HEADER, POSITION_HEADER, REPARTITION, SCORES, all_topics, changelog
from stream.engine.engine import Engine, Mode
from stream.ingest.batch import Batch
from stream.ingest.merge import Merge
from stream.recovery.changelog import keep_newer
from stream.recovery.continuity import SourceLog
from stream.recovery.namespaces import PUBLISHED_KEYS, open_namespaces
from stream.recovery.published_alerts import position_of
from stream.recovery.reconciler import Reconciler, Tail, start_of
from tests.oracle.engine import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from stream.plan.plan import Plan
    from stream.publishing.effects import Effects
    from tests.faults.topic_log import Message


class MemoryCluster:
    """Topics of one group in memory, as `agents.state.cluster.Cluster` shows them."""

    sources = BUILT_IN

    def __init__(self, group: str, partitions: int, *, identity: str = "first") -> None:
        """Create all topics; `identity` tells the topics of two clusters apart."""
        self.group = group
        self.counts = {topic.name: partitions for topic in all_topics(group, BUILT_IN)}
        self.logs: dict[tuple[str, int], list[SimpleNamespace]] = defaultdict(list)
        self.removed: dict[tuple[str, int], int] = defaultdict(int)
        self.offsets: dict[tuple[str, int], int] = {}
        self.identity = identity
        self.created_again: dict[str, int] = defaultdict(int)
        self.running = False
        self.writes_left: int | None = None

    def add_group(self, group: str) -> None:
        """Create the changelog of another group, and speak for it from now on."""
        self.counts[changelog(group).name] = self.counts[REPARTITION]
        self.group, self.offsets = group, {}

    def partitions(self, topic: str) -> int:
        return self.counts.get(topic, 0)

    def topic_ids(self) -> dict[str, str]:
        return {topic: f"{self.identity}-{topic}-{self.created_again[topic]}" for topic in BUILT_IN.topics}

    def create_again(self, topic: str) -> dict[tuple[str, int], list[SimpleNamespace]]:
        """Delete a topic, and the offsets committed in it, and create it; returns the records that it had."""
        self.created_again[topic] += 1
        before = {}
        for number in range(self.counts[topic]):
            before[topic, number] = self.logs.pop((topic, number), [])
            self.removed.pop((topic, number), None)
            self.offsets.pop((topic, number), None)
        return before

    def begins(self, topic: str) -> dict[int, int]:
        return {number: self.removed[topic, number] for number in range(self.counts[topic])}

    def ends(self, topic: str) -> dict[int, int]:
        return {number: len(self.logs[topic, number]) for number in range(self.counts[topic])}

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Any]:
        yield from self.logs[topic, partition][max(start, self.removed[topic, partition]) : end]

    def committed(self) -> dict[tuple[str, int], int]:
        return dict(self.offsets)

    def commit(self, offsets: Mapping[tuple[str, int], int]) -> None:
        self.offsets.update(offsets)  # marked as a worker's: those that people move have no effect

    def write(self, topic: str, records: Iterable[Written]) -> None:
        for record in records:
            if self.writes_left is not None:
                self.writes_left -= 1
                if self.writes_left < 0:
                    message = "the broker is gone"
                    raise BrokerError(message)
            self.append(topic, record.partition, record.key, record.value, headers=record.headers)

    def grow(self, counts: Mapping[str, int]) -> None:
        self.counts.update(counts)

    def require_stopped(self) -> None:
        if self.running:
            message = f"group {self.group} is stable with 1 members: stop all workers first"
            raise BrokerError(message)

    def append(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, *, time_ms: int = 0, headers: Any = ()
    ) -> None:
        """Append one record."""
        log = self.logs[topic, partition]
        log.append(
            SimpleNamespace(offset=len(log), key=key, value=value, timestamp=time_ms, headers=list(headers or ()))
        )

    def send(self, messages: Iterable[Message]) -> None:
        """Append messages to the partitions that Kafka's partitioner takes, or that they name."""
        for message in messages:
            partition = message.partition
            if partition is None:
                assert message.key is not None
                partition = partition_of(message.key, self.counts[message.topic])
            self.append(message.topic, partition, message.key, message.value, time_ms=message.timestamp_ms)

    def newest(self, partition: int) -> dict[bytes, bytes]:
        """The newest value of each changelog key of a partition."""
        records: dict[bytes, bytes] = {}
        name = changelog(self.group).name
        for record in self.read(name, partition, 0, self.ends(name)[partition]):
            keep_newer(records, record.key, record.value)
        return records

    def published(self, topic: str) -> list[dict[str, Any]]:
        """The JSON of all records of an output topic: of an account first those from before it changed partition.

        A tombstone takes those of its account before it away.
        """
        count = self.counts[topic]
        logs = [(number, record) for number in range(count) for record in self.logs[topic, number]]
        logs.sort(key=lambda placed: partition_of(placed[1].key, count) == placed[0])
        erased = {record.key: index for index, (_, record) in enumerate(logs) if record.value is None}
        left = (record for index, (_, record) in enumerate(logs) if index > erased.get(record.key, -1))
        return [json.loads(record.value) for record in left if record.value is not None]

    def scores(self) -> dict[str, dict[str, Any]]:
        """The score message of each account with the largest revision; a tombstone deletes those of its partition."""
        messages: list[dict[str, Any]] = []
        for number in range(self.counts[SCORES]):
            latest: dict[bytes, dict[str, Any]] = {}
            for record in self.logs[SCORES, number]:
                if record.value is None:
                    latest.pop(record.key, None)
                    continue
                message = json.loads(record.value)
                if message["revision"] >= latest.get(record.key, message)["revision"]:
                    latest[record.key] = message
            messages += latest.values()
        messages.sort(key=lambda message: message["revision"])
        return {message["account_id"]: message for message in messages}


def input_log(clusters: Iterable[MemoryCluster]) -> list[Record]:
    """All records of the input topics for the oracle, each in the partition that its account has in the end."""
    clusters = list(clusters)
    count, log = clusters[-1].counts[REPARTITION], list[Record]()
    for shift, cluster in enumerate(clusters):
        for (topic, number), records in list(cluster.logs.items()):
            if topic not in BUILT_IN.topics or topic == REPARTITION:
                continue
            for record in records:
                assert record.key is not None
                home = partition_of(record.key, count)
                offset = (shift * 1000 + number) * 1_000_000 + record.offset
                log.append(Record(topic, home, offset, record.timestamp, record.key, record.value))
    return log


class MemoryWorkers:
    """The workers of a group: each `run` starts them, lets them apply everything, and stops them in order."""

    def __init__(self, cluster: MemoryCluster, settings: Settings, plan: Plan) -> None:
        self.cluster, self.settings, self.plan = cluster, settings, plan

    def run(self, as_of_ms: int | None = None, *, limit: int | None = None, crash: bool = False) -> None:
        """Apply what is there, all or the first `limit` records of each source; `as_of_ms` is the clock at the end.

        With `crash` nothing is committed.
        """
        for last in (False, True):  # the second time for what was forwarded
            for number in range(self.settings.partitions):
                _Task(self, number, limit).run(as_of_ms if last else None, idle=last, crash=crash)


class _Task:
    """One partition of `MemoryWorkers`."""

    def __init__(self, workers: MemoryWorkers, number: int, limit: int | None) -> None:
        self._cluster, self._number, self._limit = workers.cluster, number, limit
        self._count = workers.settings.partitions
        opened = open_namespaces(
            self._cluster.newest(number),
            workers.plan,
            None,
            lambda plan: Engine(
                plan,
                owns=lambda account: partition_of(account.encode(), self._count) == number,
                dedup_ids=workers.settings.dedup_ids if workers.settings.dedup else None,
                partition=number,
            ),
        )
        self.namespaces = self._namespaces = opened.namespaces
        self.partition, self._pair = number, opened.pair
        self._changelog = changelog(self._cluster.group).name
        self.engine = opened.pair.live
        take_over(cast("Any", self), self._facts(), writer_of(workers.settings, workers.plan), self._changelog)
        self._reconciler = Reconciler(
            {topic: self._tail(topic, opened.namespaces.published_up_to) for topic in PUBLISHED_KEYS}
        )
        self._reconciler.load(self.engine)
        self._namespaces.published_up_to = dict(self._reconciler.starts)
        for key, value in self._namespaces.identity():
            self._cluster.append(self._changelog, number, key, value)

    def _facts(self) -> Facts:
        """What the broker says of the partition."""
        cluster, number = self._cluster, self._number
        ids, offsets = cluster.topic_ids(), cluster.committed()
        logs = [
            SourceLog(
                topic,
                cluster.begins(topic)[number],
                cluster.ends(topic)[number],
                offsets.get((topic, number)),
                marked=True,
                topic_id=ids[topic],
            )
            for topic in BUILT_IN.topics
        ]
        return Facts({number: logs}, {number: cluster.begins(self._changelog)[number]}, ())

    def _tail(self, topic: str, committed: Mapping[str, int]) -> Tail:
        end = self._cluster.ends(topic)[self._number]
        start = start_of(topic, committed, end)
        records = self._cluster.read(topic, self._number, start, end)
        if topic == CHANGES:
            return Tail(start, end, ((record.value, record.key) for record in records))
        return Tail(start, end, ((record.value, dict(record.headers).get(POSITION_HEADER)) for record in records))

    def run(self, as_of_ms: int | None, *, idle: bool, crash: bool) -> None:
        merge = Merge(BUILT_IN)
        for index, (topic, source) in enumerate(zip(BUILT_IN.topics, BUILT_IN.inputs, strict=True)):
            start, end = self.engine.position[source], self._cluster.ends(topic)[self._number]
            end = end if self._limit is None else min(end, max(start, self._limit))
            records = list(self._cluster.read(topic, self._number, start, end))
            if records:
                merge.add(read(BUILT_IN, topic, records, end))
            del index
        ends = [self._cluster.ends(topic)[self._number] for topic in BUILT_IN.topics]
        while batches := merge.release(lambda _index: False):
            self._publish(self._pair.step(batches, Mode.HEAD, 2**53), batches)
            self._reconcile(ends)
        if as_of_ms is not None:
            self._publish(self._pair.tick(as_of_ms), ())
        if idle:
            self._reconcile(ends, idle=True)
        if not crash:
            self._commit()

    def _reconcile(self, ends: list[int], *, idle: bool = False) -> None:
        effects = self._reconciler.reconcile(self.engine, Mode.HEAD, ends_of_sources=ends, now_ms=2**53, idle=idle)
        if effects is not None:
            self._publish(effects, ())

    def _publish(self, effects: Effects, batches: Iterable[Batch]) -> None:
        self._reconciler.hold_back(effects)
        batches = list(batches)
        for forward in effects.forwards:
            message = forwarded(batches[forward.batch], self._number, forward)
            target = partition_of(forward.account.encode(), self._count)
            headers = [(name, value) for name, value in message.headers if name == ORIGIN_HEADER]
            self._cluster.append(
                REPARTITION, target, message.key, message.value, time_ms=message.timestamp_ms or 0, headers=headers
            )
        head = [(POSITION_HEADER, position_of(self.engine))]
        for erased in effects.erased:
            for number in range(self._cluster.counts[SCORES]):
                self._cluster.append(SCORES, number, erased.account, None)
            if not erased.in_changes:
                self._cluster.append(CHANGES, self._number, erased.account, None)
        for topic, messages in ((SCORES, effects.scores), (CHANGES, effects.changes), (ALERTS, effects.alerts)):
            for message in messages:
                headers = head if topic == ALERTS else []
                self._cluster.append(topic, self._number, message.key, message.value, headers=headers)

    def _commit(self) -> None:
        self._publish(self._pair.flush(Mode.HEAD), ())
        records = self._namespaces.snapshot(self._pair)
        for topic in self._reconciler.complete():
            self._namespaces.published_up_to[topic] = self._cluster.ends(topic)[self._number]
        for key, value in [*records, *self._namespaces.marks(PUBLISHED_KEYS)]:
            self._cluster.append(self._changelog, self._number, key, value)
        position = self.engine.position
        self._cluster.commit(
            {
                (topic, self._number): position[source]
                for topic, source in zip(BUILT_IN.topics, BUILT_IN.inputs, strict=True)
            }
        )
