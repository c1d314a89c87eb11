"""What the commands share: exit statuses, common options, printing, errors, and reading settings, policies and times.

Owns nothing that a command does. A problem ends the command with a message that says what to do, and an exit status:
0 done, 1 failed, 2 bad usage or configuration. Called by every command.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from agents.process.terminal import printable_json, printable_lines

if TYPE_CHECKING:
    from agents.settings.settings import Settings
    from stream.plan.plan import Plan
    from stream.policy.policy import Policy

DONE, FAILED, MISUSED = 0, 1, 2

SettingsFile = Annotated[Path | None, typer.Option("--settings", help="Settings file (TOML).")]
PolicyPath = Annotated[
    Path | None, typer.Option("--policy", help="Policy file. Default: VITALS_POLICY, else the template policy.")
]
ShadowPath = Annotated[
    Path | None, typer.Option("--shadow", help="Candidate policy file; runs as a shadow of the live policy.")
]
BrokerUrl = Annotated[
    str | None, typer.Option("--broker", help="Kafka brokers, kafka://HOST:PORT; separate several with a semicolon.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of", help="Moment to score at; a date means its end, UTC. Default: the last event. Only with event files."
    ),
]
AllowBefore = Annotated[
    str | None,
    typer.Option("--allow-before", help="Earliest time that an event may have. Default: 2000-01-01."),
]
ScoreName = Annotated[str | None, typer.Option("--score", help="Name of a score in the policy. Default: the first.")]


def say(text: str, *, err: bool = False) -> None:
    """Print text of one or more lines on stdout or stderr; it cannot act on the terminal."""
    typer.echo(printable_lines(text), err=err)


def say_json(content: Any) -> None:
    """Print one line of JSON on stdout; it cannot act on the terminal."""
    typer.echo(printable_json(content))


def fail(status: int, *lines: str) -> NoReturn:
    """Print lines on stderr, without secrets, and end the command with this status."""
    from agents.settings.redactor import redact

    for line in lines:
        say(redact(line), err=True)
    raise typer.Exit(status)


@contextmanager
def errors_reported(*failures: type[Exception]) -> Iterator[None]:
    """End the command with 2 for a `SettingsError`, with 1 for a `BrokerError` or one of `failures`."""
    from agents.kafka.client import BrokerError
    from agents.settings.settings import SettingsError

    failed: tuple[type[Exception], ...] = (BrokerError, *failures)
    try:
        yield
    except SettingsError as error:
        fail(MISUSED, *error.problems)
    except failed as error:
        fail(FAILED, str(error))


def settings_of(file: Path | None, **options: Any) -> Settings:
    """The settings of options, environment and file; ends the command with 2 and every problem."""
    from agents.settings.settings import SettingsError, load_settings

    try:
        settings = load_settings(file, **options)
    except SettingsError as error:
        fail(MISUSED, *error.problems)
    for warning in settings.warnings():
        typer.echo(f"warning: {warning}", err=True)
    return settings


def policy_of(path: Path) -> Policy:
    """The policy in a file; ends the command with 2 and every mistake."""
    from stream.policy.policy import parse_policy

    with unreadable_reported(path, "the policy", "check the path, or set VITALS_POLICY or --policy"):
        return parse_policy(path.read_text(encoding="utf-8"), str(path))


@contextmanager
def unreadable_reported(path: Path, what: str, if_missing: str) -> Iterator[None]:
    """End the command with 2 for a TOML file with mistakes, with each of them, or one that cannot be read."""
    from stream.policy.errors import PolicyError

    try:
        yield
    except PolicyError as error:
        fail(MISUSED, *str(error).splitlines())
    except FileNotFoundError:
        fail(MISUSED, f"{path}: no such file: {if_missing}")
    except OSError as error:
        fail(MISUSED, f"{path}: {what} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        fail(MISUSED, f"{path}: {what} is not a text file in UTF-8")


def plan_of(settings: Settings) -> Plan:
    """The compiled policy that the settings name."""
    from stream.plan.plan import compile_plan

    return compile_plan(policy_of(settings.policy))


def candidate_of(settings: Settings) -> Plan | None:
    """The compiled shadow policy, if the settings name one."""
    from stream.plan.plan import compile_plan

    return None if settings.shadow is None else compile_plan(policy_of(settings.shadow))


def moment(text: str | None, option: str = "--as-of", *, day_end: bool = True) -> int | None:
    """Epoch ms of RFC 3339 with an offset, of a date (its end or its start, UTC), or of epoch milliseconds."""
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
