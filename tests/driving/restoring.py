"""A worker that restores tasks, without a broker: what it is answered is chosen by the test.

Owns the restorer's surroundings. Must not know what is tested. Called by the tests of the restorer.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from faust.types import TP

from agents.worker.client.consumer import Records
from agents.worker.commit.handover import Handover
from agents.worker.commit.lease import Lease
from agents.worker.tasks.broker_facts import Facts
from agents.worker.tasks.restorer import Restorer
from agents.worker.tasks.takeover import Takeover
from agents.worker.tasks.task_state import TaskState
from schemas.sources import BUILT_IN
from stream.recovery.continuity import SourceLog
from stream.recovery.reconciler import Reconciler
from stream.recovery.writer import Member, Writer
from tests.driving.worker import Bench, Producer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


LOG = "log"
ZERO, ONE = TP(LOG, 0), TP(LOG, 1)
USAGE = TP("product-usage", 0)


class Stage:
    """A worker without tasks, and a broker to which nothing was published."""

    def __init__(self, rival_wait_s: float = 0) -> None:
        self.bench = Bench(Producer())
        self.processor = self.bench.processor
        self.on_read: Callable[[], None] = lambda: None
        """Called while what was published is read."""
        self.read: list[int] = []
        self.bounds: dict[TP, tuple[int, int]] = {}
        """First offset and end of changelogs that are not empty."""
        self.committed: dict[int, int] = {}
        """Committed offset of product usage by partition."""
        self.first = 0
        """First offset of changelogs, as the broker says."""
        self.broker_errors: list[Exception] = []
        """What the broker answers first."""
        self.members: list[list[Member]] = [[]]
        """The other members of the group each time the broker is asked; the last stay."""
        self.lease = Lease(10)
        self.lease.begin(float("inf"))
        checkpointer = self.bench.checkpointer(LOG, self.commit_offsets)
        self.restorer = Restorer(
            self.processor,
            checkpointer,
            changelog_topic=LOG,
            read_published=self.read_published,
            bounds=self.bounds_of,
            takeover=Takeover(
                Writer(worker="one", version="1", policy="p", settings={}, configuration="new"),
                LOG,
                read_facts=self.read_facts,
                rival_wait_s=rival_wait_s,
            ),
            find_record=self.find_record,
            on_fatal=self.bench.errors.append,
        )
        self.handover = Handover(self.processor, checkpointer, self.lease, BUILT_IN.topics, "changelog")

    async def commit_offsets(self, offsets: Mapping[TP, int]) -> bool:
        return bool(offsets)

    def read_published(self, since: Mapping[int, Mapping[str, int]]) -> dict[int, Reconciler]:
        self.read += since
        self.on_read()
        return {partition: Reconciler() for partition in since}

    async def bounds_of(self, partitions: Sequence[TP]) -> dict[TP, tuple[int, int]]:
        return {tp: self.bounds.get(tp, (0, 0)) for tp in partitions}

    def read_facts(self, partitions: Sequence[int]) -> Facts:
        logs = {
            number: [SourceLog(topic, 0, 99, self.committed.get(number), marked=True) for topic in BUILT_IN.topics[:1]]
            + [SourceLog(topic, 0, 99) for topic in BUILT_IN.topics[1:]]
            for number in partitions
        }
        if self.broker_errors:
            raise self.broker_errors.pop()
        members = self.members.pop(0) if len(self.members) > 1 else self.members[0]
        return Facts(logs, dict.fromkeys(partitions, self.first), members)

    @staticmethod
    def find_record(partition: int, key: bytes, value: bytes) -> int | None:
        return 17 if (partition, key, value) == (0, b"rbad", b"{}") else None

    async def leave(self) -> None:
        await self.handover.leave(self._last_commit())

    async def _last_commit(self) -> None:
        await self.handover.commit_last()

    def states(self) -> dict[int, TaskState]:
        return {partition: task.state for partition, task in self.processor.tasks.items()}


def records(tp: TP, first: int, *keys: bytes) -> Records:
    listed = [SimpleNamespace(offset=first + index, key=key, value=b"0") for index, key in enumerate(keys)]
    return Records(tp, listed, first, first + len(keys))


def changelog_of(tp: TP, first: int, *pairs: tuple[bytes | None, bytes | None]) -> Records:
    listed = [SimpleNamespace(offset=first + index, key=key, value=value) for index, (key, value) in enumerate(pairs)]
    return Records(tp, listed, first, first + len(pairs))
