"""An event loop whose clock jumps to the next timer as soon as nothing else is to do.

Owns simulated time: `loop.time` and the clocks of `time` all give it while `simulated_time` is entered. So
minutes pass in milliseconds, and a run depends on nothing but its seed. Called by `tests.simulation.schedule`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, TypeVar
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

T = TypeVar("T")
STARTED_MS = 1_751_414_400_000
"""2025-07-02: the wall clock at the start of every run."""
_FIRST_S = 1000.0


class DeadlockError(RuntimeError):
    """Nothing is ready and no timer is set: everything waits for something that nothing can bring about."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop without waiting."""

    _ready: Any
    _scheduled: Any

    def __init__(self) -> None:
        """Begin long after 0.0, which stands for what has never happened."""
        super().__init__()
        self._now = _FIRST_S

    def time(self) -> float:
        """Return the simulated monotonic time in seconds."""
        return self._now

    def _run_once(self) -> None:
        if not self._ready:
            if not self._scheduled:
                message = "nothing is ready, and no timer is set"
                raise DeadlockError(message)
            self._now = max(self._now, self._scheduled[0].when())
        super()._run_once()  # type: ignore[misc]

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Call a function that blocks at once, in this thread."""
        del executor
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 -- it is raised where the future is awaited
            future.set_exception(error)
        return future


@contextlib.contextmanager
def simulated_time(loop: VirtualLoop) -> Iterator[None]:
    """Let the clocks that the product reads follow the loop's."""

    def time_ns() -> int:
        return STARTED_MS * 1_000_000 + int((loop.time() - _FIRST_S) * 1e9)

    def clock_gettime_ns(_clock: int) -> int:
        return int(loop.time() * 1e9)

    with (
        mock.patch.object(time, "monotonic", loop.time),
        mock.patch.object(time, "time_ns", time_ns),
        mock.patch.object(time, "clock_gettime_ns", clock_gettime_ns),
    ):
        yield


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in simulated time, then cancel whatever still runs."""
    loop = VirtualLoop()
    try:
        with simulated_time(loop):
            asyncio.set_event_loop(loop)
            try:
                return loop.run_until_complete(main)
            finally:
                _cancel_all(loop)
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _cancel_all(loop: VirtualLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
