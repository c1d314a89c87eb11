"""The command `vitals worker`.

Owns its options; the work is in `agents.worker`. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast

from __future__ import annotations

from typing import Annotated

import typer

from agents.cli.base import (
    BrokerUrl,
    PolicyPath,
    SettingsFile,
    ShadowPath,
    candidate_of,
    errors_reported,
    plan_of,
    settings_of,
)


def worker(
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    policy: PolicyPath = None,
    shadow: ShadowPath = None,
    processes: Annotated[int, typer.Option(min=1, help="Number of worker processes. Each uses about one core.")] = 1,
) -> None:
    """Run a worker: read events, publish scores, changes and alerts. Start at most one for each partition."""
    from agents.process.logs import configure_logging
    from agents.worker.processes import run_pool
    from agents.worker.run import run_worker

    loaded = settings_of(settings, broker=broker, policy=policy, shadow=shadow)
    plan = plan_of(loaded)
    candidate = candidate_of(loaded, plan)
    configure_logging(loaded.log_level)
    if processes > 1:
        options = {"--settings": settings, "--broker": broker, "--policy": policy, "--shadow": shadow}
        arguments = [text for name, value in options.items() if value is not None for text in (name, str(value))]
        raise typer.Exit(run_pool(loaded, processes, arguments))
    with errors_reported():
        status = run_worker(loaded, plan, candidate)
    raise typer.Exit(status)
