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
from agents.worker.shadow_log import note_failure, note_opened
from agents.worker.task import Lane
from schemas.topics import ALERTS, CHANGES, DLQ_SUFFIX, INBOX, POSITION_HEADER, SCORES, SHADOW
from stream.engine.engine import Engine, Mode
from stream.ingest.batch import LINES, Batch
from stream.plan.plan import Plan
from stream.publishing.effects import Effects
from stream.recovery.alert_reconciler import position_of
from stream.recovery.namespaces import open_books

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
        self.lanes: dict[int, Lane] = {}
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
        opened = open_books(
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
        note_opened(opened, partition)
        opened.pair.on_failure = lambda error: note_failure(error, partition)
        self.lanes[partition] = Lane(partition, opened.pair, opened.books)

    def close(self, partition: int) -> None:
        """Drop a lane that belongs to another worker now, and what it has not written yet."""
        if self.lanes.pop(partition, None) is not None:
            self._outbox.drop(partition)

    def full(self) -> set[TP]:
        """Source partitions of which enough waits."""
        return {
            TP(TOPICS[fence], partition)
            for partition, lane in self.lanes.items()
            for fence, count in enumerate(lane.merge.waiting)
            if count + len(lane.arrived.get(fence, ())) >= WAITING_LIMIT
        }

    # -- records in ---------------------------------------------------------------------------------------------------

    async def take(self, fetched: Records) -> None:
        """Put fetched records in their lane, if they connect to those before; `work` applies them."""
        tp, fence = fetched.tp, TOPICS.index(fetched.tp.topic)
        lane = self.lanes.get(tp.partition)
        if lane is None:
            return
        if self._first:
            self._first = False
            log.info("first_batch", at_ms=time.time_ns() // 1_000_000, topic=tp.topic)
        if fetched.start > lane.reached(fence) and not await self._bridge(lane, fence, fetched):
            return
        # A lane that has taken nothing yet lets pass what its state holds already: ids may have to be learned again.
        known = lane.fetched.get(fence, 0)
        records = fetched.records
        if records and records[0].offset < known:
            records = [record for record in records if record.offset >= known]
        if records:
            lane.arrived.setdefault(fence, []).extend(records)
        lane.fetched[fence] = max(known, fetched.end)
        lane.taken_at[fence] = time.monotonic()
        lane.given_up.discard(fence)

    async def _bridge(self, lane: Lane, fence: int, fetched: Records) -> bool:
        """Deal with a gap before fetched records; whether they may be taken.

        Either a fetch was lost on its way while partitions moved: then it is done again, and these records with it.
        Or the broker has removed the records (retention): they can only be counted.
        """
        tp, begin = fetched.tp, await self._first_left(lane, fence, fetched.tp)
        if fetched.start <= begin:
            return True
        log.info("fetch_again", topic=tp.topic, partition=tp.partition, first=begin, before=fetched.start)
        await self.source.rewind(tp, begin)
        return False

    async def _first_left(self, lane: Lane, fence: int, tp: TP) -> int:
        """The first offset to take next; what the broker has removed is passed over and counted."""
        begin, earliest = lane.reached(fence), await self.source.earliest(tp)
        if earliest <= begin:
            return begin
        if begin:
            log.error("records_removed", topic=tp.topic, partition=tp.partition, first=begin, before=earliest)
            self._telemetry.removed.labels(tp.topic).inc(earliest - begin)
        lane.fetched[fence] = earliest
        return earliest

    async def work(self) -> None:
        """Apply all that was taken, as far as the other sources of each lane allow."""
        for lane in list(self.lanes.values()):
            await self.run(lane)

    @staticmethod
    def _absorb(lane: Lane) -> None:
        """Decode what was taken and put it in line: what is not there yet would look to others as if it did not lag."""
        arrived, lane.arrived = lane.arrived, {}
        for fence, records in arrived.items():
            lane.merge.add(read(TOPICS[fence], records, lane.fetched[fence]))
        for fence, end in lane.fetched.items():
            name = LINES[fence]
            if not lane.merge.waiting[fence] and end > lane.engine.position[name]:
                lane.engine.position[name] = end  # markers of transactions lie before it, and no record
                lane.changed = True

    def _release(self, lane: Lane) -> list[Batch]:
        self._absorb(lane)
        return lane.merge.release(lambda fence: self._lags(lane, fence))

    async def run(self, lane: Lane) -> None:
        """Apply what may be applied now."""
        while lane.ready and (batches := self._release(lane)):
            self._agree(lane)
            self._enter(lane)
            oldest = min((int(batch.stamps[0]) for batch in batches if len(batch.stamps)), default=0)
            effects = lane.pair.step(batches, lane.mode, self._clock.now_ms())
            self._carry_out(lane, effects, batches)
            if effects.scores and lane.mode is Mode.HEAD:
                self._telemetry.latency.observe(max(0.0, (self._clock.now_ms() - oldest) / 1000))
            self._leave(lane)
            lane.applied_at = time.monotonic()
            lane.changed = True
            if lane.hurry and not any(self.lag(lane).values()):
                lane.hurry = False
                self.on_caught_up()
            self._telemetry.last_progress.set_to_current_time()
            await self._outbox.room()
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            if self.lanes.get(lane.partition) is not lane:
                return

    # -- how far behind -----------------------------------------------------------------------------------------------

    def _end(self, lane: Lane, fence: int) -> int | None:
        return self.highwater(TP(TOPICS[fence], lane.partition))

    def _ends(self, lane: Lane) -> list[int] | None:
        """Where the lane's sources end; None until all of them were asked."""
        ends = [self._end(lane, fence) for fence in range(len(LINES))]
        return None if None in ends else [end or 0 for end in ends]

    def _lags(self, lane: Lane, fence: int) -> bool:
        """Whether the merge should wait for more of this source: more is there, and the wait is not too long."""
        end = self._end(lane, fence)
        more = end is None or max(lane.reached(fence), lane.engine.position[LINES[fence]]) < end
        if not more or lane.merge.waiting[fence]:
            lane.blocked_since.pop(fence, None)
            return more
        since = lane.blocked_since.setdefault(fence, time.monotonic())
        if time.monotonic() - since > self._settings.merge_wait_s:
            lane.given_up.add(fence)
        return fence not in lane.given_up

    def lag(self, lane: Lane) -> dict[str, int]:
        """Records on the broker that are not applied, by topic."""
        return {
            TOPICS[fence]: max(0, (self._end(lane, fence) or 0) - lane.engine.position[name])
            for fence, name in enumerate(LINES)
        }

    def _enter(self, lane: Lane) -> None:
        if lane.mode is Mode.HEAD and sum(self.lag(lane).values()) > self._settings.catch_up_lag:
            lane.mode = Mode.EXACT if self._settings.catch_up == "exact" else Mode.CONFLATED
            log.info("catching_up", partition=lane.partition, mode=lane.mode.value, lag=sum(self.lag(lane).values()))

    def _leave(self, lane: Lane) -> None:
        if lane.mode is Mode.HEAD or sum(self.lag(lane).values()) > self._settings.catch_up_lag // 10:
            return
        if lane.mode is Mode.CONFLATED:
            self._carry_out(lane, lane.pair.flush(Mode.CONFLATED), ())
            effects = lane.pair.arrive()
        else:
            effects = lane.pair.flush(Mode.HEAD)
        lane.mode = Mode.HEAD
        lane.hurry = True
        self._carry_out(lane, effects, ())
        log.info("caught_up", partition=lane.partition)

    async def tick(self) -> None:
        """Once a second: let go of sources waited for too long, and let idle lanes age by the clock."""
        for lane in [lane for lane in self.lanes.values() if lane.ready]:
            if lane.merge or lane.arrived:
                await self.run(lane)
            await self._ask_again(lane)
            idle = time.monotonic() - lane.applied_at > IDLE_S and not lane.merge and self._ends(lane) is not None
            idle = idle and lane.mode is Mode.HEAD and not any(self.lag(lane).values())
            if self._settings.time == "live" and idle:
                before = lane.engine.as_of
                effects = lane.pair.tick(self._clock.now_ms())
                # A border that was passed is to be saved, whatever it made the engine say, alerts alone or nothing.
                lane.changed |= lane.engine.as_of != before or lane.books.waits
                self._carry_out(lane, effects, ())
            self._agree(lane, idle=idle)

    def _agree(self, lane: Lane, *, idle: bool = False) -> None:
        """Once after it has opened and come as far as the worker before: tell readers what they were told otherwise.

        Where it never will (somebody else wrote alerts), it is enough that all there is was applied a while ago.
        """
        self._go_on(lane, idle=idle)
        if lane.told is None or lane.mode is Mode.CONFLATED or lane.engine.as_of is None:
            return
        if not (idle or lane.told.due(lane.engine)):
            return
        told, lane.told = lane.told, None
        self._carry_out(lane, told.agree(lane.engine), ())
        lane.knows[ALERTS] = told.end
        lane.changed = True

    def _go_on(self, lane: Lane, *, idle: bool) -> None:
        """Wait no longer for accounts to come as far as readers heard of them, when all that was there is applied."""
        engine, heard = lane.engine, lane.engine.publisher.heard
        if not heard:
            return
        lane.ends = lane.ends or self._ends(lane)
        reached = [engine.position[name] for name in LINES]
        all_there = lane.ends is not None and all(map(int.__ge__, reached, lane.ends))
        # The worker before may have passed a border by the clock, with which this one has not caught up yet.
        if idle or (all_there and (engine.as_of or 0) >= min(heard.until_ms, self._clock.now_ms())):
            heard.give_up(engine.accounts, engine.plan)
            lane.changed = True

    async def _ask_again(self, lane: Lane) -> None:
        """Fetch again what does not come though it is there: Faust drops a message it holds while partitions move."""
        full = self.full()
        for fence, topic in enumerate(TOPICS):
            tp, begin, now = TP(topic, lane.partition), lane.reached(fence), time.monotonic()
            waited = now - lane.taken_at.setdefault(fence, now)
            if waited > STALLED_S and tp not in full and begin < (self._end(lane, fence) or 0):
                begin = await self._first_left(lane, fence, tp)
                log.info("fetch_again", topic=topic, partition=lane.partition, first=begin, waited_s=round(waited))
                lane.taken_at[fence] = now
                await self.source.rewind(tp, begin)
                self._absorb(lane)  # where nothing is left, nothing lags

    def flush(self, lane: Lane) -> None:
        """Publish what conflation holds back; called before a lane's state is saved."""
        self._carry_out(lane, lane.pair.flush(lane.mode), ())
        self._outbox.put(SHADOW, lane.partition, lane.books.farewells())

    # -- effects out --------------------------------------------------------------------------------------------------

    def _carry_out(self, lane: Lane, effects: Effects, batches: Sequence[Batch]) -> None:
        telemetry, partition = self._telemetry, lane.partition
        self._outbox.put(SCORES, partition, effects.scores)
        self._outbox.put(CHANGES, partition, effects.changes)
        if lane.told is not None:
            lane.told.hold(effects)
        if effects.alerts:
            head = ((POSITION_HEADER, position_of(lane.engine)),)
            self._outbox.put(ALERTS, partition, [alert._replace(headers=head) for alert in effects.alerts])
        self._outbox.put(SHADOW, partition, effects.shadow)
        for letter in effects.dead:
            batch = batches[letter.batch]
            self._outbox.put(batch.source + DLQ_SUFFIX, partition, [dead_letter(batch, partition, letter)])
            telemetry.dead_letters.labels(batch.source, letter.reason).inc()
        for forward in effects.forwards:
            target = partition_of(forward.account.encode(), self._settings.partitions)
            self._outbox.put(INBOX, target, [forwarded(batches[forward.batch], forward)])
        for (source, outcome), count in effects.outcomes.items():
            if count:
                telemetry.events.labels(source, outcome).inc(count)
        for (score, cause), count in effects.causes.items():
            telemetry.changes.labels(score, cause).inc(count)
        for (rule, status), count in effects.alerted.items():
            telemetry.alerts.labels(rule, status).inc(count)
        for rule, count in effects.flaps.items():
            telemetry.flaps.labels(rule).inc(count)
