"""The command `vitals demo`.

Owns its options; the work is in `agents.demo`. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast

from __future__ import annotations

from typing import Annotated

import typer

from agents.cli.base import AsJson, BrokerUrl


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
