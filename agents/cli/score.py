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
    MappingNames,
    PolicyPath,
    ScoreName,
    fail,
    moment,
    plan_of,
    say,
    say_json_lines,
    settings_of,
)
from agents.cli.event_files import (
    reading_options,
    replayed,
    report_left_out,
    selected_score,
    unreadable_files_reported,
)
from agents.process.collection import rare_collections
from agents.process.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agents.files.replay import Reading, Replay
    from schemas.outputs import ScoreMessage
    from stream.plan.plan import Plan

AsCsv = Annotated[
    bool,
    typer.Option(
        "--csv",
        help="Print CSV with a header: of one score, with a row for each account. "
        "A text that begins like a formula of a spreadsheet has ' before it.",
    ),
]


@rare_collections()
def score(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Event files, folders, patterns, or -: JSON Lines, JSON, CSV, Parquet, Arrow, also .gz or .zst."
        ),
    ],
    policy: PolicyPath = None,
    as_of: AsOf = None,
    allow_before: AllowBefore = None,
    mapping: MappingNames = None,
    history: Annotated[
        bool, typer.Option("--history", help="Print one line for each account and the end of each day.")
    ] = False,
    account: Annotated[str | None, typer.Option("--account", help="Only this account.")] = None,
    score: ScoreName = None,
    parents: Annotated[
        bool, typer.Option("--parents", help="Print one line for each parent account, computed from its children.")
    ] = False,
    as_csv: AsCsv = False,
) -> None:
    """Score the accounts in event files. Prints one JSON line for each account with an event, sorted by account."""
    if parents and (history or as_csv or score is not None):
        fail(
            MISUSED, "--parents prints all scores as of one moment: it cannot be used with --history, --csv and --score"
        )
    from agents.files.scores import score_messages

    settings = settings_of(None, policy=policy)
    plan = plan_of(settings)
    as_of_ms = moment(as_of, calendar=plan.calendar)
    how = reading_options(settings, plan.sources, as_of_ms, allow_before, mapping)
    if history:
        replay = _print_history(files, plan, (as_of_ms, how), account=account, name=score, as_csv=as_csv)
    else:
        replay = replayed(files, plan, as_of_ms, how)
        messages = score_messages(replay.engine)
        if parents:
            _print_parents(messages, account)
        else:
            if account is None:
                _report_unlisted(replay)
            _print_scores(messages, plan, account=account, name=score, as_csv=as_csv)
    raise typer.Exit(FAILED if report_left_out(replay) else DONE)


def _report_unlisted(replay: Replay) -> None:
    """Print on stderr how many accounts of the files have no line, and why."""
    from agents.files.scores import unlisted

    counts = unlisted(replay)
    for count, which in (
        (counts.without_event, "with a profile and without an event up to the moment of the scores"),
        (counts.later, "with nothing up to the moment of the scores; give a later --as-of"),
    ):
        if count:
            say(f"no line for {count:,} {'account' if count == 1 else 'accounts'} {which}", err=True)


def _print_scores(
    messages: Sequence[ScoreMessage], plan: Plan, *, account: str | None, name: str | None, as_csv: bool
) -> None:
    """Print the scores of all accounts, or of one; as CSV, one score of each."""
    from agents.files.table import score_table

    if account is not None:
        messages = [message for message in messages if message.account_id == account]
    if as_csv:
        _print_table(score_table(messages, plan, selected_score(plan.policy, name)))
        return
    if name is not None:
        selected = selected_score(plan.policy, name)
        for message in messages:
            message.scores = {selected.name: message.scores[selected.name]}
    say_json_lines(messages)


def _print_parents(messages: Iterable[ScoreMessage], account: str | None) -> None:
    """Print what `vitals rollup` publishes of accounts with these scores."""
    from stream.consumers.rollup import Rollup

    rollup = Rollup()
    for message in messages:
        rollup.apply(message.account_id, message)
    parents = [parent for parent in sorted(rollup.parents()) if account in {None, parent}]
    say_json_lines(map(rollup.message_of, parents))


def _print_history(
    files: list[Path],
    plan: Plan,
    when: tuple[int | None, Reading],
    *,
    account: str | None,
    name: str | None,
    as_csv: bool,
) -> Replay:
    """`when` is the last moment (epoch ms, None: the last event), and the times that events may have."""
    from agents.files.history import DayScore, score_history

    selected, (as_of_ms, how) = selected_score(plan.policy, name), when
    with unreadable_files_reported(), progress_bar() as progress:
        how = how._replace(progress=progress)
        days, replay = score_history(files, plan, selected, as_of_ms=as_of_ms, account=account, reading=how)
    if as_csv:
        _print_table([DayScore.__struct_fields__, *map(msgspec.structs.astuple, days)])
    else:
        say_json_lines(days)
    return replay


def _print_table(rows: Iterable[Iterable[object]]) -> None:
    """Print rows as CSV, the first of which is the header."""
    import csv

    from agents.files.table import csv_cell

    csv.writer(sys.stdout, lineterminator="\n").writerows(map(csv_cell, row) for row in rows)
