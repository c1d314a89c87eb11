"""The processor: takes fetched records, steps the engines and puts what they publish in the outbox.

Owns the partition tasks of a worker, the choice between the head and catching up, and what is done with the engines'
effects. Only a RUNNING task steps and publishes: the state is looked at again after every await. Knows Faust only as
the giver of `Records`. Called by `agents.worker.tasks.loop` (records and ticks), `agents.worker.tasks.restorer` and
`agents.worker.commit.handover` (states), and `agents.worker.commit.checkpoint`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog
from faust.types import TP

from agents.kafka.partitions import partition_of
from agents.kafka.record_index import joined, since
from agents.kafka.source_records import read
from agents.settings.settings import Settings
from agents.worker.client.consumer import Records
from agents.worker.commit.outbox import Outbox
from agents.worker.monitoring.metrics import Telemetry
from agents.worker.monitoring.unusual import UnusualRecords
from agents.worker.tasks.carrier import Carrier
from agents.worker.tasks.clock import BrokerClock
from agents.worker.tasks.gone_accounts import hand_over
from agents.worker.tasks.rescorer import Rescorer
from agents.worker.tasks.shadow_log import log_failure, log_opened
from agents.worker.tasks.task import PartitionTask
from agents.worker.tasks.task_state import TaskState
from schemas.properties import united
from schemas.topics import SHADOW
from stream.engine.engine import Engine, Mode
from stream.ingest.batch import Batch
from stream.ingest.cuts import until_merge
from stream.plan.plan import Plan
from stream.recovery.namespaces import Opened, open_namespaces

log = structlog.get_logger()

WAITING_LIMIT = 20_000
IDLE_S = 5.0
STALLED_S = 5.0
PUBLISHED_AT_ONCE = 5_000
"""A partition with no more accounts is published at once when it has caught up, before the commit that says so."""
AT_A_BOUNDARY = 1_000
"""A partition with no more accounts is published at once at a window boundary, too."""
UNSAVED_LIMIT = 50_000
"""Rows of a task that differ from the changelog: with more of them a commit begins that no timer has asked for."""
_TURNS = 10
"""Turns of the event loop that it takes a step's outputs to get on their way: before the next step, not behind it.

And the next batch of a commit after the answer to the one before: with 4 turns a commit was starved while catching up.
"""


class Source(Protocol):
    """What the processor asks of the consumer."""

    async def rewind(self, tp: TP, offset: int) -> None:
        """Fetch from this offset on."""

    async def earliest(self, tp: TP) -> int:
        """The first offset that the broker still has."""


class Processor:
    """All partition tasks of one worker."""

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        outbox: Outbox,
        telemetry: Telemetry,
        clock: BrokerClock,
        *,
        candidate: Plan | None = None,
        most_at_once: int = AT_A_BOUNDARY,
    ) -> None:
        """Begin without tasks: they are created when partitions are assigned.

        `candidate` is the policy that runs as a shadow. At a window boundary a partition with more than `most_at_once`
        accounts is published some at a time.
        """
        self._most_at_once = most_at_once
        self.plan = plan
        self._sources = plan.sources
        self._index_of = {topic: index for index, topic in enumerate(plan.sources.topics)}
        self._candidate = candidate
        self._properties = united(each.properties for each in (plan, candidate) if each is not None)
        self.tasks: dict[int, PartitionTask] = {}
        """Every task that is not CLOSED, by partition number."""
        self.highwater: Callable[[TP], int | None] = lambda _tp: None
        self.source: Source
        """Where records come from; set once by `agents.worker.wiring`, as `highwater` and what begins with `on_`."""
        self.on_commit_due: Callable[[], None] = lambda: None
        """Called where something waits for a commit: one that is under way is not enough."""
        self.on_many_unsaved: Callable[[], None] = lambda: None
        """Called where the next commit gets large."""
        self.on_rescoring: Callable[[], None] = lambda: None
        """Called where accounts wait for a rescoring."""
        self._settings = settings
        self._outbox = outbox
        self._telemetry = telemetry
        self._carrier = Carrier(outbox, telemetry, settings.partitions)
        self.rescorer = Rescorer(lambda: self.in_state(TaskState.RUNNING), self._carrier.carry_out, self._turn)
        self._clock = clock
        self._unusual = UnusualRecords(plan.sources, telemetry)
        self._first = True

    # -- tasks --------------------------------------------------------------------------------------------------------

    def create(self, partition: int) -> PartitionTask:
        """Return the task of a partition; a new one is CREATED."""
        return self.tasks.setdefault(partition, PartitionTask(partition, self._sources))

    def create_anew(self, partition: int) -> PartitionTask:
        """Create the task of a partition in place of one that is still CREATED, which has written nothing."""
        if (task := self.tasks.pop(partition, None)) is not None:
            task.require(TaskState.CREATED)
            task.close()
        return self.create(partition)

    def restore(self, partition: int, opened: Opened) -> None:
        """Give a task the engines that its `opener` has made: CREATED to RESTORING."""
        log_opened(opened, partition)
        opened.pair.on_failure = lambda error: log_failure(error, partition)
        self.create(partition).restore(opened)

    def opener(self, partition: int) -> Callable[[Mapping[bytes, bytes]], Opened]:
        """The function that makes the engines of a partition from changelog records, and changes nothing.

        It raises whatever a record that can not be read makes it raise.
        """
        partitions = self._settings.partitions

        def engine(plan: Plan) -> Engine:
            return Engine(
                plan,
                owns=lambda account: partition_of(account.encode(), partitions) == partition,
                dedup_ids=self._settings.dedup_ids if self._settings.dedup else None,
                partition=partition,
                earliest_ms=self._settings.earliest_ms,
                most_at_once=self._most_at_once,
            )

        return lambda records: open_namespaces(records, self.plan, self._candidate, engine)

    def close(self, partition: int) -> None:
        """Close the task of a partition, if there is one, and drop what it has put in the outbox, in any case."""
        if (task := self.tasks.pop(partition, None)) is not None:
            task.close()
        self._outbox.drop(partition)

    def in_state(self, *states: TaskState) -> list[PartitionTask]:
        """The tasks that are in one of these states now."""
        return [task for task in self.tasks.values() if task.state in states]

    def with_engine(self) -> list[PartitionTask]:
        """The tasks that have their engine: RESTORING, RUNNING or SUSPENDED."""
        return [task for task in self.tasks.values() if task.state.has_engine]

    def full(self) -> set[TP]:
        """Source partitions of which enough records wait: no more are fetched."""
        return {
            TP(self._sources.topics[source_index], partition)
            for partition, task in self.tasks.items()
            if task.arrived or task.merge
            for source_index, count in enumerate(task.merge.waiting)
            if count + sum(map(len, task.arrived.get(source_index, ()))) >= WAITING_LIMIT
        }

    # -- records in ---------------------------------------------------------------------------------------------------

    async def take(self, fetched: Records) -> None:
        """Give fetched records to their task, if they connect to those before; `work` applies them."""
        tp, source_index = fetched.tp, self._index_of[fetched.tp.topic]
        task = self.tasks.get(tp.partition)
        if task is None or not task.state.has_engine:
            return
        if self._first:
            self._first = False
            log.info("first_batch", at_ms=time.time_ns() // 1_000_000, topic=tp.topic)
        if fetched.start > task.reached(source_index) and not await self._bridge(task, source_index, fetched):
            return
        # A task that has taken nothing yet takes what its state holds already: ids may have to be learned again.
        known = task.fetched.get(source_index, 0)
        if records := since(fetched.records, known):
            task.arrived.setdefault(source_index, []).append(records)
        task.fetched[source_index] = max(known, fetched.end)
        task.taken_at[source_index] = time.monotonic()
        task.not_waited_for.discard(source_index)

    async def _bridge(self, task: PartitionTask, source_index: int, fetched: Records) -> bool:
        """Deal with a gap before fetched records; return whether they may be taken.

        Either a fetch was lost while partitions moved: then it is repeated, and these records with it. Or the broker
        has removed the records (retention): they can only be counted.
        """
        tp, begin = fetched.tp, await self._first_left(task, source_index, fetched.tp)
        if task.state is TaskState.CLOSED:
            return False
        if fetched.start <= begin:
            return True
        log.info("fetch_again", topic=tp.topic, partition=tp.partition, first=begin, before=fetched.start)
        await self.source.rewind(tp, begin)
        return False

    async def _first_left(self, task: PartitionTask, source_index: int, tp: TP) -> int:
        """Return the first offset to take next; skip and count the records that the broker has removed."""
        begin, earliest = task.unread(source_index), await self.source.earliest(tp)
        if earliest <= begin or task.state is TaskState.CLOSED:
            return begin
        reached = task.reached(source_index)
        if earliest > reached and (reached or task.namespaces.saved_position is not None):
            log.error("records_removed", topic=tp.topic, partition=tp.partition, first=reached, before=earliest)
            self._telemetry.removed.labels(tp.topic).inc(earliest - reached)
        task.fetched[source_index] = earliest
        return earliest

    async def work(self) -> None:
        """Apply all that was taken, as far as the other sources of each task allow."""
        for task in self.in_state(TaskState.RUNNING):
            await self.run(task)

    def _absorb(self, task: PartitionTask) -> None:
        """Decode what was taken and give it to the merge, which otherwise would take the source for one without lag."""
        sources = self._sources
        arrived, task.arrived = task.arrived, {}
        for source_index, fetches in arrived.items():
            records = joined(fetches)
            fetch = read(sources, sources.topics[source_index], records, task.fetched[source_index], self._properties)
            self._unusual.note(fetch, records)
            task.merge.add(fetch)
        for source_index, end in task.fetched.items():
            name = sources.inputs[source_index]
            if not (task.merge.waiting[source_index] or task.after_merge) and task.engine.skip_to(name, end):
                task.changed = True  # markers of transactions lie before it, and no record

    def _release(self, task: PartitionTask) -> list[Batch]:
        """What may be applied now, up to the next control that merges accounts; nothing while a merge is not saved."""
        if task.unsaved_merge:
            return []
        if not (released := task.after_merge):
            self._absorb(task)
        ends = task.ends = [self._end(task, source_index) for source_index in range(len(self._sources.inputs))]
        released = released or task.merge.release(lambda index: self._lags(task, index, ends[index]))
        batches, task.after_merge = until_merge(released, self._sources)
        return batches

    async def run(self, task: PartitionTask) -> None:
        """Apply what may be applied now, as long as the task is RUNNING."""
        hand_over(task, self._outbox, self._settings.partitions)
        while task.state is TaskState.RUNNING and (batches := self._release(task)):
            self._step(task, batches)
            await self._turn(task)
            if not task.waits:
                break

    async def _turn(self, task: PartitionTask) -> None:
        """Let what was published get on its way, and others have their turn."""
        task.changed = True
        self._ask_for_commit(task)
        if task.pair.is_rescoring:
            self.on_rescoring()
        self._telemetry.last_progress.set_to_current_time()
        await self._outbox.room()
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    def _step(self, task: PartitionTask, batches: list[Batch]) -> None:
        self._reconcile(task)
        self._enter(task)
        oldest = min((int(batch.stamps[0]) for batch in batches if len(batch.stamps)), default=0)
        effects = task.pair.step(batches, task.mode, self._clock.now_ms())
        self._carrier.carry_out(task, effects, batches)
        if effects.scores and task.mode is Mode.HEAD:
            self._telemetry.latency.observe(max(0.0, (self._clock.now_ms() - oldest) / 1000))
        self._leave(task)
        task.applied_at = time.monotonic()
        task.unsaved_merge = bool(task.engine.merging.pending())
        if task.unsaved_merge:
            self.on_commit_due()

    def _ask_for_commit(self, task: PartitionTask) -> None:
        """Begin a commit where it must not wait for the timer: something waits for it, or it would be large."""
        if task.commit_soon and not (task.unsaved_merge or task.pair.is_rescoring or any(self.lag(task).values())):
            task.commit_soon = False
            self.on_commit_due()
        elif task.engine.accounts.unsaved() > UNSAVED_LIMIT:
            self.on_many_unsaved()

    # -- how far behind -----------------------------------------------------------------------------------------------

    def _end(self, task: PartitionTask, source_index: int) -> int | None:
        return self.highwater(TP(self._sources.topics[source_index], task.partition))

    def _ends(self, task: PartitionTask) -> list[int] | None:
        """Return where the task's sources end; None until the ends of all of them are known."""
        ends = [self._end(task, source_index) for source_index in range(len(self._sources.inputs))]
        return None if None in ends else [end or 0 for end in ends]

    def _lags(self, task: PartitionTask, source_index: int, end: int | None) -> bool:
        """Whether the merge has to wait for this source: it has more records, and the wait is not too long."""
        more = (
            end is None
            or max(task.reached(source_index), task.engine.position[self._sources.inputs[source_index]]) < end
        )
        if not more or task.merge.waiting[source_index]:
            task.blocked_since.pop(source_index, None)
            return more
        since = task.blocked_since.setdefault(source_index, time.monotonic())
        if time.monotonic() - since > self._settings.merge_wait_s:
            task.not_waited_for.add(source_index)
        return source_index not in task.not_waited_for

    def lag(self, task: PartitionTask) -> dict[str, int]:
        """Return how many records on the broker are not applied, by topic."""
        return {
            self._sources.topics[source_index]: max(
                0, (self._end(task, source_index) or 0) - task.engine.position[name]
            )
            for source_index, name in enumerate(self._sources.inputs)
        }

    def _enter(self, task: PartitionTask) -> None:
        if task.mode is Mode.HEAD and (behind := task.behind) > self._settings.catch_up_lag:
            task.mode = Mode.EXACT if self._settings.catch_up == "exact" else Mode.CONFLATED
            log.info("catching_up", partition=task.partition, mode=task.mode.value, lag=behind)

    def _leave(self, task: PartitionTask) -> None:
        if task.mode is Mode.HEAD or sum(self.lag(task).values()) > self._settings.catch_up_lag // 10:
            return
        effects = task.pair.caught_up(PUBLISHED_AT_ONCE) if task.mode is Mode.CONFLATED else task.pair.flush(Mode.HEAD)
        task.mode = Mode.HEAD
        task.changed = task.commit_soon = True
        self._carrier.carry_out(task, effects)
        log.info("caught_up", partition=task.partition)

    async def tick(self) -> None:
        """Once a second: stop waiting for sources that stay away, and let idle partitions age by the broker's clock."""
        for task in self.in_state(TaskState.RUNNING):
            if task.state is TaskState.RUNNING and task.mode is not Mode.HEAD and self._ends(task) is not None:
                self._leave(task)  # also where no event comes any more
            if task.merge or task.arrived or task.after_merge or task.engine.merging.pending():
                await self.run(task)
            await self._ask_again(task)
            if task.state is TaskState.RUNNING:
                self._advance_time(task)
                if task.pair.is_rescoring:
                    self.on_rescoring()

    def _advance_time(self, task: PartitionTask) -> None:
        idle = time.monotonic() - task.applied_at > IDLE_S and not task.merge and self._ends(task) is not None
        idle = idle and task.mode is Mode.HEAD and not any(self.lag(task).values())
        if self._settings.time == "live" and idle:
            before = task.engine.as_of
            effects = task.pair.tick(self._clock.now_ms())
            # A window boundary that was passed is to be saved, also when it made the engine publish alerts or nothing.
            task.changed |= task.engine.as_of != before or task.namespaces.waits
            self._carrier.carry_out(task, effects)
        self._reconcile(task, idle=idle)

    def _reconcile(self, task: PartitionTask, *, idle: bool = False) -> None:
        """Reconcile with what the worker before published after its last commit, where the engine has come as far."""
        if not task.reconciler or task.pair.is_rescoring:
            return
        ends, now_ms = self._ends(task), self._clock.now_ms()
        effects = task.reconciler.reconcile(task.engine, task.mode, ends_of_sources=ends, now_ms=now_ms, idle=idle)
        if effects is not None:
            self._carrier.carry_out(task, effects)
            task.changed = True

    async def _ask_again(self, task: PartitionTask) -> None:
        """Fetch again what does not come: Faust drops messages that it holds while partitions move."""
        full = self.full()
        for source_index, topic in enumerate(self._sources.topics):
            if task.state is not TaskState.RUNNING:
                return
            tp, begin, now = TP(topic, task.partition), task.unread(source_index), time.monotonic()
            waited = now - task.taken_at.setdefault(source_index, now)
            if waited <= STALLED_S or tp in full or begin >= (self._end(task, source_index) or 0):
                continue
            begin = await self._first_left(task, source_index, tp)
            if task.state is not TaskState.RUNNING:
                return
            log.info("fetch_again", topic=topic, partition=task.partition, first=begin, waited_s=round(waited))
            task.taken_at[source_index] = now
            await self.source.rewind(tp, begin)
            if task.state is TaskState.RUNNING:
                self._absorb(task)  # where no record is left, nothing lags

    def flush(self, task: PartitionTask) -> None:
        """Publish what conflation holds back; called before the state of a RUNNING task is saved."""
        self._carrier.carry_out(task, task.pair.flush(task.mode))
        self._outbox.put(self._sources.own(SHADOW), task.partition, task.namespaces.tombstones())
