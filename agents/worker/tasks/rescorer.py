"""The rescorer: publishes what waits for a rescoring, some accounts of each task at a time, while steps go on between.

Owns how many accounts are scored at once. Called by `agents.worker.tasks.loop`, and by
`agents.worker.commit.checkpoint` before a state is saved.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agents.worker.tasks.task import PartitionTask
from agents.worker.tasks.task_state import TaskState
from stream.publishing.effects import Effects

AT_ONCE = 500
"""Accounts that are published between two turns of the loop: they take 40 ms where each of them alerts."""


class Rescorer:
    """Rescores the tasks of one worker."""

    def __init__(
        self,
        running: Callable[[], list[PartitionTask]],
        carry_out: Callable[[PartitionTask, Effects], None],
        turn: Callable[[PartitionTask], Awaitable[None]],
    ) -> None:
        """`running` are the tasks, `carry_out` takes what they publish, `turn` lets others have their turn."""
        self._running, self._carry_out, self._turn = running, carry_out, turn

    def is_catching_up(self) -> bool:
        """Whether a task waits for the rescoring that ends its catching up."""
        return any(task.pair.catching_up for task in self._running())

    async def rescore(self, waits: Callable[[PartitionTask], bool]) -> None:
        """Publish all that waits for a rescoring in the running tasks for which `waits` is true."""
        while tasks := [task for task in self._running() if waits(task)]:
            for task in tasks:
                if task.state is TaskState.RUNNING:
                    self._carry_out(task, task.pair.rescore_next(task.mode, AT_ONCE))
                    await self._turn(task)


def any_rescoring(task: PartitionTask) -> bool:
    """Whether a rescoring of any kind is under way."""
    return task.pair.is_rescoring


def at_head(task: PartitionTask) -> bool:
    """Whether a rescoring is under way that a worker finishes before it leaves the task."""
    return task.pair.is_rescoring_at_head


def of_boundary(task: PartitionTask) -> bool:
    """Whether a rescoring is under way without which the state cannot be saved."""
    return task.pair.is_rescoring_of_boundary
