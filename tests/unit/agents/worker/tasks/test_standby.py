"""Standbys: what a worker reads of partitions that others have, and what becomes of it when partitions move."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from agents.worker.monitoring.gauges import measure_standbys
from agents.worker.tasks.standby import SILENT_S, Standby
from agents.worker.tasks.task_state import TaskState
from tests.driving.restoring import ONE, ZERO, Stage, changelog_of, records

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

STATE = (b"s", b'{"position": {"product-usage": 7}}')


def run(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(scenario())


def standby_of(stage: Stage, up_to: int = 4) -> Standby:
    """Let a worker be a standby of partition 0 that has read up to an offset."""
    assert stage.restorer.assign([], [], [ZERO]) == [ZERO]
    assert stage.restorer.collect(changelog_of(ZERO, 0, *[STATE] * up_to))
    return stage.restorer.standbys[0]


def test_a_standby_has_no_task_and_writes_and_shuts_out_nothing() -> None:
    async def scenario() -> None:
        stage = Stage()
        standby = standby_of(stage)
        assert await stage.restorer.complete([]) == {}
        assert stage.states() == {}
        assert stage.bench.producer.sent == []
        assert dict(standby.collected) == dict([STATE])
        assert (standby.read_from, standby.read_up_to) == (0, 4)

    run(scenario)


def test_a_standby_that_takes_over_reads_only_what_it_has_not_read() -> None:
    async def scenario() -> None:
        stage = Stage()
        standby_of(stage)
        assert stage.restorer.assign([ZERO], []) == []
        assert stage.restorer.read_up_to(ZERO) == 4
        stage.bounds[ZERO] = (0, 6)
        assert await stage.restorer.complete([ZERO]) == {ZERO: 4}, "not all is read"
        stage.restorer.collect(records(ZERO, 3, b"s", b"rlate"))  # from the last record on, as Faust reads
        assert await stage.restorer.complete([ZERO]) == {ZERO: 5}
        stage.restorer.collect(changelog_of(ZERO, 5, (b"rlate", None)))
        assert await stage.restorer.complete([ZERO]) == {}
        assert stage.states() == {0: TaskState.RUNNING}
        assert stage.processor.tasks[0].engine.position["product-usage"] == 7
        assert (stage.restorer.standbys, stage.read) == ({}, [0])
        assert stage.bench.errors == []

    run(scenario)


def test_records_that_a_standby_has_read_are_not_added_again() -> None:
    """A deletion between them would be undone."""
    standby = Standby(0)
    assert standby.collect(changelog_of(ZERO, 0, (b"t1", b"x"), (b"t1", None), (b"t2", b"y")).records, 0, 3)
    assert standby.collect(changelog_of(ZERO, 0, (b"t1", b"x")).records, 0, 1)
    assert standby.collect(changelog_of(ZERO, 2, (b"t2", b"y"), (b"t3", b"z")).records, 2, 4)
    assert (dict(standby.collected), standby.read_up_to) == ({b"t2": b"y", b"t3": b"z"}, 4)


@pytest.mark.parametrize(
    ("first", "end"),
    [(0, 3), (0, 0), (5, 9)],
    ids=["the log was cut", "the log is another one", "records after those that were read are gone"],
)
def test_a_changelog_that_does_not_go_on_is_read_from_its_beginning(first: int, end: int) -> None:
    async def scenario() -> None:
        stage = Stage()
        standby_of(stage)
        assert stage.restorer.assign([ZERO], []) == []
        stage.bounds[ZERO] = (first, end)
        assert await stage.restorer.complete([ZERO]) == {ZERO: None}
        task = stage.processor.tasks[0]
        assert (dict(task.collected), stage.restorer.read_up_to(ZERO)) == ({}, None)
        if end:
            stage.restorer.collect(records(ZERO, first, *[b"l"] * (end - first)))
        assert task.has_collected(first, end)
        assert stage.bench.errors == []

    run(scenario)


def test_a_late_fetch_after_a_takeover_is_left_out() -> None:
    async def scenario() -> None:
        stage = Stage()
        standby_of(stage)
        stage.restorer.assign([ZERO], [])
        stage.bounds[ZERO] = (0, 8)
        assert stage.restorer.collect(records(ZERO, 6, b"x", b"y"))
        assert stage.restorer.collect(records(ZERO, 0, b"x"))
        assert await stage.restorer.complete([ZERO]) == {ZERO: 4}
        assert stage.bench.errors == []

    run(scenario)


@pytest.mark.parametrize("first", [0, 5])
def test_a_standby_that_misses_records_goes_on_where_it_is_or_from_the_beginning(first: int) -> None:
    async def scenario() -> None:
        stage = Stage()
        standby = standby_of(stage)
        assert not stage.restorer.collect(records(ZERO, 6, b"x"))
        stage.bounds[ZERO] = (first, 9)
        assert await stage.restorer.connect(ZERO) == (first or 4)
        assert dict(standby.collected) == ({} if first else dict([STATE]))
        stage.restorer.assign([], [ZERO])
        assert await stage.restorer.connect(ZERO) is None

    run(scenario)


def test_a_broker_that_refuses_to_say_where_a_changelog_begins_ends_the_worker() -> None:
    async def scenario() -> None:
        stage = Stage()
        standby_of(stage)
        del stage.bounds
        assert await stage.restorer.connect(ZERO) is None
        assert len(stage.bench.errors) == 1

    run(scenario)


def test_a_standby_that_began_with_a_fetch_of_before_the_assignment_begins_again() -> None:
    standby = Standby(0)
    assert standby.collect(records(ZERO, 7, b"x").records, 7, 8)
    assert standby.collect(records(ZERO, 0, b"y").records, 0, 1)
    assert (dict(standby.collected), standby.read_from, standby.read_up_to) == ({b"y": b"0"}, 0, 1)


def test_a_standby_that_never_saw_the_beginning_is_of_no_use() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.restorer.assign([], [], [ZERO])
        stage.restorer.collect(records(ZERO, 7, b"x"))
        stage.restorer.assign([ZERO], [])
        stage.bounds[ZERO] = (0, 8)
        assert await stage.restorer.complete([ZERO]) == {ZERO: None}

    run(scenario)


def test_a_standby_that_was_silent_for_longer_than_deletions_are_kept_begins_again() -> None:
    clock = [0.0]
    stage = Stage()
    stage.restorer.standbys._now = lambda: clock[0]
    standby = standby_of(stage)
    clock[0] = SILENT_S - 1
    assert stage.restorer.collect(records(ZERO, 4, b"l"))
    clock[0] += SILENT_S + 1
    assert not stage.restorer.collect(records(ZERO, 5, b"l")), "what was deleted meanwhile is not known"
    assert (standby.read_up_to, dict(standby.collected)) == (None, {})
    assert stage.restorer.collect(records(ZERO, 0, *[b"l"] * 6))
    clock[0] += SILENT_S + 1
    assert stage.restorer.assign([ZERO], []) == [ZERO], "and it takes over with nothing"


def test_standbys_stay_while_partitions_move_and_go_with_their_partition() -> None:
    stage = Stage()
    standby = standby_of(stage)
    assert stage.restorer.assign([], [], [ZERO, ONE]) == [ONE]
    assert stage.restorer.standbys[0] is standby
    assert stage.restorer.assign([], [ONE], [ZERO]) == []
    assert set(stage.restorer.standbys) == {0}
    assert stage.restorer.assign([], [ZERO], []) == []
    assert stage.restorer.standbys == {}
    assert stage.restorer.assign([], [], [ZERO]) == [ZERO], "what happened meanwhile is not known: it begins again"


def test_a_task_whose_partition_goes_to_another_worker_is_closed_and_begins_anew_as_a_standby() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.restorer.assign([ZERO, ONE], [])
        await stage.restorer.complete([ZERO, ONE])
        before = stage.processor.tasks[0]
        await stage.leave()
        assert stage.states() == {0: TaskState.SUSPENDED, 1: TaskState.SUSPENDED}
        assert stage.restorer.assign([ONE], [], [ZERO]) == [ZERO]
        assert before.state is TaskState.CLOSED
        assert stage.states() == {1: TaskState.RUNNING}
        stage.restorer.collect(changelog_of(ZERO, 0, STATE))
        assert stage.restorer.assign([ZERO, ONE], []) == []
        stage.bounds[ZERO] = (0, 1)
        assert await stage.restorer.complete([ZERO, ONE]) == {}
        assert stage.states() == {0: TaskState.RUNNING, 1: TaskState.RUNNING}
        assert stage.processor.tasks[0].engine.position["product-usage"] == 7
        assert stage.bench.errors == []

    run(scenario)


@pytest.mark.parametrize("stays", [True, False])
def test_a_rebalance_during_a_takeover_keeps_what_was_read(*, stays: bool) -> None:
    async def scenario() -> None:
        stage = Stage()
        standby_of(stage)
        stage.restorer.assign([ZERO], [])
        stage.restorer.collect(records(ZERO, 4, b"l"))
        await stage.leave()
        assert stage.states() == {}
        if stays:
            assert stage.restorer.assign([ZERO], []) == []
        else:
            assert stage.restorer.assign([], [], [ZERO]) == []
            assert stage.restorer.standbys[0].read_up_to == 5
        assert stage.restorer.read_up_to(ZERO) == 5
        assert stage.bench.errors == []

    run(scenario)


def test_a_rebalance_while_an_engine_is_made_leaves_its_records_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        stage = Stage()
        standby_of(stage)
        stage.restorer.assign([ZERO], [])
        stage.bounds[ZERO] = (0, 4)
        task, loop = stage.processor.tasks[0], asyncio.get_running_loop()
        opener = stage.processor.opener

        async def rebalance() -> None:
            assert stage.restorer.collect(records(ZERO, 4, b"rlate")), "it comes too late, and is not added"
            await stage.leave()
            assert stage.restorer.assign([], [], [ZERO]) == [ZERO]

        def slowly(partition: int) -> Callable:
            def made(collected: dict[bytes, bytes]) -> object:
                asyncio.run_coroutine_threadsafe(rebalance(), loop).result()
                return opener(partition)(collected)

            return made

        monkeypatch.setattr(stage.processor, "opener", slowly)
        assert await stage.restorer.complete([ZERO]) == {}
        assert (stage.states(), task.state) == ({}, TaskState.CLOSED)
        assert set(task.collected) == {b"s"}
        assert stage.bench.errors == []

    run(scenario)


def test_a_standby_says_once_that_it_is_ready_and_how_far_it_is_behind(capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage()
    ends = {ZERO: 9}
    stage.processor.highwater = ends.get
    standby = standby_of(stage)
    telemetry = stage.bench.telemetry

    def lag() -> float | None:
        measure_standbys(stage.restorer.standbys, stage.restorer.end_of, telemetry)
        return telemetry.registry.get_sample_value("vitals_standby_lag_records", {"partition": "0"})

    assert (lag(), standby.is_ready) == (5, False)
    stage.restorer.collect(changelog_of(ZERO, 4, *[(b"ra", b"1")] * 5))
    assert (lag(), standby.is_ready) == (0, True)
    assert telemetry.registry.get_sample_value("vitals_standby_rows") == 1
    ends[ZERO] = 10
    stage.restorer.collect(changelog_of(ZERO, 9, (b"rb", b"1")))
    assert capsys.readouterr().out.count("standby_ready") == 1
    stage.restorer.assign([], [ZERO])
    assert lag() is None


def test_records_of_other_topics_have_no_standby() -> None:
    stage = Stage()
    standby_of(stage)
    assert stage.restorer.read_up_to(SimpleNamespace(topic="another", partition=0)) is None  # type: ignore[arg-type]
    assert stage.restorer.read_up_to(ONE) is None
