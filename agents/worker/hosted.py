"""A worker as a Faust app that others can add agents to and start with Faust's own command.

Owns what `faust -A account_vitals.app worker` does in place of Faust's worker, and which agents cannot be beside ours.
Decision 64 says why. Called by `account_vitals.app`.
"""

from __future__ import annotations

from typing import Any, NoReturn

import faust

from agents.kafka.client import BrokerError
from agents.process.logs import configure_logging
from agents.process.metrics_server import require_port
from agents.settings.settings import Settings, SettingsError
from agents.worker.run import run_made
from agents.worker.wiring import TABLE, Worker
from stream.plan.plan import Plan

_MISUSED, _FAILED = 2, 1


def hosted_app(settings: Settings, plan: Plan, candidate: Plan | None = None) -> faust.App:
    """The Faust app of a worker. Faust's command runs it as `vitals worker` does; nothing starts yet."""
    worker = Worker(settings, plan, candidate)

    class Hosted(faust.Worker):
        """What Faust's command makes and executes."""

        def __init__(self, app: Any, *services: Any, **options: Any) -> None:
            """Faust's web server stays off: it would listen on all addresses. The worker has its own."""
            app.conf.web_enabled = False
            super().__init__(app, *services, **options)

        def execute_from_commandline(self) -> NoReturn:
            """Run until a signal ends the worker. The log has the form and level of `vitals worker`."""
            configure_logging(settings.log_level)
            if problems := problems_of(worker):
                self.carp("\n".join(problems))
                raise SystemExit(_MISUSED)
            try:
                require_port(settings.web_host, settings.web_port, "web_port")
                status = run_made(worker, settings, plan, candidate, loop=self.loop)
            except SettingsError as error:
                self.carp("\n".join(error.problems))
                raise SystemExit(_MISUSED) from error
            except BrokerError as error:
                self.carp(str(error))
                raise SystemExit(_FAILED) from error
            raise SystemExit(status)

    conf: Any = worker.app.conf
    conf.Worker = Hosted
    return worker.app


def problems_of(worker: Worker) -> list[str]:
    """Why agents and tables that were added to the app cannot be beside ours; empty if they can."""
    problems = [
        f"agent {name!r} reads {topic}, of which the worker gets whole fetches: read it in a program with a consumer "
        "group of its own"
        for name, topics in worker.other_agents().items()
        for topic in sorted(topics & set(worker.topics))
    ]
    problems += [
        f"table {name!r}: the app keeps only the table {TABLE!r}; keep state of your own in a program of its own"
        for name in worker.app.tables
        if name != TABLE
    ]
    return problems
