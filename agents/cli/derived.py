"""The commands `vitals rollup`, `vitals peers` and `vitals rows`, each a process that publishes a topic made of others.

Owns their options; the work is in `agents.derived`. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast

from __future__ import annotations

from typing import Annotated

import typer

from agents.cli.base import (
    MISUSED,
    BrokerUrl,
    PolicyPath,
    SettingsFile,
    errors_reported,
    fail,
    plan_of,
    say,
    settings_of,
)
from schemas.topics import PEERS, ROLLUPS, SCORE_ROWS


def rollup(
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    once: Annotated[bool, typer.Option("--once", help="Bring health.rollups up to date, then exit.")] = False,
) -> None:
    """Publish the scores of parent accounts, computed from their children, to health.rollups."""
    from agents.derived.rollup import run_rollup
    from agents.process.logs import configure_logging

    loaded = settings_of(settings, broker=broker)
    configure_logging(loaded.log_level)
    with errors_reported():
        published = run_rollup(loaded, once=once)
    say(f"{published} records written to {loaded.topic(ROLLUPS)}")


def peers(
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    policy: PolicyPath = None,
    once: Annotated[
        bool, typer.Option("--once", help="Write the tables of the last midnight if they are missing, then exit.")
    ] = False,
) -> None:
    """Publish peer tables to vitals-peers, for policies with compare = "peers". Run one process."""
    from agents.derived.peers import run_peers
    from agents.process.logs import configure_logging

    loaded = settings_of(settings, broker=broker, policy=policy)
    plan = plan_of(loaded)
    if not plan.peers:
        fail(MISUSED, f'policy {plan.label} has no measure with compare = "peers": `vitals peers` is not needed')
    configure_logging(loaded.log_level)
    with errors_reported():
        tables = run_peers(loaded, plan, once=once)
    say(f"{tables} tables written to {loaded.topic(PEERS)}")


def rows(
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    once: Annotated[
        bool, typer.Option("--once", help="Write the rows of the changes that there are, then exit.")
    ] = False,
) -> None:
    """Publish score changes as rows of tables to health.score-rows, one row for each factor."""
    from agents.derived.rows import run_rows
    from agents.process.logs import configure_logging

    loaded = settings_of(settings, broker=broker)
    configure_logging(loaded.log_level)
    with errors_reported():
        written = run_rows(loaded, once=once)
    say(f"{written} rows written to {loaded.topic(SCORE_ROWS.name)}")
