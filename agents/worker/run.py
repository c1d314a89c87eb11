"""Running a worker process: the web server, checks, then Faust's own loop, then the exit status.

Owns what happens before and after, and that the process ends in time when a signal asks it to;
`agents.worker.wiring` makes what runs in between. Called by `vitals worker` and `agents.worker.hosted`.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import faust
import structlog

from agents.kafka.client import BrokerError, FinalBrokerError
from agents.kafka.rights_check import require_rights
from agents.kafka.topics import create_missing, describe_topics
from agents.process.metrics_server import require_port
from agents.settings.settings import Settings
from agents.worker.fatal import EXIT_UNCOMMITTED, RefusedError, StopDeadline, fatal
from agents.worker.tasks.shadow_log import log_candidate
from agents.worker.wiring import Worker
from schemas.native.library import load
from schemas.sources import Sources
from stream.plan.plan import Plan

log = structlog.get_logger()

BROKER_PATIENCE_S = 60.0
_PAUSE_S = 1.0


def run_worker(settings: Settings, plan: Plan, candidate: Plan | None = None) -> int:
    """Run until a signal ends the worker; return the exit status. `candidate` is the policy that runs as a shadow.

    Raises `BrokerError` when the topics can not be used, `SettingsError` when the port can not.
    """
    require_port(settings.web_host, settings.web_port, "web_port")
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return run_made(Worker(settings, plan, candidate), settings, plan, candidate, loop=loop)


def run_made(
    worker: Worker, settings: Settings, plan: Plan, candidate: Plan | None, *, loop: asyncio.AbstractEventLoop
) -> int:
    """Run a worker that was made with these settings and policies in an event loop, which is the current one.

    Raises as `run_worker` does, but the port is not checked.
    """
    stopping = asyncio.Event()
    if not loop.run_until_complete(_begin(worker, settings, plan.sources, stopping)):
        log.info("stopped", status=0)
        return 0
    if candidate is not None:
        log_candidate(plan, candidate)
    log.info(
        "starting",
        group=settings.group,
        policy=plan.label,
        partitions=settings.partitions,
        web_port=settings.web_port,
        decoder="python" if load() is None else "native",
    )
    return _run(worker, loop, stopping)


async def _begin(worker: Worker, settings: Settings, sources: Sources, stopping: asyncio.Event) -> bool:
    """Start the web server and prepare the topics; return False when a signal came first."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await worker.web.start()
    stopped = loop.create_task(stopping.wait())
    prepared = _in_thread(lambda: _prepare_topics(settings, sources))
    await asyncio.wait([stopped, asyncio.ensure_future(asyncio.wait({prepared}))], return_when=asyncio.FIRST_COMPLETED)
    if stopping.is_set():
        return False
    stopped.cancel()
    prepared.result()
    return True


def _in_thread(work: Callable[[], None]) -> asyncio.Future[None]:
    """Do something in a thread that the end of the process does not wait for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish(error: BaseException | None) -> None:
        if not done.done():
            done.set_result(None) if error is None else done.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as problem:  # noqa: BLE001 -- whoever awaits it deals with it
            error = problem
        loop.call_soon_threadsafe(finish, error)

    threading.Thread(target=run, name="preparation", daemon=True).start()
    return done


class _Runner(faust.Worker):
    """Faust's loop, which a signal ends in time."""

    def __init__(self, *positional: Any, deadline: StopDeadline, stopping: asyncio.Event, **named: Any) -> None:
        """`stopping` is set when a signal came before Faust could receive it."""
        self._deadline = deadline
        self._stopping = stopping
        super().__init__(*positional, **named)
        self.spinner = None  # it writes escape sequences, also into a log

    def install_signal_handlers(self) -> None:
        """Receive signals, also the one that came already."""
        super().install_signal_handlers()
        if self._stopping.is_set():
            self._on_sigterm()

    def _gather_all(self) -> None:
        """Cancel at once the tasks that watch a worker until its end; Faust first waits a second for them."""
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        super()._gather_all()

    async def _sentinel_task(self) -> None:
        """Faust waits a second here, before it closes the loop; nothing is left to wait for."""

    def _on_sigterm(self) -> None:
        self._deadline.begin()
        super()._on_sigterm()

    def _on_sigint(self) -> None:
        self._deadline.begin()
        super()._on_sigint()


def _run(worker: Worker, loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> int:
    watching = loop.create_task(worker.watch())
    deadline = StopDeadline(lambda: _status(worker, 0), left_at=lambda: worker.handover.left_at)
    runner = _Runner(
        worker.app,
        deadline=deadline,
        stopping=stopping,
        loop=loop,
        loglevel="WARNING",
        quiet=True,
        redirect_stdouts=False,
        override_logging=False,
        debug=False,
    )
    try:
        runner.execute_from_commandline()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    else:
        code = 0
    finally:
        worker.watchdog.stop()
        worker.topic_watch.stop()
        deadline.over()
    del watching
    code = _status(worker, code)
    log.info("stopped", status=code)
    return code


def _status(worker: Worker, code: int) -> int:
    """The exit status: that of Faust, or that the last commit failed."""
    if code == 0 and worker.handover.uncommitted:
        log.error("last_commit_failed", then="the next worker replays from the last commit")
        return EXIT_UNCOMMITTED
    return code


def _prepare_topics(settings: Settings, sources: Sources) -> None:
    """Wait for the broker, create missing topics if allowed, and refuse topics that can not be used."""
    deadline = time.monotonic() + BROKER_PATIENCE_S
    while True:
        try:
            require_rights(settings, "worker", sources=sources)
            if settings.create_topics:
                create_missing(settings, sources)
            problems = [state for state in describe_topics(settings, sources) if state.problem]
        except BrokerError as error:
            if isinstance(error, FinalBrokerError) or time.monotonic() > deadline:
                raise
            log.warning("broker_not_ready", error=str(error), will="retry")
            time.sleep(_PAUSE_S)
        else:
            for state in problems:
                log.error("topic_problem", topic=state.topic.name, problem=state.problem, refused=state.refused)
            refused = "; ".join(f"{state.topic.name}: {state.problem}" for state in problems if state.refused)
            if refused:
                fatal(RefusedError(f"topics can not be used: {refused}", "see each topic; `vitals topics` lists them"))
            return
