"""What the commands share: exit statuses, common options, printing, errors, and reading settings, policies and times.

Owns nothing that a command does. A problem ends the command with a message that says what to do, and an exit status:
0 done, 1 failed, 2 bad usage or configuration. Called by every command.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from agents.process.terminal import printable_json, printable_json_lines, printable_lines

if TYPE_CHECKING:
    from agents.settings.settings import Settings
    from schemas.sources import Sources
    from stream.columns.calendar import Calendar
    from stream.mapping.rules import InputMapping
    from stream.plan.plan import Plan
    from stream.policy.policy import Policy

DONE, FAILED, MISUSED = 0, 1, 2
_LINES_AT_ONCE = 1_000

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
MappingNames = Annotated[
    list[str] | None,
    typer.Option("--mapping", help="Mapping of foreign records: a file, or the name of a preset. Can be repeated."),
]
ScoreName = Annotated[str | None, typer.Option("--score", help="Name of a score in the policy. Default: the first.")]


def say(text: str, *, err: bool = False) -> None:
    """Print text of one or more lines on stdout or stderr; it cannot act on the terminal."""
    typer.echo(printable_lines(text), err=err)


def say_json(content: Any) -> None:
    """Print one line of JSON on stdout; it cannot act on the terminal."""
    typer.echo(printable_json(content))


def say_json_lines(contents: Iterable[Any]) -> None:
    """Print what `say_json` prints of each, many lines at once: to print each alone takes longer than to make it."""
    contents = iter(contents)
    while lines := list(islice(contents, _LINES_AT_ONCE)):
        typer.echo(printable_json_lines(lines), nl=False)


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
    from agents.files.policies import policy_in

    with unreadable_reported(path, "the policy", "check the path, or set VITALS_POLICY or --policy"):
        return policy_in(path)


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


def mapping_of(names: list[str] | None, sources: Sources) -> InputMapping | None:
    """The mappings that are named, as one; ends the command with 2 and every mistake."""
    from agents.files.mappings import UnknownMappingError, mapping_file, preset_names
    from stream.mapping.apply import merged
    from stream.mapping.reading import parse_mapping

    mappings = []
    for name in names or []:
        try:
            path = mapping_file(name)
        except UnknownMappingError as error:
            fail(MISUSED, f"--mapping: {error}")
        with unreadable_reported(path, "the mapping", f"check the path, or name a preset: {', '.join(preset_names())}"):
            mappings.append(parse_mapping(path.read_text(encoding="utf-8"), str(path), sources))
    return merged(mappings) if mappings else None


def plan_of(settings: Settings) -> Plan:
    """The compiled policy that the settings name."""
    from stream.plan.plan import compile_plan

    return compile_plan(_deployed(settings, settings.policy))


def sources_of(settings: Settings) -> Sources:
    """The input sources of the deployment: the built-in ones and those of its policy, with the topics that it has."""
    return _deployed(settings, settings.policy).sources


def _deployed(settings: Settings, path: Path) -> Policy:
    """A policy with the topics that this deployment has; ends the command with 2 where one has two uses."""
    from dataclasses import replace

    from schemas.topics import double_names

    policy = policy_of(path)
    sources = policy.sources.under(settings.topic_prefix)
    if sources is policy.sources:
        return policy
    if doubles := double_names(settings.group, sources):
        fail(
            MISUSED,
            f"{path}: sources: with the prefix {settings.topic_prefix} (VITALS_TOPIC_PREFIX), {', '.join(doubles)} is "
            "a topic that the product uses itself, or of two sources: choose another topic",
        )
    return replace(policy, sources=sources)


def candidate_of(settings: Settings, live: Plan) -> Plan | None:
    """The compiled shadow policy, if the settings name one; it reads what the live policy reads.

    Ends the command with 2 where it adds a source that the live policy does not have.
    """
    from dataclasses import replace

    from schemas.sources import BUILT_IN
    from stream.plan.plan import compile_plan

    if settings.shadow is None:
        return None
    plan = compile_plan(_deployed(settings, settings.shadow))
    built_in = BUILT_IN.under(settings.topic_prefix)
    for source in plan.sources:
        if source == built_in.get(source.name):
            continue  # a built-in source has the topic that the live policy gives it
        if source.name not in live.sources or live.sources[source.name] != source:
            fail(
                MISUSED,
                f"{settings.shadow}: sources.{source.name}: the live policy {settings.policy} has no source with this "
                "name, topic and fields: add the same table to it first, since a worker reads once for both policies",
            )
    return replace(plan, sources=live.sources)


def moment(
    text: str | None, option: str = "--as-of", *, day_end: bool = True, calendar: Calendar | None = None
) -> int | None:
    """Epoch ms of RFC 3339 with an offset, of a date (its end or its start), or of epoch milliseconds.

    The day of a date is that of `calendar`; without one it is a UTC day.
    """
    if text is None:
        return None
    from agents.files.moments import moment_ms

    try:
        return moment_ms(text, day_end=day_end, calendar=calendar)
    except ValueError as error:
        fail(MISUSED, f"{option} {text!r}: {error}")
