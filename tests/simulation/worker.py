"""A simulated worker: the product's own processor, outbox, commits and restorer over a simulated consumer.

Owns what Faust and aiokafka do in a real worker: join the group, read changelogs, fetch, beat, commit by a timer and
leave. Everything that decides whether a record is right is the product's code. Called by `tests.simulation.schedule`.
"""

from __future__ import annotations

import asyncio
import contextvars
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaError
from faust.types import TP

from agents.settings.settings import Settings
from agents.worker.client.consumer import Records
from agents.worker.commit.checkpoint import Checkpointer
from agents.worker.commit.fencing import TaskProducers
from agents.worker.commit.handover import Handover
from agents.worker.commit.lease import Lease
from agents.worker.commit.outbox import Outbox
from agents.worker.monitoring.metrics import Telemetry
from agents.worker.tasks.broker_facts import Facts
from agents.worker.tasks.clock import BrokerClock
from agents.worker.tasks.loop import WorkLoop
from agents.worker.tasks.processor import AT_A_BOUNDARY, Processor
from agents.worker.tasks.records import outputs_of
from agents.worker.tasks.restorer import Restorer
from agents.worker.tasks.takeover import Takeover
from agents.worker.tasks.task_state import TaskState
from schemas.sources import BUILT_IN
from schemas.topics import POSITION_HEADER
from stream.recovery.continuity import SourceLog
from stream.recovery.namespaces import PUBLISHED_KEYS
from stream.recovery.reconciler import Reconciler, Tail, start_of
from stream.recovery.writer import Writer
from tests.faults.topic_log import PARTITIONS
from tests.simulation.clients import CHANGELOG, Clients

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

    from stream.plan.plan import Plan
    from tests.simulation.broker import Broker
    from tests.simulation.network import Network

SESSION_S = 6.0
COMMIT_S = 0.5
SETTINGS = Settings(
    group="simulation",
    time="event",
    catch_up="exact",
    partitions=PARTITIONS,
    commit_interval_s=COMMIT_S,
    session_timeout_s=SESSION_S,
    merge_wait_s=60,
)
_IDLE_S = 0.25
_TELEMETRY = Telemetry(BUILT_IN)

OWNER: contextvars.ContextVar[Worker | None] = contextvars.ContextVar("owner", default=None)
"""The worker that the running code belongs to; its tasks end with it."""


def task_of_owner(
    loop: asyncio.AbstractEventLoop, coroutine: Any, *, context: contextvars.Context | None = None
) -> asyncio.Task[Any]:
    """Make a task, and register it with the worker that it belongs to."""
    task = asyncio.Task(coroutine, loop=loop, context=context)
    owner = OWNER.get() if context is None else context.get(OWNER)
    if owner is not None:
        owner.tasks.add(task)
        task.add_done_callback(owner.tasks.discard)
    return task


class Worker:
    """One worker process, from its start to its end."""

    def __init__(
        self,
        name: str,
        plan: Plan,
        broker: Broker,
        network: Network,
        random: random.Random,
        *,
        with_standbys: bool = False,
    ) -> None:
        """Make all parts; `start` lets them run. With standbys it reads the changelogs of all others' partitions."""
        # long because: one statement for each part
        self.name = name
        self.tasks: set[asyncio.Task[Any]] = set()
        self.network = network
        self.errors: list[BaseException] = []
        """Errors for which a real worker would have ended with status 71."""
        self._broker = broker
        self._random = random
        self._generation = -1
        self._positions: dict[TP, int] = {}
        self._ends: dict[TP, int] = {}
        self._followed: dict[TP, int] = {}
        self._rejoin = self._stopping = False
        self._with_standbys = with_standbys
        self.lease, clock = Lease(SESSION_S), BrokerClock()
        clients = Clients(broker, network, self._ask_to_rejoin)
        self.producers = TaskProducers(
            clients,
            SETTINGS.group,
            (*outputs_of(BUILT_IN), CHANGELOG),
            may_write=self.lease.holds,
            on_fatal=self._fatal,
        )
        self.outbox = Outbox(
            self.producers,
            _TELEMETRY,
            now_ms=clock.now_ms,
            on_append_ms=clock.learn,
            may_write=self.lease.holds,
            on_fatal=self._fatal,
        )
        most_at_once = AT_A_BOUNDARY if name.endswith(("1", "3", "5", "7", "9")) else 0  # the others wait at boundaries
        self.processor = Processor(plan, SETTINGS, self.outbox, _TELEMETRY, clock, most_at_once=most_at_once)
        self._loop = WorkLoop(self.processor, on_fatal=self._fatal)
        self.checkpointer = Checkpointer(
            self.processor,
            self.outbox,
            _TELEMETRY,
            changelog_topic=CHANGELOG,
            commit_offsets=self._commit_offsets,
            on_fatal=self._fatal,
            rarely_s=COMMIT_S,
        )
        self.handover = Handover(self.processor, self.checkpointer, self.lease, BUILT_IN.topics, "changelog")
        self.processor.source = self
        self.processor.highwater = self._ends.get
        self.processor.on_commit_due = self.handover.commit_soon
        self.restorer = self._make_restorer(plan)
        self.restorer.rejoin = clients.rejoin
        self.producers.on_lost = self.outbox.on_lost = self.restorer.lose

    def _make_restorer(self, plan: Plan) -> Restorer:
        writer = Writer(worker=self.name, version="1", policy=plan.label, settings={}, configuration="same")
        return Restorer(
            self.processor,
            self.checkpointer,
            changelog_topic=CHANGELOG,
            read_published=self._read_published,
            bounds=self._bounds,
            takeover=Takeover(writer, CHANGELOG, read_facts=self._read_facts, rival_wait_s=SESSION_S),
            find_record=lambda *_: None,
            on_fatal=self._fatal,
        )

    # -- start and end ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to run."""
        context = contextvars.copy_context()
        context.run(OWNER.set, self)
        loop = asyncio.get_running_loop()
        for activity in (self._live, self._beat, self._watch, self._commit_by_timer, self._tick, self._follow):
            self.tasks.add(loop.create_task(activity(), context=context))

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return bool(self.tasks)

    def kill(self) -> None:
        """End at once, as SIGKILL does: what was sent stays sent."""
        for task in list(self.tasks):
            task.cancel()

    def stop(self) -> None:
        """End as after SIGTERM."""
        self._stopping = True

    def _fatal(self, error: BaseException) -> None:
        self.errors.append(error)
        self.kill()

    # -- the consumer -------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        while not self._stopping:
            await self._join()
            await self._flow()
            await self.handover.leave(self._leave())
        await self.network.call(lambda: self._broker.group.leave(self.name, _now()))
        self.kill()

    async def _leave(self) -> None:
        await self.handover.commit_last()

    def _ask_to_rejoin(self) -> None:
        self._rejoin = True

    async def _join(self) -> None:
        before = {tp.partition for tp in self._positions if tp.topic == BUILT_IN.topics[0]}
        answer = await self.network.call(lambda: self._broker.group.join(self.name, _now()))
        generation, numbers = await answer
        self._rejoin = False
        await self.network.call(lambda: None)  # the way of the answer
        self._generation = generation
        self.handover.session_lost()
        self.lease.begin(_now())
        await self.producers.take_over(numbers)
        others = [n for n in range(PARTITIONS) if n not in numbers] if self._with_standbys else []
        mine, revoked, standbys = (
            [TP(CHANGELOG, n) for n in each] for each in (numbers, before - {*numbers, *others}, others)
        )
        self.restorer.assign(mine, revoked, standbys)
        self._followed = {tp: self._read_before(tp) for tp in standbys}
        unread = {tp: self._read_before(tp) for tp in mine}
        while unread:
            for tp, start in unread.items():
                await self._read_changelog(tp, start)
            unread = {tp: start or 0 for tp, start in (await self.restorer.complete(mine)).items()}
        committed = await self.network.call(lambda: dict(self._broker.group.offsets))
        self._positions = {TP(topic, n): committed.get((topic, n), 0) for topic in BUILT_IN.topics for n in numbers}

    async def _bounds(self, changelogs: Sequence[TP]) -> dict[TP, tuple[int, int]]:
        return await self.network.call(lambda: {tp: (0, self._broker.logs[tp].end) for tp in changelogs})

    def _read_before(self, tp: TP) -> int:
        """Where Faust goes on to read: at the last record that was read."""
        return max(0, (self.restorer.read_up_to(tp) or 0) - 1)

    async def _follow(self) -> None:
        """Read the changelogs of standbys."""
        while True:
            await asyncio.sleep(_IDLE_S)
            for tp, start in list(self._followed.items()):
                fetch = partial(self._broker.fetch, tp, start, self._random.randint(1, 200))
                try:
                    records, after, _ = await self.network.call(fetch)
                except KafkaError:
                    continue
                if self._followed.get(tp) != start:
                    continue  # partitions have moved; now and then it comes nevertheless
                self._followed[tp] = after
                if after == start or self._random.random() < 0.05:
                    continue
                if not self.restorer.collect(Records(tp, _in_product_form(records), start, after)):
                    connects_at = await self.restorer.connect(tp)
                    if connects_at is not None and tp in self._followed:
                        self._followed[tp] = connects_at

    async def _read_changelog(self, tp: TP, start: int) -> None:
        end = await self.network.call(lambda: self._broker.logs[tp].end)
        while start < end:
            limit = self._random.randint(1, 200)
            records, after, _ = await self.network.call(lambda s=start, n=limit: self._broker.fetch(tp, s, n))  # type: ignore[misc]
            self.restorer.collect(Records(tp, _in_product_form(records), start, after))
            start = after

    async def _flow(self) -> None:
        while not (self._rejoin or self._stopping):
            for fetched in await self._poll():
                await self.processor.take(fetched)
            await self.processor.work()

    async def _poll(self) -> list[Records]:
        full = self.processor.full()
        wanted = {tp: offset for tp, offset in self._positions.items() if tp not in full}
        limit = self._random.randint(1, 20)
        try:
            answers = await self.network.call(
                lambda: {tp: self._broker.fetch(tp, offset, limit) for tp, offset in wanted.items()}
            )
        except KafkaError:
            return []
        fetched = []
        for tp, (records, after, end) in answers.items():
            self._ends[tp] = end
            start = wanted[tp]
            if after > start and self._positions.get(tp) == start:
                self._positions[tp] = after
                if self._random.random() > 0.05:  # Faust drops fetches while partitions move
                    fetched.append(Records(tp, _in_product_form(records), start, after))
        if not fetched:
            await asyncio.sleep(_IDLE_S)
        self._random.shuffle(fetched)
        return fetched

    async def rewind(self, tp: TP, offset: int) -> None:
        """Fetch from this offset on."""
        if tp in self._positions:
            self._positions[tp] = offset

    async def earliest(self, tp: TP) -> int:
        """The first offset that the broker still has."""
        del tp
        await asyncio.sleep(0)
        return 0

    # -- timers -------------------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(SESSION_S / 4)
            if self._generation < 0:
                continue
            sent, generation = _now(), self._generation
            try:
                answer = await self.network.call(
                    lambda g=generation: self._broker.group.heartbeat(self.name, g, _now())  # type: ignore[misc]
                )
            except KafkaError:
                continue
            if generation != self._generation:
                continue
            if answer == "unknown":
                self.lease.end()
            else:
                self.lease.renew(sent)
            if answer != "ok":
                self._rejoin = True

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            if self.handover.session_lost():
                self._rejoin = True

    async def _commit_by_timer(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_S)
            await self.handover.commit()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            await self._loop.tick()

    # -- what the product asks for ------------------------------------------------------------------------------------

    async def _commit_offsets(self, offsets: Mapping[TP, int]) -> bool:
        mine = {(tp.topic, tp.partition): offset for tp, offset in offsets.items() if tp in self._positions}
        generation = self._generation
        try:
            return bool(mine) and await self.network.call(
                lambda: self._broker.group.commit(self.name, generation, mine)
            )
        except KafkaError:
            return False

    def _read_published(self, committed: Mapping[int, Mapping[str, int]]) -> dict[int, Reconciler]:
        return {
            number: Reconciler({topic: self._tail((topic, number), offsets) for topic in PUBLISHED_KEYS})
            for number, offsets in committed.items()
        }

    def _read_facts(self, partitions: Sequence[int]) -> Facts:
        logs = {number: [self._source_log((topic, number)) for topic in BUILT_IN.topics] for number in partitions}
        return Facts(logs, dict.fromkeys(partitions, 0), [])

    def _source_log(self, tp: tuple[str, int]) -> SourceLog:
        committed = self._broker.group.offsets.get(tp)
        return SourceLog(tp[0], 0, self._broker.logs[tp].end, committed, marked=committed is not None)

    def _tail(self, tp: tuple[str, int], committed: Mapping[str, int]) -> Tail:
        end = self._broker.logs[tp].end
        start = start_of(tp[0], committed, end)
        records, _, _ = self._broker.fetch(tp, start, end)
        return Tail(start, end, [(record.value, dict(record.headers).get(POSITION_HEADER)) for record in records])

    def done(self) -> set[int]:
        """The partitions of which it has applied, published and committed all it knows of, and holds nothing back."""
        if len(self.outbox):
            return set()
        return {
            task.partition
            for task in self.processor.in_state(TaskState.RUNNING)
            if not (task.changed or task.reconciler or task.engine.merging.pending())
            and not any(self.processor.lag(task).values())
        }


def _in_product_form(records: Sequence[Any]) -> list[Any]:
    return [
        SimpleNamespace(
            offset=record.offset,
            timestamp=record.timestamp_ms,
            key=record.key,
            value=record.value,
            headers=list(record.headers),
        )
        for record in records
    ]


def _now() -> float:
    return asyncio.get_running_loop().time()
