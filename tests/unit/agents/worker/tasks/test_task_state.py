"""The table of a task's states: every pair is allowed or raises, and every method that changes the state obeys it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agents.worker.tasks.task import PartitionTask
from agents.worker.tasks.task_state import TRANSITIONS, TaskState, TaskStateError, transition
from schemas.sources import BUILT_IN
from stream.publishing.effects import Effects
from stream.recovery.reconciler import Reconciler
from tests.driving.worker import Bench, Producer

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.worker.tasks.processor import Processor

CREATED, RESTORING, RUNNING, SUSPENDED, CLOSED = TaskState
ALLOWED = {
    (CREATED, RESTORING),
    (RESTORING, RUNNING),
    (RUNNING, SUSPENDED),
    (SUSPENDED, RUNNING),
    (CREATED, CLOSED),
    (RESTORING, CLOSED),
    (RUNNING, CLOSED),
    (SUSPENDED, CLOSED),
}
PAIRS = [(before, after) for before in TaskState for after in TaskState]


def task_in(state: TaskState, processor: Processor | None = None) -> PartitionTask:
    """A task that has come to a state as tasks do."""
    processor = processor or Bench(Producer()).processor
    task = processor.create(0)
    if state is not CREATED:
        processor.restore(0, processor.opener(0)({}))
    if state in {RUNNING, SUSPENDED}:
        task.run(Reconciler())
    if state is SUSPENDED:
        task.suspend()
    if state is CLOSED:
        processor.close(0)
    return task


def test_the_table_has_every_state() -> None:
    assert set(TRANSITIONS) == set(TaskState)


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_a_transition_is_allowed_or_raises(before: TaskState, after: TaskState) -> None:
    if (before, after) in ALLOWED:
        assert transition(before, after) is after
    else:
        with pytest.raises(TaskStateError, match=f"{before.value} can not become {after.value}"):
            transition(before, after)


@pytest.mark.parametrize("state", TaskState)
@pytest.mark.parametrize(
    ("change", "into"),
    [
        (PartitionTask.suspend, SUSPENDED),
        (PartitionTask.resume, RUNNING),
        (PartitionTask.close, CLOSED),
    ],
)
def test_a_task_changes_its_state_by_the_table(
    state: TaskState, change: Callable[[PartitionTask], None], into: TaskState
) -> None:
    task = task_in(state)
    assert task.state is state
    if (state, into) in ALLOWED:
        change(task)
        assert task.state is into
    else:
        with pytest.raises(TaskStateError):
            change(task)
        assert task.state is state


@pytest.mark.parametrize("state", [state for state in TaskState if state is not RESTORING])
def test_only_a_restoring_task_begins_to_run(state: TaskState) -> None:
    with pytest.raises(TaskStateError):
        task_in(state).run(Reconciler())


@pytest.mark.parametrize("state", [state for state in TaskState if state is not CREATED])
def test_only_a_created_task_collects_its_changelog(state: TaskState) -> None:
    with pytest.raises(TaskStateError):
        task_in(state).collect([], 0, 1)


@pytest.mark.parametrize("state", [state for state in TaskState if state is not RUNNING])
def test_only_a_running_task_publishes(state: TaskState) -> None:
    processor = Bench(Producer()).processor
    with pytest.raises(TaskStateError, match=f"is {state.value}, not running"):
        processor._carrier.carry_out(task_in(state, processor), Effects())


@pytest.mark.parametrize("state", TaskState)
def test_a_task_has_an_engine_from_restoring_on(state: TaskState) -> None:
    assert state.has_engine == (state in {RESTORING, RUNNING, SUSPENDED})
    if state.has_engine:
        assert task_in(state).engine is not None


def test_a_gap_in_the_changelog_is_an_error_and_its_first_record_is_none() -> None:
    task = PartitionTask(3, BUILT_IN)
    task.collect([], 5, 8)
    task.collect([], 8, 9)
    with pytest.raises(ValueError, match="partition 3: records 9 to 10 did not come"):
        task.collect([], 10, 11)
