"""`vitals sink …`: what carries outputs to other systems, each a process of its own.

Owns the group of commands; the commands are in modules of their own and are put in by `agents.cli.main`.
"""

from __future__ import annotations

import typer

from agents.cli.base import app

sinks = typer.Typer(help="Deliver scores and alerts to other systems.", no_args_is_help=True)
app.add_typer(sinks, name="sink")
