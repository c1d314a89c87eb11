"""Workers of several partitions in memory that merge accounts: what they forward, save, lose in a crash and read again.

Owns the order in which a worker does these things, at the grain at which it can crash: records are sent in order, but
perhaps not all of them before a crash; a commit is written in order, but perhaps not to its end. Must not know any
expected value. Called by the tests of merges.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from agents.kafka.partitions import partition_of
from agents.kafka.source_records import read
from agents.worker.tasks.records import forwarded
from schemas.sources import BUILT_IN, INBOX
from stream.engine.engine import Engine, Mode
from stream.ingest.batch import Batch
from stream.ingest.cuts import until_merge
from stream.ingest.merge import Merge
from stream.publishing.effects import Effects, Message
from stream.recovery import changelog
from stream.recovery.namespaces import Namespaces, open_namespaces
from stream.recovery.shadow import Pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream.plan.plan import Plan

PARTITIONS = 3
NO_LIMIT_MS = 2**53
ROUNDS = 50
"""So many rounds are more than enough for chains of merges."""


@dataclass
class Worker:
    """The worker of one partition; its logs and its changelog remain after a crash."""

    cluster: Cluster
    number: int
    changelog: dict[bytes, bytes] = field(default_factory=dict)
    committed: dict[str, int] = field(default_factory=dict)
    published: list[Any] = field(default_factory=list)
    """Score messages and alerts, in order."""
    pair: Pair = field(init=False)
    namespaces: Namespaces = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Restore what the changelog has."""
        plan, candidate = self.cluster.plan, self.cluster.candidate
        opened = open_namespaces(self.changelog, plan, candidate, self._engine)
        self.pair, self.namespaces = opened.pair, opened.namespaces
        self.merge = Merge(plan.sources)
        self.fetched = dict(self.committed)
        self.after_merge: list[Batch] = []
        self.unsaved_merge = False
        self.unsent: list[Message[Any]] = []

    def _engine(self, plan: Plan) -> Engine:
        return Engine(
            plan,
            owns=lambda account: partition_of(account.encode(), PARTITIONS) == self.number,
            dedup_ids=200_000 if self.cluster.dedup else None,
            partition=self.number,
        )

    @property
    def engine(self) -> Engine:
        return self.pair.live

    def take(self, count: int) -> None:
        """Fetch the next records of each source and apply what may be applied."""
        for name, topic in self.cluster.plan.sources.topic_of.items():
            start = self.fetched.get(name, 0)
            records = self.cluster.logs[topic, self.number][start : start + count]
            if records:
                self.fetched[name] = start + len(records)
                self.merge.add(read(self.cluster.plan.sources, topic, records, self.fetched[name]))
        self.hand_over()
        while batches := self._release():
            self._carry_out(self.pair.step(batches, Mode.HEAD, NO_LIMIT_MS), batches)
            self.unsaved_merge = bool(self.engine.merging.pending())

    def _release(self) -> list[Batch]:
        if self.unsaved_merge:
            return []
        released = self.after_merge or self.merge.release(lambda _source: False)
        batches, self.after_merge = until_merge(released, self.cluster.plan.sources)
        return batches

    def hand_over(self) -> None:
        """Send the state of merged accounts, once it is saved."""
        if not self.unsaved_merge:
            self.unsent += self.pair.hand_over()

    def _carry_out(self, effects: Effects, batches: Sequence[Batch]) -> None:
        self.unsent += [forwarded(batches[forward.batch], self.number, forward) for forward in effects.forwards]
        self.unsent += effects.claims
        self.published += effects.scores + effects.alerts
        self.cluster.letters += [letter.message for letter in effects.dead_letters]

    def send(self, count: int | None = None) -> None:
        """Write the first records that wait to the repartition topic."""
        sent = self.unsent[:count]
        self.unsent = self.unsent[len(sent) :]
        for message in sent:
            self.cluster.append(BUILT_IN.topic_of[INBOX], message.key, message.value, message.headers)

    def commit(self, written: int | None = None) -> None:
        """Send everything, then write the first `written` records of the state (None: all, and the offsets)."""
        self._carry_out(self.pair.flush(Mode.HEAD), ())
        records = self.namespaces.snapshot(self.pair)
        self.send()
        for key, value in records[:written]:
            changelog.keep_newer(self.changelog, key, value)
        if written is None:
            self.committed.update(self.engine.committable())
            self.unsaved_merge = False

    def crash(self, written: int | None, sent: int) -> None:
        """Lose what is not written: of the records that wait `sent` were, and of a commit `written` (None: nothing)."""
        self.send(sent)
        if written is not None:
            self.commit(written)
        self.start()

    @property
    def is_idle(self) -> bool:
        """Whether everything is applied, sent and saved."""
        logs, topic_of = self.cluster.logs, self.cluster.plan.sources.topic_of
        read_all = all(self.committed.get(name, 0) >= len(logs[topic, self.number]) for name, topic in topic_of.items())
        return read_all and not self.unsent and not self.engine.merging.pending()


@dataclass
class Cluster:
    """The topics of a group, and a worker for each partition."""

    plan: Plan
    candidate: Plan | None = None
    dedup: bool = True
    logs: dict[tuple[str, int], list[SimpleNamespace]] = field(default_factory=lambda: defaultdict(list))
    letters: list[str] = field(default_factory=list)
    workers: list[Worker] = field(init=False)

    def __post_init__(self) -> None:
        self.workers = [Worker(self, number) for number in range(PARTITIONS)]

    def append(
        self, topic: str, key: bytes, value: bytes | None, headers: Sequence[tuple[str, bytes]] = (), time_ms: int = 0
    ) -> None:
        """Add a record to the partition of its key."""
        number = partition_of(key, PARTITIONS)
        log = self.logs[topic, number]
        log.append(SimpleNamespace(offset=len(log), timestamp=time_ms, key=key, value=value, headers=list(headers)))

    def finish(self, as_of_ms: int) -> None:
        """Let all workers apply and save everything, and time pass up to a moment."""
        for _ in range(ROUNDS):
            for worker in self.workers:
                worker.take(1000)
                worker.commit()
            if all(worker.is_idle for worker in self.workers):
                break
        else:
            message = "the workers do not come to rest"
            raise AssertionError(message)
        for worker in self.workers:
            worker._carry_out(worker.pair.tick(as_of_ms), ())

    def engines(self, *, shadow: bool = False) -> list[Engine]:
        """The engines of all partitions, those of the live policy or of the candidate."""
        if not shadow:
            return [worker.engine for worker in self.workers]
        return [worker.pair.shadow.engine for worker in self.workers if worker.pair.shadow is not None]
