"""Running a worker process: checks first, then Faust's own loop, then the exit status.

Owns what happens before and after; `agents.worker.wiring` makes what runs in between. Called by `vitals worker`.
"""

from __future__ import annotations

import time

import faust
import structlog

from agents.kafka.client import BrokerError
from agents.kafka.topics import create_missing, describe_topics
from agents.process.metrics_server import require_port
from agents.settings.settings import Settings
from agents.worker.fatal import RefusedError, fatal
from agents.worker.tasks.shadow_log import log_candidate
from agents.worker.wiring import Worker
from stream.plan.plan import Plan

log = structlog.get_logger()

BROKER_PATIENCE_S = 60.0
_PAUSE_S = 1.0


def run_worker(settings: Settings, plan: Plan, candidate: Plan | None = None) -> int:
    """Run until a signal ends the worker; return the exit status. `candidate` is the policy that runs as a shadow.

    Raises `BrokerError` when the topics can not be used, `SettingsError` when the port can not.
    """
    require_port(settings.web_host, settings.web_port, "web_port")
    _prepare_topics(settings)
    if candidate is not None:
        log_candidate(plan, candidate)
    worker = Worker(settings, plan, candidate)
    log.info(
        "starting", group=settings.group, policy=plan.label, partitions=settings.partitions, web_port=settings.web_port
    )
    runner = faust.Worker(
        worker.app,
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
    log.info("stopped", status=code)
    return code


def _prepare_topics(settings: Settings) -> None:
    """Wait for the broker, create missing topics if allowed, and refuse topics that can not be used."""
    deadline = time.monotonic() + BROKER_PATIENCE_S
    while True:
        try:
            if settings.create_topics:
                create_missing(settings)
            problems = [state for state in describe_topics(settings) if state.problem]
        except BrokerError as error:
            if time.monotonic() > deadline:
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
