"""A worker's processor without Kafka: a producer that records what it is given, and records as a fetch brings them.

Owns the stand-ins for the broker. Must not know what is tested. Called by the tests of `agents.worker`.
"""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from agents.settings.settings import Settings, default_policy
from agents.worker.client.consumer import Records
from agents.worker.commit.checkpoint import Checkpointer, CommitOffsets
from agents.worker.commit.fencing import TaskProducer
from agents.worker.commit.outbox import Outbox
from agents.worker.monitoring.metrics import Telemetry
from agents.worker.tasks.clock import BrokerClock
from agents.worker.tasks.processor import AT_A_BOUNDARY, Processor
from schemas.sources import BUILT_IN
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy
from stream.recovery.reconciler import Reconciler
from tests.faults.topic_log import partition_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from faust.types import TP

    from agents.worker.tasks.task import PartitionTask

TIME_MS = 1_751_328_000_000
PARTITIONS = 4


class Batch:
    """A batch that holds at most `limit` records."""

    def __init__(self, limit: int) -> None:
        """Begin empty."""
        self.limit = limit
        self.records: list[Any] = []

    def append(self, **fields: Any) -> object | None:
        """Take one record, if there is room."""
        if len(self.records) == self.limit:
            return None
        record = SimpleNamespace(**fields)
        self.records.append(record)
        return record


class Producer:
    """A producer without id and epoch that records what it sends; it acknowledges everything, or nothing."""

    _txn_manager: Any = None
    _sender = SimpleNamespace(sender_task=None)

    def __init__(self, *, acknowledges: bool = True, batch_records: int = 1000) -> None:
        """Nothing is sent yet."""
        self.acknowledges = acknowledges
        self.batch_records = batch_records
        self.sent: list[tuple[str, int]] = []
        """Topic and partition of each record, in the order of sending."""
        self.batches: list[list[Any]] = []
        """The records of each batch."""

    def create_batch(self) -> Batch:
        """Begin a batch."""
        return Batch(self.batch_records)

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[Any]:
        """Record a batch; the future is its acknowledgement."""
        self.sent += [(topic, partition)] * len(batch.records)
        self.batches.append(batch.records)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.acknowledges:
            offset = len(self.sent) - len(batch.records)
            future.set_result(SimpleNamespace(offset=offset, timestamp_type=0, timestamp=0))
        return future


class OneProducer:
    """The producers of tasks that all write with one."""

    def __init__(self, producer: Any) -> None:
        """No task is closed yet."""
        self._producer = TaskProducer(producer)
        self.closed: list[int] = []

    def of(self, task: int) -> TaskProducer | None:
        """The one producer."""
        del task
        return self._producer

    def close(self, task: int) -> None:
        """Remember a task that is closed."""
        self.closed.append(task)


class Source:
    """A consumer that remembers where it was asked to go."""

    def __init__(self) -> None:
        """Every partition begins at offset 0."""
        self.sought: list[tuple[TP, int]] = []
        self.first = 0
        self.on_earliest: Callable[[TP], None] = lambda _tp: None
        """Called while `earliest` is awaited."""

    async def rewind(self, tp: TP, offset: int) -> None:
        """Remember where to go."""
        self.sought.append((tp, offset))

    async def earliest(self, tp: TP) -> int:
        """The first offset."""
        await asyncio.sleep(0)
        self.on_earliest(tp)
        return self.first


def account_in(partition: int, number: int = 0) -> str:
    """Return an account id of a partition."""
    names = (f"a{index}" for index in range(10_000))
    return [name for name in names if partition_of(name.encode()) == partition][number]


def usage(offset: int, account: str) -> SimpleNamespace:
    """Return one record of product usage as a fetch brings it."""
    value = {"id": f"{account}-{offset}", "account_id": account, "time": TIME_MS, "user_id": "u"}
    encoded = json.dumps(value).encode()
    return SimpleNamespace(offset=offset, timestamp=TIME_MS, key=account.encode(), value=encoded, headers=[])


def fetch(tp: TP, *accounts: str, first: int = 0) -> Records:
    """Return one fetch of a partition: one event an account, from offset `first` on."""
    records = [usage(first + index, account) for index, account in enumerate(accounts)]
    return Records(tp, records, first, first + len(records))


class Bench:
    """A processor whose tasks are open and run, with an outbox that writes to `producer`."""

    def __init__(
        self,
        producer: Producer,
        *partitions: int,
        may_write: Callable[[], bool] = lambda: True,
        most_at_once: int = AT_A_BOUNDARY,
    ) -> None:
        """Open a task for each of the partitions."""
        self.producer = producer
        self.source = Source()
        self.errors: list[BaseException] = []
        self.telemetry, self.clock = Telemetry(BUILT_IN), BrokerClock()
        self.producers = OneProducer(producer)
        self.outbox = Outbox(
            self.producers,
            self.telemetry,
            now_ms=self.clock.now_ms,
            on_append_ms=self.clock.learn,
            may_write=may_write,
            on_fatal=self.errors.append,
        )
        plan = compile_plan(parse_policy(default_policy().read_text("utf-8")))
        settings = Settings(partitions=PARTITIONS, time="event")
        self.processor = Processor(plan, settings, self.outbox, self.telemetry, self.clock, most_at_once=most_at_once)
        self.processor.source = self.source
        self.processor.highwater = lambda _tp: 0
        for partition in partitions:
            self.open(partition)

    def checkpointer(self, changelog: str, commit_offsets: CommitOffsets) -> Checkpointer:
        """What commits the progress of the tasks, at each commit that it is asked for."""
        return Checkpointer(
            self.processor,
            self.outbox,
            self.telemetry,
            changelog_topic=changelog,
            commit_offsets=commit_offsets,
            on_fatal=self.errors.append,
            rarely_s=0,
        )

    def open(self, partition: int) -> PartitionTask:
        """Open a task that no worker had before, and let it run."""
        self.processor.restore(partition, self.processor.opener(partition)({}))
        task = self.processor.tasks[partition]
        task.run(Reconciler())
        return task
