"""The command `vitals backtest`.

Owns its options; the work is in `agents.backtest`. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLR0917 -- the parameters of a command are its options
# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agents.cli.base import FAILED, MISUSED, AllowBefore, AsJson, MappingNames, ScoreName, fail, policy_of, settings_of


def backtest(
    files: Annotated[list[Path], typer.Argument(help="Event files, as for `vitals score`.")],
    outcomes: Annotated[
        Path, typer.Option("--outcomes", help="CSV with account_id and any of churned_at, renewed_at, expanded_at.")
    ],
    policy: Annotated[
        list[Path] | None,
        typer.Option(
            "--policy",
            help="Policy file; two compare two policies. Default: VITALS_POLICY, else the template policy.",
        ),
    ] = None,
    lead: Annotated[str, typer.Option("--lead", help="Lead times in days, separated by commas.")] = "7,30,60,90",
    every: Annotated[int, typer.Option("--every", min=1, help="Days between cutoffs.")] = 7,
    score: ScoreName = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Day of the first cutoff. Default: the first event.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", help="Date up to which outcomes are known. Default: the last event or outcome."),
    ] = None,
    allow_before: AllowBefore = None,
    mapping: MappingNames = None,
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
    # long because: the parameters are the options
    from agents.backtest.command import BadUsageError, Options, print_backtest
    from agents.cli.event_files import reading_options

    settings = settings_of(None)
    policies = [(path, policy_of(path)) for path in policy or [settings.policy]]
    options = Options(
        files,
        outcomes,
        policies,
        lead,
        every,
        score,
        since,
        until,
        fit,
        fit_lead,
        html,
        reading_options(settings, policies[0][1].sources, None, allow_before, mapping),
    )
    try:
        problem = print_backtest(options, as_json=as_json)
    except BadUsageError as error:
        fail(MISUSED, str(error))
    if problem:
        fail(FAILED, problem)
