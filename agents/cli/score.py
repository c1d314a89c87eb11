"""The command `vitals score`.

Owns its options and what it prints; the scores are computed by `agents.files`. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast
# ruff: noqa: PLR0917 -- the parameters of a command are its options

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from agents.cli.base import (
    DONE,
    FAILED,
    MISUSED,
    AllowBefore,
    AsOf,
    PolicyPath,
    ScoreName,
    fail,
    moment,
    plan_of,
    say_json,
    settings_of,
)
from agents.cli.event_files import (
    limits,
    replayed,
    report_left_out,
    score_messages,
    selected_score,
    unreadable_files_reported,
)
from agents.process.terminal import printable

if TYPE_CHECKING:
    from agents.files.replay import Limits, Replay
    from stream.plan.plan import Plan


def score(
    files: Annotated[
        list[Path],
        typer.Argument(help="JSON Lines files: `topic` in each line, or one file TOPIC.jsonl for each topic."),
    ],
    policy: PolicyPath = None,
    as_of: AsOf = None,
    allow_before: AllowBefore = None,
    history: Annotated[
        bool, typer.Option("--history", help="Print one line for each account and the end of each UTC day.")
    ] = False,
    account: Annotated[str | None, typer.Option("--account", help="Only this account.")] = None,
    score: ScoreName = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header. Only with --history.")] = False,
) -> None:
    """Score the accounts in event files. Prints one JSON line for each account with an event, sorted by account."""
    if as_csv and not history:
        fail(MISUSED, "--csv needs --history: without it a line has nested factors, which CSV cannot hold")
    plan, as_of_ms = plan_of(settings_of(None, policy=policy)), moment(as_of)
    allowed = limits(as_of_ms, allow_before)
    if history:
        replay = _print_history(files, plan, (as_of_ms, allowed), account=account, name=score, as_csv=as_csv)
    else:
        selected = None if score is None else selected_score(plan.policy, score)
        replay = replayed(files, plan, as_of_ms, allowed)
        for message in score_messages(replay.engine):
            if account is not None and message.account_id != account:
                continue
            if selected is not None:
                message.scores = {selected.name: message.scores[selected.name]}
            say_json(message)
    raise typer.Exit(FAILED if report_left_out(replay) else DONE)


def _print_history(
    files: list[Path],
    plan: Plan,
    when: tuple[int | None, Limits],
    *,
    account: str | None,
    name: str | None,
    as_csv: bool,
) -> Replay:
    """`when` is the last moment (epoch ms, None: the last event), and the times that events may have."""
    import csv

    from agents.files.history import DayScore, score_history

    selected, (as_of_ms, allowed) = selected_score(plan.policy, name), when
    with unreadable_files_reported():
        days, replay = score_history(files, plan, selected, as_of_ms=as_of_ms, account=account, limits=allowed)
    if as_csv:
        table = csv.writer(sys.stdout, lineterminator="\n")
        table.writerow(DayScore.__struct_fields__)
        table.writerows([_cell(value) for value in msgspec.structs.astuple(day)] for day in days)
    else:
        for day in days:
            say_json(day)
    return replay


def _cell(value: object) -> object:
    """A value as a cell of CSV; an id cannot act on the terminal."""
    return printable(value) if isinstance(value, str) else value
