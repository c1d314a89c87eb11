"""A task that takes a partition over goes on from its state, or is refused before it has written anything."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
from faust.types import TP

from agents.worker.fatal import RefusedError
from agents.worker.tasks.broker_facts import Facts
from agents.worker.tasks.takeover import take_over
from schemas.sources import BUILT_IN
from stream.recovery.continuity import SourceLog
from stream.recovery.writer import Member, Writer, succeed
from tests.driving.worker import Bench, Producer, account_in, fetch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agents.worker.tasks.task import PartitionTask

LOG, USAGE = "log", "product-usage"
THIS = Writer(worker="this", version="1", policy="p", settings={}, configuration="new")
BEFORE = succeed(None, THIS, {USAGE: "a"}, first=3)


def restored(position: Mapping[str, int] | None, writer: Writer | None = None) -> PartitionTask:
    """A task whose changelog had a state at this position, by source, and this writer record."""
    bench = Bench(Producer())
    bench.processor.restore(0, bench.processor.opener(0)({}))
    task = bench.processor.tasks[0]
    task.namespaces.saved_position = None if position is None else dict(position)
    task.namespaces.writer = writer
    return task


def facts(usage: SourceLog, first: int = 0, members: tuple[Member, ...] = ()) -> Facts:
    others = [SourceLog(topic, 0, 0) for topic in BUILT_IN.topics if topic != USAGE]
    return Facts({0: [usage, *others]}, {0: first}, members)


WHOLE = SourceLog(USAGE, 0, 50, committed=40, marked=True, topic_id="a")


def refused(task: PartitionTask, answers: Facts) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        take_over(task, answers, THIS, LOG)
    return caught.value


def test_state_that_fits_is_taken_over_and_keeps_where_it_began() -> None:
    task = restored({USAGE: 40}, BEFORE)
    take_over(task, facts(WHOLE, first=3), THIS, LOG)
    assert task.namespaces.writer == BEFORE


def test_state_of_an_earlier_version_has_no_ids_and_began_at_the_first_offset() -> None:
    task = restored({USAGE: 40})
    take_over(task, facts(WHOLE), THIS, LOG)
    writer = task.namespaces.writer
    assert writer is not None
    assert (writer.topics, writer.first) == ({USAGE: "a"}, 0)
    assert "begins at offset 3, not 0" in str(refused(restored({USAGE: 40}), facts(WHOLE, first=3)))


def test_a_partition_without_state_begins_where_its_changelog_and_topics_do() -> None:
    """As for a new group on old topics, and after a rebuild has deleted all records and the committed offsets."""
    for writer in (None, BEFORE):
        task = restored(None, writer)
        take_over(task, facts(WHOLE._replace(first=20, committed=None, topic_id="b"), first=9), THIS, LOG)
        taken = task.namespaces.writer
        assert taken is not None
        assert (taken.topics, taken.first) == ({USAGE: "b"}, 9)


@pytest.mark.parametrize(
    ("position", "usage", "first", "topic", "error_has"),
    [
        (None, WHOLE, 3, LOG, "has no state"),
        ({USAGE: 39}, WHOLE, 3, LOG, "is older than the committed offsets"),
        ({USAGE: 40}, WHOLE, 4, LOG, "begins at offset 4, not 3"),
        ({USAGE: 40}, WHOLE._replace(topic_id="b"), 3, USAGE, "was deleted and created again"),
        ({USAGE: 51}, WHOLE, 3, USAGE, "ends at offset 50"),
    ],
)
def test_state_that_does_not_fit_is_refused_by_name(
    position: Mapping[str, int] | None, usage: SourceLog, first: int, topic: str, error_has: str
) -> None:
    task = restored(position, BEFORE)
    error = refused(task, facts(usage, first))
    assert error_has in str(error)
    assert (error.names["topic"], error.names["partition"]) == (topic, 0)
    assert "vitals state rebuild" in error.way_out
    assert task.namespaces.writer == BEFORE


def test_a_source_with_another_topic_is_refused() -> None:
    before = msgspec.structs.replace(BEFORE, inputs={USAGE: "app.events"})
    assert "has records of topic app.events up to offset 40" in str(
        refused(restored({USAGE: 40}, before), facts(WHOLE))
    )


def test_a_replaced_configuration_is_refused_with_the_partition() -> None:
    before = succeed(THIS, Writer(worker="other", version="1", policy="q", settings={}, configuration="q"), {}, first=0)
    error = refused(restored({USAGE: 40}, before), facts(WHOLE, members=(Member("worker 'two' on h", "1", "q"),)))
    assert str(error).startswith("changelog log partition 0: two configurations run in one group: other ")


@pytest.mark.parametrize(("position", "removed"), [({}, 7), (None, 0)], ids=["with state", "a new group"])
def test_records_removed_before_the_first_was_read_count_where_the_partition_has_state(
    position: Mapping[str, int] | None, removed: int
) -> None:
    async def scenario() -> None:
        bench = Bench(Producer(), 0)
        bench.processor.tasks[0].namespaces.saved_position = None if position is None else dict(position)
        bench.source.first = 7
        await bench.processor.take(fetch(TP(USAGE, 0), account_in(0), first=7))
        assert bench.telemetry.removed.labels(USAGE)._value.get() == removed

    asyncio.run(scenario())
