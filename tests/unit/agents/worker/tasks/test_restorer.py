"""What a rebalance and a recovery do to tasks: created, restored, resumed, closed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from faust.types import TP
from kafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError

from agents.kafka.client import BrokerError
from agents.kafka.probe import ConnectionFailedError
from agents.kafka.source_records import TOPICS
from agents.worker.client.consumer import Records
from agents.worker.commit.checkpoint import Checkpointer
from agents.worker.commit.handover import Handover
from agents.worker.commit.lease import Lease
from agents.worker.fatal import RefusedError
from agents.worker.tasks import restorer as restorers
from agents.worker.tasks import takeover as takeover_module
from agents.worker.tasks.broker_facts import Facts
from agents.worker.tasks.restorer import Restorer
from agents.worker.tasks.takeover import Takeover
from agents.worker.tasks.task_state import TaskState
from stream.recovery.continuity import SourceLog
from stream.recovery.reconciler import Reconciler
from stream.recovery.writer import WRITER_KEY, Member, Writer, decode_writer, encode_writer, succeed
from tests.driving.worker import Bench, Producer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from stream.publishing.effects import Message

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
        self.broker_errors: list[Exception] = []
        """What the broker answers first."""
        self.members: list[list[Member]] = [[]]
        """The other members of the group each time the broker is asked; the last stay."""
        self.lease = Lease(10)
        self.lease.begin(float("inf"))
        checkpointer = Checkpointer(
            self.processor,
            self.bench.outbox,
            self.bench.telemetry,
            changelog_topic=LOG,
            commit_offsets=self.commit_offsets,
            on_fatal=self.bench.errors.append,
            rarely_s=0,
        )
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
        self.handover = Handover(self.processor, checkpointer, self.lease)

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
            number: [SourceLog(topic, 0, 99, self.committed.get(number), marked=True) for topic in TOPICS[:1]]
            + [SourceLog(topic, 0, 99) for topic in TOPICS[1:]]
            for number in partitions
        }
        if self.broker_errors:
            raise self.broker_errors.pop()
        members = self.members.pop(0) if len(self.members) > 1 else self.members[0]
        return Facts(logs, dict.fromkeys(partitions, 0), members)

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


def test_an_assigned_partition_is_created_read_from_its_beginning_and_runs_after_recovery() -> None:
    async def scenario() -> None:
        stage = Stage()
        assert stage.restorer.assign([ZERO, USAGE, ONE], []) == [ZERO, ONE]
        assert stage.states() == {0: TaskState.CREATED, 1: TaskState.CREATED}
        await stage.restorer.complete([ZERO, ONE])
        assert stage.states() == {0: TaskState.RUNNING, 1: TaskState.RUNNING}
        assert sorted(stage.read) == [0, 1]
        assert stage.bench.errors == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("first", "end"), [(0, 3), (1, 3), (2, 4)], ids=["nothing missing", "compacted", "written meanwhile"]
)
def test_a_changelog_that_was_read_in_part_is_read_again(first: int, end: int) -> None:
    """Faust counts it as read when a record of before the last rebalance comes late."""

    async def scenario() -> None:
        stage = Stage()
        stage.restorer.assign([ZERO, ONE], [])
        stage.bounds[ZERO] = (first, end)
        stage.restorer.collect(records(ZERO, first + 1, *[b"k"] * (end - first - 1)))
        assert await stage.restorer.complete([ZERO, ONE]) == [ZERO]
        assert stage.states() == {0: TaskState.CREATED, 1: TaskState.RESTORING}
        stage.restorer.collect(records(ZERO, first, *[b"l"] * (end - first - 1)))
        assert await stage.restorer.complete([ZERO, ONE]) == [ZERO]
        stage.restorer.collect(records(ZERO, first, *[b"a"] * (end - first)))
        assert await stage.restorer.complete([ZERO, ONE]) == []
        assert stage.bench.errors == []
        assert stage.states() == {0: TaskState.RUNNING, 1: TaskState.RUNNING}
        assert stage.bench.errors == []

    asyncio.run(scenario())


def test_a_changelog_of_which_nothing_was_read_is_never_an_empty_state() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.restorer.assign([ZERO], [])
        stage.bounds[ZERO] = (0, 5)
        assert await stage.restorer.complete([ZERO]) == [ZERO]
        assert stage.states() == {0: TaskState.CREATED}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (KafkaTimeoutError("away"), None),
        (BrokerError("away"), KafkaTimeoutError("away")),
        (BrokerError("away"), ConnectionFailedError("the connection was closed", is_final=False)),
    ],
)
def test_published_records_are_read_again_while_the_broker_is_away(
    monkeypatch: pytest.MonkeyPatch, error: Exception, cause: Exception | None
) -> None:
    monkeypatch.setattr(restorers, "FIRST_PAUSE_S", 0.0)
    error.__cause__ = cause
    errors = [error] * 2

    async def scenario() -> None:
        stage = Stage()

        def on_read() -> None:
            if errors:
                raise errors.pop()

        stage.on_read = on_read
        stage.restorer.assign([ZERO], [])
        await stage.restorer.complete([ZERO])
        assert stage.states() == {0: TaskState.RUNNING}
        assert (errors, stage.bench.errors) == ([], [])

    asyncio.run(scenario())


def test_published_records_that_may_not_be_read_end_the_worker() -> None:
    denied = TopicAuthorizationFailedError("health.alerts")

    async def scenario() -> None:
        stage = Stage()

        def on_read() -> None:
            raise denied

        stage.on_read = on_read
        stage.restorer.assign([ZERO], [])
        await stage.restorer.complete([ZERO])
        assert stage.bench.errors == [denied]

    asyncio.run(scenario())


def test_a_revoked_partition_is_closed() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.restorer.assign([ZERO, ONE], [])
        await stage.restorer.complete([ZERO, ONE])
        gone = stage.processor.tasks[1]
        await stage.leave()
        assert stage.restorer.assign([ZERO], [ONE]) == []
        assert stage.states() == {0: TaskState.RUNNING}
        assert gone.state is TaskState.CLOSED

    asyncio.run(scenario())


def test_a_partition_that_is_assigned_again_goes_on_without_a_restore() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.restorer.assign([ZERO], [])
        await stage.restorer.complete([ZERO])
        task = stage.processor.tasks[0]
        await stage.leave()
        assert task.state is TaskState.SUSPENDED
        assert stage.restorer.assign([ZERO, ONE], []) == [ONE]
        await stage.restorer.complete([ZERO, ONE])
        assert stage.processor.tasks[0] is task
        assert stage.states() == {0: TaskState.RUNNING, 1: TaskState.RUNNING}
        assert stage.read == [0, 1]

    asyncio.run(scenario())


def test_a_partition_that_comes_back_after_it_was_closed_is_restored() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.restorer.assign([ZERO], [])
        await stage.restorer.complete([ZERO])
        before = stage.processor.tasks[0]
        stage.lease.end()
        await stage.leave()
        assert stage.restorer.assign([ZERO], []) == [ZERO]
        await stage.restorer.complete([ZERO])
        assert stage.processor.tasks[0] is not before
        assert stage.read == [0, 0]

    asyncio.run(scenario())


def test_a_rebalance_while_a_changelog_is_read_starts_reading_again() -> None:
    stage = Stage()
    stage.restorer.assign([ZERO], [])
    stage.restorer.collect(records(ZERO, 4, b"x", b"y"))
    before = stage.processor.tasks[0]
    assert set(before.collected) == {b"x", b"y"}
    assert stage.restorer.assign([ZERO], []) == [ZERO]
    assert stage.processor.tasks[0].collected == {}
    stage.restorer.collect(records(ZERO, 0, b"x"))
    assert (set(stage.processor.tasks[0].collected), before.state) == ({b"x"}, TaskState.CLOSED)
    assert stage.bench.errors == []


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_rebalance_while_published_records_are_read_leaves_no_task_half_restored(*, comes_back: bool) -> None:
    async def scenario() -> None:
        stage = Stage()
        loop = asyncio.get_running_loop()
        stage.restorer.assign([ZERO], [])
        before = stage.processor.tasks[0]

        async def rebalance() -> None:
            await stage.leave()
            stage.restorer.assign([ZERO] if comes_back else [], [] if comes_back else [ZERO])

        stage.on_read = lambda: asyncio.run_coroutine_threadsafe(rebalance(), loop).result()
        await stage.restorer.complete([ZERO])
        assert before.state is TaskState.CLOSED
        assert stage.states() == ({0: TaskState.CREATED} if comes_back else {})
        assert stage.bench.producer.sent == [], "no row schema is written for it"
        stage.on_read = lambda: None
        await stage.restorer.complete([ZERO])
        assert stage.states() == ({0: TaskState.RUNNING} if comes_back else {})
        assert stage.bench.errors == []

    asyncio.run(scenario())


def test_changelog_records_of_a_task_that_runs_are_ignored_and_so_are_those_of_none() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.restorer.collect(records(ONE, 0, b"x"))
        stage.restorer.assign([ZERO], [])
        await stage.restorer.complete([ZERO])
        stage.restorer.collect(records(ZERO, 0, b"x"))
        assert stage.processor.tasks[0].collected == {}
        assert set(stage.processor.tasks) == {0}
        assert stage.bench.errors == []

    asyncio.run(scenario())


def test_a_gap_in_a_changelog_ends_the_worker() -> None:
    stage = Stage()
    stage.restorer.assign([ZERO], [])
    stage.restorer.collect(records(ZERO, 0, b"x"))
    stage.restorer.collect(records(ZERO, 5, b"y"))
    assert [str(error) for error in stage.bench.errors] == ["changelog partition 0: records 1 to 5 did not come"]


def test_a_failed_restore_ends_the_worker() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.restorer.assign([ZERO], [])
        error = OSError("the broker is unavailable")

        def fails() -> None:
            raise error

        stage.on_read = fails
        await stage.restorer.complete([ZERO])
        assert stage.bench.errors == [error]

    asyncio.run(scenario())


def test_a_task_whose_producer_is_refused_is_closed_and_restored_where_it_is_assigned_again() -> None:
    async def scenario() -> None:
        stage = Stage()
        rejoined: list[bool] = []

        async def rejoin() -> None:
            rejoined.append(True)

        stage.restorer.rejoin = rejoin
        stage.restorer.assign([ZERO, ONE], [])
        await stage.restorer.complete([ZERO, ONE])
        refused, other = stage.processor.tasks[0], stage.processor.tasks[1]
        stage.restorer.lose(0, RuntimeError("fenced"))
        assert (refused.state, stage.states()) == (TaskState.CLOSED, {1: TaskState.RUNNING})
        assert stage.bench.producers.closed == [0]
        await asyncio.sleep(0)
        assert rejoined == [True]
        await stage.leave()
        assert stage.restorer.assign([ZERO, ONE], []) == [ZERO]
        assert stage.bench.producers.closed == [0], "what was opened at the assignment stays open"
        await stage.restorer.complete([ZERO, ONE])
        assert stage.states() == {0: TaskState.RUNNING, 1: TaskState.RUNNING}
        assert stage.processor.tasks[1] is other

    asyncio.run(scenario())


def changelog_of(tp: TP, first: int, *pairs: tuple[bytes | None, bytes | None]) -> Records:
    listed = [SimpleNamespace(offset=first + index, key=key, value=value) for index, (key, value) in enumerate(pairs)]
    return Records(tp, listed, first, first + len(pairs))


def refused(stage: Stage) -> RefusedError:
    (error,) = stage.bench.errors
    assert isinstance(error, RefusedError)
    return error


def test_a_row_that_can_not_be_read_ends_the_worker_naming_offset_key_account_and_way_out() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.restorer.assign([ZERO], [])
        stage.restorer.collect(changelog_of(ZERO, 17, (b"rbad", b"{}")))
        await stage.restorer.complete([ZERO])
        error = refused(stage)
        assert str(error).startswith("changelog log partition 0 offset 17: the row of account 'bad' (key b'rbad')")
        assert "`vitals state quarantine bad`" in error.way_out
        assert "`vitals state rebuild --partition 0`" in error.way_out
        assert error.names == {
            "topic": LOG, "partition": 0, "offset": 17, "key": repr(b"rbad"), "account": "bad"
        }  # fmt: skip
        assert stage.bench.producer.sent == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("key", "value"),
    [(b"s", b"no JSON"), (b"s", b'{"position": 7}'), (b"p" + bytes(12) + b"acme", b"cut"), (None, b"x"), (b"?", b"x")],
)
def test_a_record_of_any_kind_that_can_not_be_read_ends_the_worker_and_a_later_one_mends_it(
    key: bytes | None, value: bytes
) -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.restorer.assign([ZERO], [])
        stage.restorer.collect(changelog_of(ZERO, 0, (b"s", b'{"position": {}}')))
        stage.restorer.collect(changelog_of(ZERO, 1, (key, value)))
        await stage.restorer.complete([ZERO])
        assert refused(stage).names["key"] == repr(key or b"")
        stage = Stage()
        stage.restorer.assign([ZERO], [])
        stage.restorer.collect(changelog_of(ZERO, 0, (key, value), (b"s", b'{"position": {}}'), (key, None)))
        await stage.restorer.complete([ZERO])
        assert stage.bench.errors == []

    asyncio.run(scenario())


def test_committed_offsets_without_state_end_the_worker_before_it_writes_anything() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.committed[0] = 40
        stage.restorer.assign([ZERO], [])
        await stage.restorer.complete([ZERO])
        error = refused(stage)
        assert str(error) == (
            "changelog log partition 0 has no state: product-usage is committed up to offset 40, "
            "and the changelog has no position"
        )
        assert "`vitals state rebuild --partition 0`" in error.way_out
        assert (stage.bench.producer.sent, stage.read) == ([], [])

    asyncio.run(scenario())


def test_a_worker_writes_who_it_is_when_it_takes_a_partition_over() -> None:
    async def scenario() -> None:
        stage = Stage()
        written: dict[bytes, bytes] = {}

        def put(topic: str, partition: int, records: Iterable[Message[bytes]], **_: object) -> None:
            assert (topic, partition) == (LOG, 0)
            written.update((record.key, record.value) for record in records)

        stage.bench.outbox.put = put  # type: ignore[method-assign,assignment]
        stage.restorer.assign([ZERO], [])
        await stage.restorer.complete([ZERO])
        assert decode_writer(written[WRITER_KEY]).configuration == "new"

    asyncio.run(scenario())


@pytest.mark.parametrize("alive", [True, False])
def test_a_member_with_the_configuration_that_replaced_ours_is_a_rival_only_if_it_stays(
    monkeypatch: pytest.MonkeyPatch, *, alive: bool
) -> None:
    """After all workers were stopped, the group lists them until their sessions end."""
    monkeypatch.setattr(takeover_module, "PAUSE_S", 0.0)

    async def scenario() -> None:
        stage = Stage(0 if alive else 60)
        rival = Member("worker 'two' on h", "1", "newer")
        stage.members = [[rival], [rival], [rival] if alive else []]
        before = Writer(worker="w", version="1", policy="q", settings={}, configuration="newer")
        replaced = Writer(worker="one", version="1", policy="p", settings={}, configuration="new")
        saved = encode_writer(succeed(replaced, before, {}, first=0))
        stage.restorer.assign([ZERO], [])
        stage.restorer.collect(changelog_of(ZERO, 0, (WRITER_KEY, saved)))
        await stage.restorer.complete([ZERO])
        assert stage.states() == {0: TaskState.RESTORING if alive else TaskState.RUNNING}
        assert ["two configurations" in str(error) for error in stage.bench.errors] == [True] * alive

    asyncio.run(scenario())


def test_a_broker_that_does_not_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover_module, "PAUSE_S", 0.0)

    async def scenario() -> None:
        stage = Stage()
        stage.broker_errors = [KafkaTimeoutError("slow"), BrokerError("away"), OSError("reset")]
        stage.restorer.assign([ZERO], [])
        await stage.restorer.complete([ZERO])
        assert (stage.states(), stage.bench.errors) == ({0: TaskState.RUNNING}, [])

    asyncio.run(scenario())


def test_a_task_that_is_revoked_while_the_broker_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(takeover_module, "PAUSE_S", 0.0)

    async def scenario() -> None:
        stage = Stage()
        stage.broker_errors = [KafkaTimeoutError("slow")] * 1000
        stage.restorer.assign([ZERO], [])
        restoring = asyncio.create_task(stage.restorer.complete([ZERO]))
        await asyncio.sleep(0)
        await stage.leave()
        stage.restorer.assign([], [ZERO])
        await restoring
        assert (stage.states(), stage.bench.errors, stage.read) == ({}, [], [])
        assert len(stage.broker_errors) > 900

    asyncio.run(scenario())
