"""Restoring tasks: from assigned partitions and their changelog records to tasks that run.

Owns what Faust's recovery means for tasks: which are created, restored, resumed or closed. Called by
`agents.worker.client.store`, which Faust calls. Decision 26 has the states.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import structlog
from faust.types import TP
from kafka.errors import KafkaError

from agents.kafka.client import BrokerError
from agents.process.errors import error_text
from agents.process.memory import give_back_memory
from agents.worker.client.consumer import Records
from agents.worker.commit.checkpoint import Checkpointer
from agents.worker.fatal import RefusedError
from agents.worker.tasks.processor import Processor
from agents.worker.tasks.standby import Standby, Standbys
from agents.worker.tasks.takeover import Takeover
from agents.worker.tasks.task import PartitionTask
from agents.worker.tasks.task_state import TaskState
from stream.recovery.namespaces import UNFINISHED_KEY
from stream.recovery.reconciler import Reconciler
from stream.recovery.record_form import UnreadableRecordError
from stream.recovery.unreadable import find_unreadable

log = structlog.get_logger()

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0

Bounds = Callable[[Sequence[TP]], Awaitable[Mapping[TP, tuple[int, int]]]]
"""Ask the broker for the first offset and the end of partitions."""
ReadPublished = Callable[[Mapping[int, Mapping[str, int]]], dict[int, Reconciler]]
"""Read what was published after the offsets of commits, by partition and topic. Blocks."""
FindRecord = Callable[[int, bytes, bytes], int | None]
"""The offset of a record in a partition of the changelog, by key and value. Blocks."""


class Restorer:
    """Brings tasks from CREATED to RUNNING, and back again when partitions move."""

    def __init__(
        self,
        processor: Processor,
        checkpointer: Checkpointer,
        *,
        changelog_topic: str,
        read_published: ReadPublished,
        bounds: Bounds,
        takeover: Takeover,
        find_record: FindRecord,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        """Nothing is restored yet."""
        self._bounds = bounds
        self.processor = processor
        self.standbys = Standbys()
        self._taking_over: dict[int, tuple[Standby, PartitionTask]] = {}
        """What standbys have read, and the tasks that have begun with it, until these have their engines."""
        self._checkpointer = checkpointer
        self._changelog = changelog_topic
        self._read_published = read_published
        self._takeover = takeover
        self._find_record = find_record
        self._on_fatal = on_fatal
        self.rejoin: Callable[[], Awaitable[None]]
        """Ask the group for a new assignment; set by `agents.worker.wiring`."""
        self._rejoining: asyncio.Future[None] | None = None
        self._since = time.monotonic()
        self.progress_at = 0.0
        """Monotonic time at which records of a changelog were collected, or tasks restored, last."""
        self.reading = False
        """Whether what was published is being read, which may take as long as there are records."""

    def collect(self, fetched: Records) -> bool:
        """Keep records of the changelog of a task that is CREATED, or of a standby.

        A task with an engine is ahead of what it wrote. Returns False where a standby misses records before these.
        """
        partition = fetched.tp.partition
        try:
            if (standby := self.standbys.get(partition)) is not None:
                connects = standby.collect(fetched.records, fetched.start, fetched.end)
                standby.follow(self.end_of(partition))
                return connects
            task = self.processor.tasks.get(partition)
            if task is not None and task.state is TaskState.CREATED:
                task.collect(fetched.records, fetched.start, fetched.end)
                self.progress_at = time.monotonic()
        except Exception as error:  # noqa: BLE001 -- Faust would read the changelog again, and again
            self._on_fatal(error)
        return True

    def assign(self, assigned: Iterable[TP], revoked: Iterable[TP], standbys: Iterable[TP] = ()) -> list[TP]:
        """Close, resume and create tasks after a rebalance; return the changelogs to read from their beginning.

        `standbys` are the changelogs of partitions that other workers have: a task that became one of them is closed.
        """
        self._since = time.monotonic()
        processor = self.processor
        self._take_back()
        mine = [tp for tp in assigned if tp.topic == self._changelog]
        others = [tp for tp in standbys if tp.topic == self._changelog]
        for tp in (*revoked, *others):
            if tp.topic == self._changelog:
                processor.close(tp.partition)
        unread = []
        for tp in mine:
            task = processor.tasks.get(tp.partition)
            if task is not None and task.state is TaskState.SUSPENDED:
                task.resume()
            elif task is None or not task.state.has_engine:
                task = processor.create_anew(tp.partition)  # what it has collected ends where the last rebalance began
                if (standby := self.standbys.take(tp.partition)) is None:
                    unread.append(tp)
                else:
                    task.begin_with(standby)
                    self._taking_over[tp.partition] = standby, task
                    log.info("standby_takes_over", partition=tp.partition, read_up_to=standby.read_up_to)
        new = set(self.standbys.keep_only({tp.partition for tp in others}))
        return [*unread, *(tp for tp in others if tp.partition in new)]

    def _take_back(self) -> None:
        """Make standbys again of those whose task was closed before it had its engine: partitions move on."""
        for partition, (standby, task) in self._taking_over.items():
            if task.state is TaskState.CLOSED and not task.is_opening and task.collected is standby.collected:
                standby.read_up_to = task.collected_up_to
                self.standbys[partition] = standby
        self._taking_over.clear()

    def read_up_to(self, tp: TP) -> int | None:
        """The offset after the last record that a standby has read, or the task that took over; None for nothing."""
        if tp.topic != self._changelog:
            return None
        if (standby := self.standbys.get(tp.partition)) is not None:
            return standby.read_up_to
        task = self.processor.tasks.get(tp.partition)
        return None if task is None or task.state is not TaskState.CREATED else task.collected_up_to

    async def ends_of_engines(self) -> dict[TP, int]:
        """Where the changelogs of tasks end that have their engines: all that came since was written by these."""
        bounds = await self._bounds([TP(self._changelog, task.partition) for task in self.processor.with_engine()])
        return {tp: end for tp, (_, end) in bounds.items()}

    def end_of(self, partition: int) -> int | None:
        """Where the changelog of a partition ends, as far as the last fetch knows."""
        return self.processor.highwater(TP(self._changelog, partition))

    async def connect(self, tp: TP) -> int | None:
        """Where a standby goes on whose records do not connect: the broker has removed some, or a fetch was lost.

        None where this worker is the partition's standby no more.
        """
        try:
            first, end = (await self._bounds([tp]))[tp]
        except Exception as error:  # noqa: BLE001 -- nobody awaits this: the standby would stay where it is
            self._on_fatal(error)
            return None
        standby = self.standbys.get(tp.partition)
        if standby is None:
            return None
        if not standby.fits(first, end):
            standby.forget()
        return first if standby.read_up_to is None else standby.read_up_to

    def lose(self, partition: int, error: BaseException) -> None:
        """Close a task whose producer the broker refuses, without a commit, and have the partition assigned again.

        Either another worker has it, and the group has not said so yet. Or the broker has lost some of the producer's
        records: then the task is restored from those that are left.
        """
        log.error(
            "producer_refused",
            partition=partition,
            error=error_text(error),
            then="the task is closed without a commit; it is restored where the group assigns the partition",
        )
        self.processor.close(partition)
        self._rejoining = asyncio.ensure_future(self.rejoin())

    async def complete(self, recovered: Iterable[TP]) -> dict[TP, int | None]:
        """Restore the tasks whose changelogs were read, and let them run; return the changelogs to read once more.

        These have the offset to read from, None for the beginning.
        """
        again: dict[TP, int | None] = {}
        try:
            accounts = 0
            changelogs = [tp for tp in sorted(recovered) if tp.topic == self._changelog]
            bounds = await self._bounds(changelogs)
            for task in [self.processor.tasks.get(tp.partition) for tp in changelogs]:
                if task is None or task.state is not TaskState.CREATED:
                    continue
                tp = TP(self._changelog, task.partition)
                if not task.has_collected(*bounds[tp]):
                    self._log_missing(task, *bounds[tp])
                    again[tp] = task.collect_rest(*bounds[tp])
                elif await self._open(task):
                    accounts += len(task.engine.accounts)
                    self.progress_at = time.monotonic()
            if again:
                return again
            give_back_memory()  # that of the changelog's records
            await self._introduce()
            seconds = time.monotonic() - self._since
            partitions = sorted(self.processor.tasks)
            log.info("restored", accounts=accounts, seconds=round(seconds, 3), partitions=partitions)
        except Exception as error:  # noqa: BLE001 -- Faust drops what this raises: the worker must end, not go on without state
            self._on_fatal(error)
        return {}

    @staticmethod
    def _log_missing(task: PartitionTask, first: int, end: int) -> None:
        log.warning(
            "changelog_not_read",
            partition=task.partition,
            first=first,
            end=end,
            read_from=task.collected_from,
            read_up_to=task.collected_up_to,
            then="it is read again",
        )

    async def _open(self, task: PartitionTask) -> bool:
        """Make the engine of a task from its changelog; return False where the task was closed meanwhile.

        A large state takes seconds: the loop turns meanwhile. Raises `RefusedError` with what can not be read.
        """
        records, partition = task.collected, task.partition
        task.is_opening = True
        try:
            opened = await asyncio.to_thread(self.processor.opener(partition), records)
        except Exception as error:
            if (cut := await self._takeover.missing_start(partition, records)) is not None:
                raise cut from None
            why = error_text(error)
            log.warning("changelog_unreadable", partition=partition, error=why, then="the record is searched for")
            opener = self.processor.opener(partition)
            unreadable = await asyncio.to_thread(find_unreadable, records, opener, error)
            offset = None
            if unreadable.key is not None:
                offset = await asyncio.to_thread(self._find_record, partition, unreadable.key, records[unreadable.key])
            raise self._refused(partition, unreadable, offset, records.get(UNFINISHED_KEY)) from error
        finally:
            task.is_opening = False
        if task.state is not TaskState.CREATED:
            return False
        read = (task.collected_up_to or 0) - (task.taken_up_to or 0)
        if task.taken_up_to is not None:
            log.info("standby_took_over", partition=partition, read_up_to=task.taken_up_to, read_since=read)
        self.processor.restore(partition, opened)
        self._taking_over.pop(partition, None)
        return True

    def _refused(
        self, partition: int, error: UnreadableRecordError, offset: int | None, unfinished: bytes | None
    ) -> RefusedError:
        """What names a record that cannot be read; `unfinished` is the command that was replacing the state."""
        where = f"changelog {self._changelog} partition {partition}" + ("" if offset is None else f" offset {offset}")
        rebuild = f"`vitals state rebuild --partition {partition}`"
        way_out = f"{rebuild}. If a later version wrote it, run that version"
        if unfinished is not None and error.key == UNFINISHED_KEY:
            way_out = f"run `{unfinished.decode(errors='replace')}` again"
        elif error.account is not None:
            way_out = f"`vitals state quarantine {error.account}` sets this account aside, or {way_out}"
        return RefusedError(
            f"{where}: {error}",
            way_out,
            topic=self._changelog,
            partition=partition,
            offset=offset,
            key=repr(error.key),
            account=error.account,
        )

    async def _introduce(self) -> None:
        """Let RESTORING tasks run, once what was published after their last commit and the broker's clock are known."""
        new = self.processor.in_state(TaskState.RESTORING)
        new = await self._takeover.admit(new)
        committed = {task.partition: dict(task.namespaces.published_up_to) for task in new}
        reconcilers = await self._published(committed, new) if committed else {}
        # Some may have been closed meanwhile, or have been introduced by a recovery that came after this one.
        new = [task for task in new if task.state is TaskState.RESTORING]
        for task in new:
            task.run(reconcilers[task.partition])
        await self._checkpointer.introduce(new)

    async def _published(
        self, committed: Mapping[int, Mapping[str, int]], tasks: Iterable[PartitionTask]
    ) -> dict[int, Reconciler]:
        """Read what was published, again and again while the broker is away; nothing once all tasks are closed."""
        pause = FIRST_PAUSE_S
        while any(task.state is TaskState.RESTORING for task in tasks):
            self.reading = True
            try:
                return await asyncio.to_thread(self._read_published, committed)
            except (BrokerError, KafkaError) as error:
                cause = error.__cause__ if isinstance(error, BrokerError) else error
                if not getattr(cause, "retriable", False):
                    raise
                log.warning("published_records_not_read", error=error_text(error), will="retry")
            finally:
                self.reading = False
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)
        return {}
