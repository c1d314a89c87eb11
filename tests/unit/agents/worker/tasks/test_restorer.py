"""What a rebalance and a recovery do to tasks: created, restored, resumed, closed."""

from __future__ import annotations

import asyncio

import pytest
from kafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError

from agents.kafka.client import BrokerError
from agents.kafka.probe import ConnectionFailedError
from agents.worker.tasks import restorer as restorers
from agents.worker.tasks.task_state import TaskState
from tests.driving.restoring import ONE, USAGE, ZERO, Stage, records


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
        assert await stage.restorer.complete([ZERO, ONE]) == {ZERO: None}
        assert stage.states() == {0: TaskState.CREATED, 1: TaskState.RESTORING}
        stage.restorer.collect(records(ZERO, first, *[b"l"] * (end - first - 1)))
        assert await stage.restorer.complete([ZERO, ONE]) == {ZERO: None}
        stage.restorer.collect(records(ZERO, first, *[b"a"] * (end - first)))
        assert await stage.restorer.complete([ZERO, ONE]) == {}
        assert stage.bench.errors == []
        assert stage.states() == {0: TaskState.RUNNING, 1: TaskState.RUNNING}
        assert stage.bench.errors == []

    asyncio.run(scenario())


def test_a_changelog_of_which_nothing_was_read_is_never_an_empty_state() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.restorer.assign([ZERO], [])
        stage.bounds[ZERO] = (0, 5)
        assert await stage.restorer.complete([ZERO]) == {ZERO: None}
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
