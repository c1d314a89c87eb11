"""The command `vitals backtest`: check its options, run the back-test, print the report and write the HTML page.

Decides which mistakes are bad usage (exit code 2) and which are failures of the work (1). Called by
`agents.cli.backtest`. The back-test itself, `agents.backtest.run`, neither parses options nor prints.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import typer

from agents.backtest.fit import FitError
from agents.backtest.outcomes import OutcomesError, instant_ms
from agents.backtest.page import page
from agents.backtest.replay import TooShortError
from agents.backtest.run import KEYS, Request, run_backtest
from agents.backtest.tables import show
from agents.files.replay import SINCE_2000, Reading
from agents.process.console import SafeConsole
from agents.process.progress import progress_bar
from agents.process.terminal import printable_json
from schemas.sources import SourcesError
from stream.columns.calendar import UTC_DAYS, Calendar
from stream.explain.selector import UnknownScoreError
from stream.policy.policy import Policy

FIT_LEAD = 30
LONGEST_LEAD_DAYS = 3650


class BadUsageError(ValueError):
    """Options or files that cannot be used; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command as typed, with the policies read."""

    files: list[Path]
    outcomes: Path
    policies: list[tuple[Path, Policy]]
    lead: str
    every: int
    score: str | None
    since: str | None
    until: str | None
    fit: Path | None
    fit_lead: int | None
    html: Path | None
    reading: Reading = SINCE_2000


def print_backtest(options: Options, *, as_json: bool) -> str | None:
    """Run the back-test, print the report and write the requested files; returns what failed, if anything did.

    Raises BadUsageError.
    """
    request = _request(options)
    try:
        with progress_bar() as progress:
            result = run_backtest(replace(request, reading=request.reading._replace(progress=progress)))
        if options.html is not None:
            options.html.write_text(page(result.report), encoding="utf-8")
    except OSError as error:
        raise BadUsageError(f"{error.filename}: {error.strerror}") from error
    except (OutcomesError, UnknownScoreError, FitError, SourcesError) as error:
        raise BadUsageError(str(error)) from error
    except TooShortError as error:
        return str(error)
    if as_json:
        typer.echo(printable_json(result.report))
    else:
        show(result.report, SafeConsole())
    return result.problem


def _request(options: Options) -> Request:
    if len(options.policies) > len(KEYS):
        raise BadUsageError(f"--policy: give one or two policies, not {len(options.policies)}")
    if options.fit is not None and any(_same(options.fit, path) for path, _ in options.policies):
        raise BadUsageError(f"--fit {options.fit}: is the policy itself; name another file, so that the original stays")
    for name, target in (("--fit", options.fit), ("--html", options.html)):
        if target is not None and not target.parent.is_dir():
            raise BadUsageError(f"{name} {target}: the folder {target.parent} does not exist")
    calendar = options.policies[0][1].calendar
    return Request(
        files=options.files,
        outcomes=options.outcomes,
        policies=options.policies,
        leads=_leads(options.lead),
        every=options.every,
        score=options.score,
        since_ms=_moment("--since", options.since, calendar, end=False),
        until_ms=_moment("--until", options.until, calendar, end=True),
        fit=options.fit,
        fit_lead=options.fit_lead or FIT_LEAD,
        reading=options.reading,
    )


def _same(target: Path, policy: Path) -> bool:
    return target.exists() and target.samefile(policy)


def _leads(text: str) -> list[int]:
    try:
        leads = sorted({int(days) for days in text.split(",")})
    except ValueError:
        leads = []
    if not leads or leads[0] < 1 or leads[-1] > LONGEST_LEAD_DAYS:
        raise BadUsageError(f"--lead {text!r}: expected whole days from 1 to {LONGEST_LEAD_DAYS}, such as 7,30,60,90")
    return leads


def _moment(option: str, text: str | None, calendar: Calendar, *, end: bool) -> int | None:
    """A time, or a date: the start or the end of that day of the calendar, epoch ms."""
    if text is None:
        return None
    try:
        moment_ms = instant_ms(text, end=end)
    except ValueError as error:
        expected = "a date (2026-01-31) or an RFC 3339 time with an offset (2026-01-31T12:00:00Z)"
        raise BadUsageError(f"{option} {text!r}: expected {expected}") from error
    if len(text) != len("2026-01-31"):
        return moment_ms
    day = UTC_DAYS.pane_of(moment_ms, "day")
    return calendar.start_ms(day + 1, "day") - 1 if end else calendar.start_ms(day, "day")
