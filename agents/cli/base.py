"""What the commands share: the app, exit statuses, common options, and how settings, policies and moments are read.

Owns nothing that a command does. Errors end the command with what is wrong and what to do (0 done, 1 failed, 2 bad
usage or configuration). Called by `agents.cli.main` and `agents.cli.files`.
"""

# ruff: noqa: PLC0415 -- what takes long to import is imported where it is needed, so that `vitals --help` is instant

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from agents.settings.settings import Settings
    from stream.plan.plan import Plan
    from stream.policy.policy import Policy

DONE, FAILED, MISUSED = 0, 1, 2

app = typer.Typer(
    name="vitals",
    help="Compute live customer-health scores from Kafka events. Every event counts once; every change is explained.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

SettingsFile = Annotated[Path | None, typer.Option("--settings", help="Settings file (TOML).")]
PolicyPath = Annotated[Path | None, typer.Option("--policy", help="Policy file. Default: the template policy.")]
ShadowPath = Annotated[
    Path | None, typer.Option("--shadow", help="Candidate policy file; runs as a shadow of the live policy.")
]
BrokerUrl = Annotated[
    str | None, typer.Option("--broker", help="Kafka brokers, kafka://HOST:PORT; separate several with a semicolon.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
AsOf = Annotated[
    str | None, typer.Option("--as-of", help="Time to score at. Default: the last event. Only with event files.")
]
ScoreName = Annotated[str | None, typer.Option("--score", help="Name of a score in the policy. Default: the first.")]


def fail(status: int, *lines: str) -> NoReturn:
    """Say what is wrong and what to do, on stderr, and end with this status."""
    for line in lines:
        typer.echo(line, err=True)
    raise typer.Exit(status)


def settings_of(file: Path | None, **given: Any) -> Settings:
    """Settings of file, environment and options; ends with 2 and every problem."""
    from agents.settings.settings import SettingsError, load_settings

    try:
        return load_settings(file, **given)
    except SettingsError as error:
        fail(MISUSED, *error.problems)


def policy_of(path: Path) -> Policy:
    """The policy of a file; ends with 2 and every problem."""
    from stream.policy.policy import PolicyError, parse_policy

    try:
        return parse_policy(path.read_text(encoding="utf-8"), str(path))
    except PolicyError as error:
        fail(MISUSED, *str(error).splitlines())
    except (OSError, UnicodeDecodeError) as error:
        fail(MISUSED, f"{path}: the policy can not be read: {error}")


def plan_of(settings: Settings) -> Plan:
    """The compiled policy that the settings name."""
    from stream.plan.plan import compile_plan

    return compile_plan(policy_of(settings.policy))


def candidate_of(settings: Settings) -> Plan | None:
    """The compiled policy that runs as a shadow, if the settings name one."""
    from stream.plan.plan import compile_plan

    return None if settings.shadow is None else compile_plan(policy_of(settings.shadow))


def moment(text: str | None, option: str = "--as-of", *, day_end: bool = True) -> int | None:
    """Epoch ms of RFC 3339 with an offset, of a date (its end, or its begin, UTC), or of epoch milliseconds."""
    if text is None:
        return None
    if text.lstrip("-").isdigit():
        return int(text)
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        fail(
            MISUSED,
            f"{option} {text!r}: expected RFC 3339 (2026-01-31T12:00:00Z), a date (2026-01-31) or epoch milliseconds",
        )
    if len(text) == len("2026-01-31"):
        end = {"hour": 23, "minute": 59, "second": 59, "microsecond": 999_000} if day_end else {}
        when = when.replace(**end, tzinfo=UTC)
    if when.tzinfo is None:
        fail(MISUSED, f"{option} {text!r}: a time needs an offset, such as Z or +02:00")
    return round(when.timestamp() * 1000)
