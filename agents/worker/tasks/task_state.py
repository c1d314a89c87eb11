"""The states of a partition task and the transitions that are allowed.

Owns the table and nothing else. A task changes its state through `agents.worker.tasks.task`; decision 26 says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class TaskState(Enum):
    """What a partition task may do."""

    CREATED = "created"
    """Assigned: the records of its changelog are collected. It has no engine yet."""
    RESTORING = "restoring"
    """Its engine is restored; what the worker before it published after its last commit is read."""
    RUNNING = "running"
    """It applies events, publishes and commits."""
    SUSPENDED = "suspended"
    """Its partition is being revoked: it applies and publishes nothing, and runs again when it is assigned again."""
    CLOSED = "closed"
    """It has left this worker, for good."""

    @property
    def has_engine(self) -> bool:
        """Whether a task in this state has its engine."""
        return self in _WITH_ENGINE


TRANSITIONS: Mapping[TaskState, frozenset[TaskState]] = {
    TaskState.CREATED: frozenset({TaskState.RESTORING, TaskState.CLOSED}),
    TaskState.RESTORING: frozenset({TaskState.RUNNING, TaskState.CLOSED}),
    TaskState.RUNNING: frozenset({TaskState.SUSPENDED, TaskState.CLOSED}),
    TaskState.SUSPENDED: frozenset({TaskState.RUNNING, TaskState.CLOSED}),
    TaskState.CLOSED: frozenset(),
}
"""For each state those that may follow it."""

_WITH_ENGINE = frozenset({TaskState.RESTORING, TaskState.RUNNING, TaskState.SUSPENDED})


class TaskStateError(RuntimeError):
    """A task was to change its state, or to do something, in a way its state does not allow."""


def transition(state: TaskState, new: TaskState) -> TaskState:
    """Return the new state. Raises `TaskStateError` when it may not follow."""
    if new not in TRANSITIONS[state]:
        message = f"a task that is {state.value} can not become {new.value}"
        raise TaskStateError(message)
    return new
