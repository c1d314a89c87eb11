"""What `vitals backtest` does with its arguments: read them, run, print, write.

Owns the meaning of the options' texts and which mistakes are bad usage. Called by `agents.cli.main`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import typer
from rich.console import Console

from agents.backtest.fit import FitError
from agents.backtest.outcomes import OutcomesError, instant_ms
from agents.backtest.page import page
from agents.backtest.replay import TooShortError
from agents.backtest.run import KEYS, Request, run_backtest
from agents.backtest.score_reader import UnknownScoreError
from agents.backtest.tables import show
from stream.policy.policy import Policy

FIT_LEAD = 30
LONGEST_LEAD_DAYS = 3650


class BadUsageError(ValueError):
    """Arguments or files that can not be used; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The command's options as they were given, policies read."""

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


def answer(asked: Asked, *, as_json: bool) -> str | None:
    """Print the report, write what files are asked for; returns what went wrong with the work, if anything.

    Raises BadUsageError.
    """
    request = _request(asked)
    try:
        result = run_backtest(request)
        if asked.html is not None:
            asked.html.write_text(page(result.report), encoding="utf-8")
    except OSError as error:
        raise BadUsageError(f"{error.filename}: {error.strerror}") from error
    except (OutcomesError, UnknownScoreError, FitError) as error:
        raise BadUsageError(str(error)) from error
    except TooShortError as error:
        return str(error)
    if as_json:
        typer.echo(msgspec.json.encode(result.report).decode())
    else:
        show(result.report, Console())
    return result.problem


def _request(asked: Asked) -> Request:
    if len(asked.policies) > len(KEYS):
        raise BadUsageError(f"--policy: one or two policies are compared, not {len(asked.policies)}")
    if asked.fit is not None and any(_same(asked.fit, path) for path, _ in asked.policies):
        raise BadUsageError(f"--fit {asked.fit}: is the policy itself; name another file, it keeps the original")
    for option, target in (("--fit", asked.fit), ("--html", asked.html)):
        if target is not None and not target.parent.is_dir():
            raise BadUsageError(f"{option} {target}: there is no folder {target.parent}")
    return Request(
        files=asked.files,
        outcomes=asked.outcomes,
        policies=asked.policies,
        leads=_leads(asked.lead),
        every=asked.every,
        score=asked.score,
        since_ms=_moment("--since", asked.since, end=False),
        until_ms=_moment("--until", asked.until, end=True),
        fit=asked.fit,
        fit_lead=asked.fit_lead or FIT_LEAD,
    )


def _same(one: Path, other: Path) -> bool:
    return one.exists() and one.samefile(other)


def _leads(text: str) -> list[int]:
    try:
        leads = sorted({int(part) for part in text.split(",")})
    except ValueError:
        leads = []
    if not leads or leads[0] < 1 or leads[-1] > LONGEST_LEAD_DAYS:
        raise BadUsageError(f"--lead {text!r}: expected whole days from 1 to {LONGEST_LEAD_DAYS}, such as 7,30,60,90")
    return leads


def _moment(option: str, text: str | None, *, end: bool) -> int | None:
    if text is None:
        return None
    try:
        return instant_ms(text, end=end)
    except ValueError as error:
        expected = "a date (2026-01-31) or RFC 3339 with an offset (2026-01-31T12:00:00Z)"
        raise BadUsageError(f"{option} {text!r}: expected {expected}") from error
