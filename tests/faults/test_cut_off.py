"""Rows 7, 23 and 31: workers whose connection loses one direction, is reset or is slow, while records keep coming.

A worker reaches the broker through a proxy of its own, on a listener that advertises the proxy.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest

from tests.broker.kafka_server import free_port
from tests.faults import verdict
from tests.faults.deployment import Deployment
from tests.faults.events import company
from tests.faults.tcp_proxy import FROM_BROKER, TO_BROKER, TcpProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faults.tcp_proxy import Direction
    from tests.faults.topic_log import Message
    from tests.faults.worker_process import WorkerProcess

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SESSION_S = 10
NAMES = ("one", "two")
RECORDS = 200
"""Records that are sent at once, so that there is always something to commit."""


class Feeder:
    """Sends records a few at a time until it is left, then the rest."""

    def __init__(self, deployment: Deployment, messages: list[Message]) -> None:
        """Nothing is sent yet."""
        self._deployment = deployment
        self._messages = iter([messages[first : first + RECORDS] for first in range(0, len(messages), RECORDS)])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Send what is left."""
        self._stop.set()
        self._thread.join()
        rest = [message for messages in self._messages for message in messages]
        self.sent += self._deployment.send(rest) if rest else 0

    def _run(self) -> None:
        for messages in self._messages:
            self.sent += self._deployment.send(messages)
            if self._stop.wait(0.5):
                return


class Cut:
    """A deployment whose workers each have a proxy, and a feeder."""

    def __init__(self, deployment: Deployment, proxies: list[TcpProxy], feeder: Feeder) -> None:
        """All workers are ready."""
        self.deployment, self.proxies, self.feeder = deployment, proxies, feeder
        self.workers = list(deployment.workers)

    @property
    def first(self) -> WorkerProcess:
        """The worker that is cut off."""
        return self.workers[0]

    def off(self) -> float:
        """Wait until the first worker is not ready, which has to be within 10 s; returns the seconds it took."""
        return self.deployment.until(lambda: not self.first.is_ready(), "unready while cut off", 15)

    def stay(self, seconds: float, began: float) -> None:
        """Wait until so many seconds have passed since `began`; the worker may not hang meanwhile."""
        while time.monotonic() - began < seconds:
            status = self.first.wait(0.5)
            assert status is None, f"it ended with {status} while cut off:\n{self.first.last_words()}"

    def back(self) -> float:
        """Wait until all workers are ready; returns the seconds it took."""
        return self.deployment.until(lambda: all(worker.is_ready() for worker in self.workers), "ready again", 90)

    def judge(self) -> dict[str, int]:
        """Send the rest, wait until all is committed, and fail unless everything is as the oracle says."""
        self.feeder.__exit__()
        self.deployment.until_done()
        assert self.deployment.workers == self.workers, "no worker has ended"
        self.deployment.kills += 1  # to those who take over, or restore again, it was dead
        figures = self.deployment.judge()
        assert figures["sent"] == self.feeder.sent == figures["applied"]
        repeated = verdict.repeated_alerts(self.deployment.documents(verdict.ALERTS))
        assert not repeated, repeated[:10]
        return figures


@contextlib.contextmanager
def cut(folder: Path, workers: int, **settings: object) -> Iterator[Cut]:
    """Start a broker, proxies, workers and a feeder; give them when all workers are ready and applying."""
    names = NAMES[:workers]
    listeners = {name.upper(): free_port() for name in names}
    with contextlib.ExitStack() as stack:
        proxies = [stack.enter_context(TcpProxy(port)) for port in listeners.values()]
        advertised = {name.upper(): proxy.port for name, proxy in zip(names, proxies, strict=True)}
        deployment = stack.enter_context(
            Deployment(folder, listeners=listeners, advertised=advertised, session_timeout_s=SESSION_S, **settings)
        )
        for name, proxy in zip(names, proxies, strict=True):
            deployment.start(name, broker=f"kafka://127.0.0.1:{proxy.port}")
        feeder = Feeder(deployment, company(100, 60))
        feeder.__enter__()
        stack.callback(feeder._stop.set)
        made = Cut(deployment, proxies, feeder)
        made.back()
        deployment.until(lambda: all(worker.settled().total() for worker in made.workers), "all are at work")
        yield made


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("seconds", [25, 40])
@pytest.mark.parametrize("direction", [TO_BROKER, FROM_BROKER])
@pytest.mark.parametrize("goes_on", [False, True], ids=["dead", "gap"])
def test_a_lost_direction_hangs_no_worker(
    tmp_path: Path, fault: Callable, direction: Direction, seconds: float, workers: int, *, goes_on: bool
) -> None:
    with cut(tmp_path, workers) as world:
        began = time.monotonic()
        world.proxies[0].lose(direction, goes_on=goes_on)
        unready = world.off()
        world.stay(seconds, began)
        world.proxies[0].heal()
        ready = world.back()
        figures = world.judge()
    assert unready <= 10
    times = {"unready after (s)": round(unready), "ready again after (s)": round(ready)}
    fault(f"23 {direction} lost for {seconds} s, workers: {workers}", figures | times)
