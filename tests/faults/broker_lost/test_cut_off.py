"""Rows 7, 23 and 31: workers whose connection loses one direction, is reset or is slow, while records keep coming.

A worker reaches the broker through a proxy of its own, on a listener that advertises the proxy.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.broker.kafka_server import free_port
from tests.faults import verdict
from tests.faults.broker_lost.feeder import Feeder
from tests.faults.broker_lost.tcp_proxy import FROM_BROKER, TO_BROKER, TcpProxy
from tests.faults.deployment import Deployment
from tests.faults.events import company

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faults.broker_lost.tcp_proxy import Direction
    from tests.faults.worker_process import WorkerProcess

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SESSION_S = 10
PATIENCE_S = 180.0
"""A restore over a slow connection takes its time."""
NAMES = ("one", "two")


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
        return self.deployment.until(
            lambda: all(worker.is_ready() for worker in self.workers), "ready again", PATIENCE_S
        )

    def judge(self) -> dict[str, int]:
        """Send the rest, wait until all is committed, and fail unless everything is as the oracle says."""
        self.feeder.finish()
        self.deployment.until_done()
        assert self.deployment.workers == self.workers, "no worker has ended"
        self.deployment.kills += 1  # to those who take over, or restore again, it was dead
        figures = self.deployment.judge()
        assert figures["sent"] == self.feeder.sent == figures["applied"]
        repeated = verdict.repeated_alerts(self.deployment.documents(verdict.ALERTS))
        assert not repeated, repeated[:10]
        return figures


@contextlib.contextmanager
def cut(folder: Path, workers: int, **settings: Any) -> Iterator[Cut]:
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
        feeder = stack.enter_context(Feeder(deployment, company(100, 60)))
        made = Cut(deployment, proxies, feeder)
        made.back()
        deployment.until(lambda: all(worker.settled().total() for worker in made.workers), "all are at work")
        yield made


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("seconds", [25, 40, 60])
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


def test_connections_that_are_reset_hang_no_worker(tmp_path: Path, fault: Callable) -> None:
    with cut(tmp_path, 1) as world:
        began = time.monotonic()
        world.proxies[0].reset()
        unready = world.off()
        world.stay(40, began)
        world.proxies[0].heal()
        ready = world.back()
        figures = world.judge()
    assert unready <= 10
    fault("23 reset for 40 s", figures | {"unready after (s)": round(unready), "ready again after (s)": round(ready)})


def test_a_slow_connection_changes_nothing(tmp_path: Path, fault: Callable) -> None:
    """Half a second each way and 100 kB/s, over all connections of the worker, from the start of a restore on."""
    with cut(tmp_path, 1) as world:
        world.proxies[0].slow(0.5, 100_000)
        began = time.monotonic()
        settled = world.first.settled().total()
        world.stay(60, began)
        applied = world.first.settled().total() - settled
        assert applied, "it goes on, slowly"
        world.proxies[0].heal()
        ready = world.back()
        figures = world.judge()
    fault("7 500 ms and 100 kB/s for 60 s", figures | {"applied while slow": applied, "ready after (s)": round(ready)})


def test_a_worker_restores_over_a_slow_connection(tmp_path: Path, fault: Callable) -> None:
    with cut(tmp_path, 1) as world:
        assert world.deployment.stop(world.first) == 0
        world.proxies[0].slow(0.5, 100_000)
        world.workers = [world.deployment.start("one", broker=f"kafka://127.0.0.1:{world.proxies[0].port}")]
        ready = world.back()
        world.proxies[0].heal()
        figures = world.judge()
    fault("7 a restore over 500 ms and 100 kB/s", figures | {"ready after (s)": round(ready)})


@pytest.mark.parametrize("how", [TO_BROKER, FROM_BROKER, "reset", "slow"])
@pytest.mark.parametrize("after_s", [2, 15])
def test_a_worker_that_is_cut_off_ends_in_time(tmp_path: Path, fault: Callable, how: str, after_s: float) -> None:
    """Asked to end before its session is lost, and after."""
    with cut(tmp_path, 1) as world:
        proxy = world.proxies[0]
        if how == "slow":
            proxy.slow(0.5, 100_000)
        elif how == "reset":
            proxy.reset()
        else:
            proxy.lose(TO_BROKER if how == TO_BROKER else FROM_BROKER)
        world.stay(after_s, time.monotonic())
        began = time.monotonic()
        status = world.deployment.stop(world.first)
        seconds = time.monotonic() - began
        assert status in {0, 72}, f"{status} after {seconds:.0f} s:\n{world.first.last_words()}"
        proxy.heal()
        world.workers = [world.deployment.start("one", broker=f"kafka://127.0.0.1:{proxy.port}")]
        figures = world.judge()
    fault(f"31 SIGTERM, {how} for {after_s} s", figures | {"status": status, "ended after (s)": round(seconds)})
