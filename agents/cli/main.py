"""The command `vitals`: the list of its commands, each in a file of its own name.

Owns the order of commands in `vitals --help`. Started by the script `vitals` and by `python -m agents`.
"""

from __future__ import annotations

import typer

from agents.cli.backtest import backtest
from agents.cli.board import board
from agents.cli.check import check
from agents.cli.demo import demo
from agents.cli.derived import peers, rollup, rows
from agents.cli.dlq import dlq
from agents.cli.explain import explain
from agents.cli.map import map_files, mapper
from agents.cli.onboarding.import_files import import_files
from agents.cli.onboarding.init import init
from agents.cli.score import score
from agents.cli.shadow import shadow
from agents.cli.sinks import sinks
from agents.cli.state import state
from agents.cli.status import status
from agents.cli.test import run_cases
from agents.cli.topics import schemas, topics
from agents.cli.worker import worker

app = typer.Typer(
    name="vitals",
    help="Compute live customer-health scores from Kafka events. Every event counts once; every change is explained.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    init,
    worker,
    status,
    topics,
    schemas,
    check,
    score,
    explain,
    board,
    shadow,
    rollup,
    peers,
    rows,
    mapper,
    backtest,
    demo,
):
    app.command()(command)
app.command("test")(run_cases)
app.command("map")(map_files)
app.command("import")(import_files)
app.add_typer(sinks, name="sink")
app.add_typer(dlq, name="dlq")
app.add_typer(state, name="state")
