"""The processor: fetched records in, engine steps, effects out.

Owns the lanes (one engine and one waiting line a partition number), the choice between the head and catching up, and
what is done with the engine's effects. Knows Faust only as the giver of `Records`. Called by the agent and timers in
`agents.worker.wiring`, and by `agents.worker.checkpoint`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog
from faust.types import TP

from agents.kafka.partitions import partition_of
from agents.settings.settings import Settings
from agents.worker.clock import BrokerClock
from agents.worker.consumer import Records
from agents.worker.metrics import Telemetry
from agents.worker.outbox import Outbox
from agents.worker.records import TOPICS, dead_letter, forwarded, read
from agents.worker.shadow_log import log_failure, log_opened
from agents.worker.task import PartitionTask
from schemas.topics import ALERTS, CHANGES, DLQ_SUFFIX, POSITION_HEADER, REPARTITION, SCORES, SHADOW
from stream.engine.engine import Engine, Mode
from stream.ingest.batch import INPUT_SOURCES, Batch
from stream.plan.plan import Plan
from stream.publishing.effects import Effects
from stream.recovery.alert_reconciler import position_of
from stream.recovery.namespaces import open_namespaces

log = structlog.get_logger()

WAITING_LIMIT = 20_000
IDLE_S = 5.0
STALLED_S = 5.0
_TURNS = 4
"""Turns of the event loop that it takes a step's outputs to get on their way: before the next step, not behind it."""


class Source(Protocol):
    """What the processor asks of the consumer."""

    async def rewind(self, tp: TP, offset: int) -> None:
        """Fetch from this offset on."""

    async def earliest(self, tp: TP) -> int:
        """The first offset that the broker still has."""


class Processor:
    """All lanes of one worker."""

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        outbox: Outbox,
        telemetry: Telemetry,
        clock: BrokerClock,
        *,
        candidate: Plan | None = None,
    ) -> None:
        """No lanes yet: they open when recovery gives their state. `candidate` is the policy that runs as a shadow."""
        self.plan = plan
        self._candidate = candidate
        self.tasks: dict[int, PartitionTask] = {}
        self.highwater: Callable[[TP], int | None] = lambda _tp: None
        self.source: Source
        """Where records come from; set once by `agents.worker.wiring`."""
        self.on_caught_up: Callable[[], None] = lambda: None
        self._settings = settings
        self._outbox = outbox
        self._telemetry = telemetry
        self._clock = clock
        self._first = True

    # -- lanes --------------------------------------------------------------------------------------------------------

    def open(self, partition: int, records: dict[bytes, bytes]) -> None:
        """Start a lane from what its changelog holds. Raises `stream.columns.row_schema.LayoutError`."""
        partitions = self._settings.partitions
        opened = open_namespaces(
            records,
            self.plan,
            self._candidate,
            lambda plan: Engine(
                plan,
                owns=lambda account: partition_of(account.encode(), partitions) == partition,
                dedup_ids=self._settings.dedup_ids if self._settings.dedup else None,
                partition=partition,
            ),
        )
        log_opened(opened, partition)
        opened.pair.on_failure = lambda error: log_failure(error, partition)
        self.tasks[partition] = PartitionTask(partition, opened.pair, opened.namespaces)

    def close(self, partition: int) -> None:
        """Drop a lane that belongs to another worker now, and what it has not written yet."""
        if self.tasks.pop(partition, None) is not None:
            self._outbox.drop(partition)

    def full(self) -> set[TP]:
        """Source partitions of which enough waits."""
        return {
            TP(TOPICS[source_index], partition)
            for partition, task in self.tasks.items()
            for source_index, count in enumerate(task.merge.waiting)
            if count + len(task.arrived.get(source_index, ())) >= WAITING_LIMIT
        }

    # -- records in ---------------------------------------------------------------------------------------------------

    async def take(self, fetched: Records) -> None:
        """Put fetched records in their lane, if they connect to those before; `work` applies them."""
        tp, source_index = fetched.tp, TOPICS.index(fetched.tp.topic)
        task = self.tasks.get(tp.partition)
        if task is None:
            return
        if self._first:
            self._first = False
            log.info("first_batch", at_ms=time.time_ns() // 1_000_000, topic=tp.topic)
        if fetched.start > task.reached(source_index) and not await self._bridge(task, source_index, fetched):
            return
        # A lane that has taken nothing yet lets pass what its state holds already: ids may have to be learned again.
        known = task.fetched.get(source_index, 0)
        records = fetched.records
        if records and records[0].offset < known:
            records = [record for record in records if record.offset >= known]
        if records:
            task.arrived.setdefault(source_index, []).extend(records)
        task.fetched[source_index] = max(known, fetched.end)
        task.taken_at[source_index] = time.monotonic()
        task.given_up.discard(source_index)

    async def _bridge(self, task: PartitionTask, source_index: int, fetched: Records) -> bool:
        """Deal with a gap before fetched records; whether they may be taken.

        Either a fetch was lost on its way while partitions moved: then it is done again, and these records with it.
        Or the broker has removed the records (retention): they can only be counted.
        """
        tp, begin = fetched.tp, await self._first_left(task, source_index, fetched.tp)
        if fetched.start <= begin:
            return True
        log.info("fetch_again", topic=tp.topic, partition=tp.partition, first=begin, before=fetched.start)
        await self.source.rewind(tp, begin)
        return False

    async def _first_left(self, task: PartitionTask, source_index: int, tp: TP) -> int:
        """The first offset to take next; what the broker has removed is passed over and counted."""
        begin, earliest = task.reached(source_index), await self.source.earliest(tp)
        if earliest <= begin:
            return begin
        if begin:
            log.error("records_removed", topic=tp.topic, partition=tp.partition, first=begin, before=earliest)
            self._telemetry.removed.labels(tp.topic).inc(earliest - begin)
        task.fetched[source_index] = earliest
        return earliest

    async def work(self) -> None:
        """Apply all that was taken, as far as the other sources of each lane allow."""
        for task in list(self.tasks.values()):
            await self.run(task)

    @staticmethod
    def _absorb(task: PartitionTask) -> None:
        """Decode what was taken and put it in line: what is not there yet would look to others as if it did not lag."""
        arrived, task.arrived = task.arrived, {}
        for source_index, records in arrived.items():
            task.merge.add(read(TOPICS[source_index], records, task.fetched[source_index]))
        for source_index, end in task.fetched.items():
            name = INPUT_SOURCES[source_index]
            if not task.merge.waiting[source_index] and end > task.engine.position[name]:
                task.engine.position[name] = end  # markers of transactions lie before it, and no record
                task.changed = True

    def _release(self, task: PartitionTask) -> list[Batch]:
        self._absorb(task)
        return task.merge.release(lambda source_index: self._lags(task, source_index))

    async def run(self, task: PartitionTask) -> None:
        """Apply what may be applied now."""
        while task.ready and (batches := self._release(task)):
            self._agree(task)
            self._enter(task)
            oldest = min((int(batch.stamps[0]) for batch in batches if len(batch.stamps)), default=0)
            effects = task.pair.step(batches, task.mode, self._clock.now_ms())
            self._carry_out(task, effects, batches)
            if effects.scores and task.mode is Mode.HEAD:
                self._telemetry.latency.observe(max(0.0, (self._clock.now_ms() - oldest) / 1000))
            self._leave(task)
            task.applied_at = time.monotonic()
            task.changed = True
            if task.commit_soon and not any(self.lag(task).values()):
                task.commit_soon = False
                self.on_caught_up()
            self._telemetry.last_progress.set_to_current_time()
            await self._outbox.room()
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            if self.tasks.get(task.partition) is not task:
                return

    # -- how far behind -----------------------------------------------------------------------------------------------

    def _end(self, task: PartitionTask, source_index: int) -> int | None:
        return self.highwater(TP(TOPICS[source_index], task.partition))

    def _ends(self, task: PartitionTask) -> list[int] | None:
        """Where the lane's sources end; None until all of them were asked."""
        ends = [self._end(task, source_index) for source_index in range(len(INPUT_SOURCES))]
        return None if None in ends else [end or 0 for end in ends]

    def _lags(self, task: PartitionTask, source_index: int) -> bool:
        """Whether the merge should wait for more of this source: more is there, and the wait is not too long."""
        end = self._end(task, source_index)
        more = end is None or max(task.reached(source_index), task.engine.position[INPUT_SOURCES[source_index]]) < end
        if not more or task.merge.waiting[source_index]:
            task.blocked_since.pop(source_index, None)
            return more
        since = task.blocked_since.setdefault(source_index, time.monotonic())
        if time.monotonic() - since > self._settings.merge_wait_s:
            task.given_up.add(source_index)
        return source_index not in task.given_up

    def lag(self, task: PartitionTask) -> dict[str, int]:
        """Records on the broker that are not applied, by topic."""
        return {
            TOPICS[source_index]: max(0, (self._end(task, source_index) or 0) - task.engine.position[name])
            for source_index, name in enumerate(INPUT_SOURCES)
        }

    def _enter(self, task: PartitionTask) -> None:
        if task.mode is Mode.HEAD and sum(self.lag(task).values()) > self._settings.catch_up_lag:
            task.mode = Mode.EXACT if self._settings.catch_up == "exact" else Mode.CONFLATED
            log.info("catching_up", partition=task.partition, mode=task.mode.value, lag=sum(self.lag(task).values()))

    def _leave(self, task: PartitionTask) -> None:
        if task.mode is Mode.HEAD or sum(self.lag(task).values()) > self._settings.catch_up_lag // 10:
            return
        if task.mode is Mode.CONFLATED:
            self._carry_out(task, task.pair.flush(Mode.CONFLATED), ())
            effects = task.pair.caught_up()
        else:
            effects = task.pair.flush(Mode.HEAD)
        task.mode = Mode.HEAD
        task.commit_soon = True
        self._carry_out(task, effects, ())
        log.info("caught_up", partition=task.partition)

    async def tick(self) -> None:
        """Once a second: let go of sources waited for too long, and let idle lanes age by the clock."""
        for task in [task for task in self.tasks.values() if task.ready]:
            if task.merge or task.arrived:
                await self.run(task)
            await self._ask_again(task)
            idle = time.monotonic() - task.applied_at > IDLE_S and not task.merge and self._ends(task) is not None
            idle = idle and task.mode is Mode.HEAD and not any(self.lag(task).values())
            if self._settings.time == "live" and idle:
                before = task.engine.as_of
                effects = task.pair.tick(self._clock.now_ms())
                # A border that was passed is to be saved, whatever it made the engine say, alerts alone or nothing.
                task.changed |= task.engine.as_of != before or task.namespaces.waits
                self._carry_out(task, effects, ())
            self._agree(task, idle=idle)

    def _agree(self, task: PartitionTask, *, idle: bool = False) -> None:
        """Once after it has opened and come as far as the worker before: tell readers what they were told otherwise.

        Where it never will (somebody else wrote alerts), it is enough that all there is was applied a while ago.
        """
        self._go_on(task, idle=idle)
        if task.told is None or task.mode is Mode.CONFLATED or task.engine.as_of is None:
            return
        if not (idle or task.told.due(task.engine)):
            return
        told, task.told = task.told, None
        self._carry_out(task, told.agree(task.engine), ())
        task.published_up_to[ALERTS] = told.end
        task.changed = True

    def _go_on(self, task: PartitionTask, *, idle: bool) -> None:
        """Wait no longer for accounts to come as far as readers heard of them, when all that was there is applied."""
        engine, heard = task.engine, task.engine.publisher.heard
        if not heard:
            return
        task.ends = task.ends or self._ends(task)
        reached = [engine.position[name] for name in INPUT_SOURCES]
        all_there = task.ends is not None and all(map(int.__ge__, reached, task.ends))
        # The worker before may have passed a border by the clock, with which this one has not caught up yet.
        if idle or (all_there and (engine.as_of or 0) >= min(heard.until_ms, self._clock.now_ms())):
            heard.give_up(engine.accounts, engine.plan)
            task.changed = True

    async def _ask_again(self, task: PartitionTask) -> None:
        """Fetch again what does not come though it is there: Faust drops a message it holds while partitions move."""
        full = self.full()
        for source_index, topic in enumerate(TOPICS):
            tp, begin, now = TP(topic, task.partition), task.reached(source_index), time.monotonic()
            waited = now - task.taken_at.setdefault(source_index, now)
            if waited > STALLED_S and tp not in full and begin < (self._end(task, source_index) or 0):
                begin = await self._first_left(task, source_index, tp)
                log.info("fetch_again", topic=topic, partition=task.partition, first=begin, waited_s=round(waited))
                task.taken_at[source_index] = now
                await self.source.rewind(tp, begin)
                self._absorb(task)  # where nothing is left, nothing lags

    def flush(self, task: PartitionTask) -> None:
        """Publish what conflation holds back; called before a lane's state is saved."""
        self._carry_out(task, task.pair.flush(task.mode), ())
        self._outbox.put(SHADOW, task.partition, task.namespaces.tombstones())

    # -- effects out --------------------------------------------------------------------------------------------------

    def _carry_out(self, task: PartitionTask, effects: Effects, batches: Sequence[Batch]) -> None:
        telemetry, partition = self._telemetry, task.partition
        self._outbox.put(SCORES, partition, effects.scores)
        self._outbox.put(CHANGES, partition, effects.changes)
        if task.told is not None:
            task.told.hold(effects)
        if effects.alerts:
            head = ((POSITION_HEADER, position_of(task.engine)),)
            self._outbox.put(ALERTS, partition, [alert._replace(headers=head) for alert in effects.alerts])
        self._outbox.put(SHADOW, partition, effects.shadow)
        for letter in effects.dead_letters:
            batch = batches[letter.batch]
            self._outbox.put(batch.source + DLQ_SUFFIX, partition, [dead_letter(batch, partition, letter)])
            telemetry.dead_letters.labels(batch.source, letter.reason).inc()
        for forward in effects.forwards:
            target = partition_of(forward.account.encode(), self._settings.partitions)
            self._outbox.put(REPARTITION, target, [forwarded(batches[forward.batch], forward)])
        for (source, outcome), count in effects.outcomes.items():
            if count:
                telemetry.events.labels(source, outcome).inc(count)
        for (score, cause), count in effects.causes.items():
            telemetry.changes.labels(score, cause).inc(count)
        for (rule, status), count in effects.alerted.items():
            telemetry.alerts.labels(rule, status).inc(count)
        for rule, count in effects.flaps.items():
            telemetry.flaps.labels(rule).inc(count)
