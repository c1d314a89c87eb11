"""The command `vitals`.

Owns the commands that run or ask a broker, and the list of all commands: those over files are in `agents.cli.files`,
what they share in `agents.cli.base`. The work is elsewhere; what takes long to import is imported by the command that
needs it.
"""

# ruff: noqa: PLR0917 -- the parameters of a command are its options
# ruff: noqa: PLC0415 -- a command imports what it needs, so that `vitals --help` is instant

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from agents.cli.alert_sinks import alertmanager, notify, webhook
from agents.cli.base import (
    DONE,
    FAILED,
    MISUSED,
    AsJson,
    BrokerUrl,
    PolicyPath,
    SettingsFile,
    ShadowPath,
    app,
    candidate_of,
    fail,
    plan_of,
    policy_of,
    settings_of,
)
from agents.cli.board import board
from agents.cli.files import check, explain, score
from agents.cli.redis_sink import redis
from agents.cli.shadow import shadow as show_shadow
from agents.cli.sinks import sinks

__all__ = ["app"]


@app.command()
def worker(
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    policy: PolicyPath = None,
    shadow: ShadowPath = None,
    processes: Annotated[int, typer.Option(min=1, help="Number of worker processes. Each uses about one core.")] = 1,
) -> None:
    """Run a worker: read events, publish scores, changes and alerts. Start at most one for each partition."""
    from agents.kafka.client import BrokerError
    from agents.process.logs import configure_logging
    from agents.settings.settings import SettingsError
    from agents.worker.processes import run_pool
    from agents.worker.run import run_worker

    loaded = settings_of(settings, broker=broker, policy=policy, shadow=shadow)
    plan, candidate = plan_of(loaded), candidate_of(loaded)
    configure_logging(loaded.log_level)
    if processes > 1:
        given = {"--settings": settings, "--broker": broker, "--policy": policy, "--shadow": shadow}
        options = [part for name, value in given.items() if value is not None for part in (name, str(value))]
        raise typer.Exit(run_pool(loaded, processes, options))
    try:
        status = run_worker(loaded, plan, candidate)
    except SettingsError as error:
        fail(MISUSED, *error.problems)
    except BrokerError as error:
        fail(FAILED, str(error))
    raise typer.Exit(status)


@app.command()
def topics(
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    create: Annotated[bool, typer.Option("--create", help="Create the missing topics.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the topics with their partitions, retention and problems; create the missing ones."""
    from agents.kafka.client import BrokerError
    from agents.kafka.topics import create_missing, describe_topics
    from schemas.topics import DAY_MS

    loaded = settings_of(settings, broker=broker)
    try:
        created = create_missing(loaded) if create else []
        states = describe_topics(loaded)
    except BrokerError as error:
        fail(FAILED, str(error))
    rows = [
        {
            "topic": state.topic.name,
            "role": state.topic.role,
            "key": state.topic.key,
            "partitions": state.partitions,
            "cleanup": state.topic.cleanup,
            "retention_ms": state.topic.retention_ms if state.topic.cleanup == "delete" else None,
            "problem": state.problem,
            "created": state.topic.name in created,
        }
        for state in states
    ]
    if as_json:
        typer.echo(msgspec.json.encode(rows).decode())
    else:
        table = Table("topic", "role", "partitions", "cleanup", "kept", "state")
        for row, state in zip(rows, states, strict=True):
            topic = state.topic
            kept = f"{topic.retention_ms // DAY_MS} days" if topic.cleanup == "delete" else "latest"
            note = "see below" if state.problem else "created" if row["created"] else "ok"
            table.add_row(topic.name, topic.role, str(state.partitions or "-"), topic.cleanup, kept, note)
        Console().print(table)
        for state in states:
            if state.problem:
                typer.echo(f"{state.topic.name}: {state.problem}")
    raise typer.Exit(FAILED if any(state.problem for state in states) else DONE)


for command in (check, score, explain, board, show_shadow):
    app.command()(command)
for sink in (redis, alertmanager, webhook, notify):
    sinks.command()(sink)


@app.command()
def rollup(
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    once: Annotated[bool, typer.Option("--once", help="Bring health.rollups up to date, then exit.")] = False,
) -> None:
    """Publish the scores of parent accounts, computed from their children, to health.rollups."""
    from agents.derived.rollup import run_rollup
    from agents.kafka.client import BrokerError
    from agents.process.logs import configure_logging

    loaded = settings_of(settings, broker=broker)
    configure_logging(loaded.log_level)
    try:
        written = run_rollup(loaded, once=once)
    except BrokerError as error:
        fail(FAILED, str(error))
    typer.echo(f"{written} records written to health.rollups")


@app.command()
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
    from agents.kafka.client import BrokerError
    from agents.process.logs import configure_logging

    loaded = settings_of(settings, broker=broker, policy=policy)
    plan = plan_of(loaded)
    if not plan.peers:
        fail(MISUSED, f'policy {plan.label} has no measure with compare = "peers": there is nothing to do')
    configure_logging(loaded.log_level)
    try:
        written = run_peers(loaded, plan, once=once)
    except BrokerError as error:
        fail(FAILED, str(error))
    typer.echo(f"{written} tables written to vitals-peers")


@app.command()
def backtest(
    files: Annotated[list[Path], typer.Argument(help="Event files, as for `vitals score`.")],
    outcomes: Annotated[
        Path, typer.Option("--outcomes", help="CSV with account_id and any of churned_at, renewed_at, expanded_at.")
    ],
    policy: Annotated[
        list[Path] | None, typer.Option("--policy", help="Policy file. Give it twice to compare two policies.")
    ] = None,
    lead: Annotated[str, typer.Option("--lead", help="Lead times in days, separated by commas.")] = "7,30,60,90",
    every: Annotated[int, typer.Option("--every", min=1, help="Days between cutoffs.")] = 7,
    score: Annotated[
        str | None, typer.Option("--score", help="Name of a score in the policy. Default: the first.")
    ] = None,
    since: Annotated[str | None, typer.Option("--since", help="First cutoff. Default: the first event.")] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", help="Date up to which outcomes are known. Default: the last event or outcome."),
    ] = None,
    fit: Annotated[
        Path | None, typer.Option("--fit", help="Write the policy with weights fitted to the data to this file.")
    ] = None,
    fit_lead: Annotated[
        int | None, typer.Option("--fit-lead", min=1, help="Lead time to fit, in days. Default: 30.")
    ] = None,
    as_json: AsJson = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report as an HTML page to this file.")] = None,
) -> None:
    """Measure how well a policy would have predicted churn, from past events and known outcomes."""
    from agents.backtest.command import BadUsageError, Options, print_backtest
    from agents.settings.settings import default_policy

    selected = [(path, policy_of(path)) for path in policy or [default_policy()]]
    options = Options(files, outcomes, selected, lead, every, score, since, until, fit, fit_lead, html)
    try:
        problem = print_backtest(options, as_json=as_json)
    except BadUsageError as error:
        fail(MISUSED, str(error))
    if problem:
        fail(FAILED, problem)


@app.command()
def demo(
    seconds: Annotated[float | None, typer.Option(min=5, help="Exit after about this many seconds.")] = None,
    as_json: AsJson = False,
    broker: BrokerUrl = None,
    kill: Annotated[
        bool, typer.Option("--kill", help="Kill the worker from time to time; the counts still add up.")
    ] = False,
    board: Annotated[bool, typer.Option("--board/--no-board", help="Serve the board as well.")] = True,
) -> None:
    """Run a synthetic company of 500 accounts over 120 days through a real worker and show its scores."""
    from agents.demo.run import run_demo

    raise typer.Exit(run_demo(seconds=seconds, as_json=as_json, broker=broker, kill=kill, board=board))
