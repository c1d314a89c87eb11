"""The commands `vitals dlq list`, `show`, `replay` and `discard`.

Owns their options and what they print; the work is in `agents.dlq`. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agents.cli.base import (
    FAILED,
    MISUSED,
    AsJson,
    BrokerUrl,
    SettingsFile,
    errors_reported,
    fail,
    moment,
    say,
    say_json,
    settings_of,
    sources_of,
)
from agents.process.terminal import printable

if TYPE_CHECKING:
    from agents.dlq.groups import Group
    from agents.dlq.letters import Letter, Selection
    from agents.dlq.progress import Action

dlq = typer.Typer(help="List, show, replay and discard dead letters.", no_args_is_help=True)

Topics = Annotated[list[str] | None, typer.Option("--topic", help="Only this topic, with or without .dlq.")]
Reasons = Annotated[list[str] | None, typer.Option("--reason", help="Only this reason.")]
Since = Annotated[str | None, typer.Option("--since", help="Only letters written at or after this time.")]
Until = Annotated[str | None, typer.Option("--until", help="Only letters written at or before this time.")]
Account = Annotated[str | None, typer.Option("--account", help="Only letters of this account.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count the letters and change nothing.")]


@dlq.command(name="list")
def list_(
    topic: Topics = None,
    reason: Reasons = None,
    *,
    since: Since = None,
    until: Until = None,
    account: Account = None,
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Count dead letters by topic and reason, with the first and last time."""
    from agents.dlq.groups import groups_of
    from agents.kafka.rights_check import require_rights

    loaded = settings_of(settings, broker=broker)
    sources = sources_of(loaded)
    with errors_reported():
        require_rights(loaded, "dlq", "list", sources=sources)
        groups = groups_of(loaded, sources, _selection(topic, reason, since, until, account))
    if as_json:
        say_json(groups)
    elif groups:
        _print_groups(groups)
    else:
        say("no dead letters")


@dlq.command()
def show(
    letter: Annotated[str, typer.Argument(help="TOPIC/PARTITION/OFFSET, as `vitals dlq list` prints it.")],
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Print a dead letter: the error, and the original key, headers and value."""
    from agents.dlq.groups import letter_at
    from agents.kafka.letters import Position
    from agents.kafka.rights_check import require_rights

    name, _, rest = letter.rpartition("/")[0].rpartition("/")
    offset = letter.rpartition("/")[2]
    if not (name and rest.isascii() and rest.isdecimal() and offset.isascii() and offset.isdecimal()):
        fail(MISUSED, f"{letter!r}: expected TOPIC/PARTITION/OFFSET, such as billing.dlq/0/17")
    loaded = settings_of(settings, broker=broker)
    sources = sources_of(loaded)
    with errors_reported():
        require_rights(loaded, "dlq", "show", sources=sources)
        letter_state = letter_at(loaded, sources, Position(name, int(rest), int(offset)))
    if letter_state is None:
        fail(FAILED, f"{letter}: there is no such dead letter; retention may have removed it")
    if as_json:
        say_json(_fields(*letter_state))
    else:
        say(_text(*letter_state))


@dlq.command()
def replay(
    topic: Topics = None,
    reason: Reasons = None,
    *,
    since: Since = None,
    until: Until = None,
    account: Account = None,
    dry_run: DryRun = False,
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Write open dead letters back to their input topics: the same bytes, in the same order, each once."""
    selection = _selection(topic, reason, since, until, account)
    _handle("replayed", selection, settings_of(settings, broker=broker), dry_run=dry_run, as_json=as_json)


@dlq.command()
def discard(
    topic: Topics = None,
    reason: Reasons = None,
    *,
    since: Since = None,
    until: Until = None,
    account: Account = None,
    dry_run: DryRun = False,
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Mark open dead letters as handled without replaying them. Needs at least one option that selects letters."""
    selection = _selection(topic, reason, since, until, account)
    if selection == type(selection)():
        fail(MISUSED, "select what to discard with --topic, --reason, --since, --until or --account")
    _handle("discarded", selection, settings_of(settings, broker=broker), dry_run=dry_run, as_json=as_json)


def _selection(
    topics: Sequence[str] | None, reasons: Sequence[str] | None, since: str | None, until: str | None, who: str | None
) -> Selection:
    from agents.dlq.letters import Selection

    return Selection(
        frozenset(topics or ()),
        frozenset(reasons or ()),
        moment(since, "--since", day_end=False),
        moment(until, "--until"),
        who,
    )


def _handle(action: Action, selection: Selection, settings: Any, *, dry_run: bool, as_json: bool) -> None:
    from agents.dlq.replay import handle
    from agents.kafka.rights_check import require_rights

    sources = sources_of(settings)
    with errors_reported():
        require_rights(settings, "dlq", "replay" if action == "replayed" else "discard", sources=sources)
        counts = handle(settings, sources, selection, action, dry_run=dry_run)
    rows = [
        {"topic": topic, "reason": reason, "outcome": outcome, "letters": count}
        for (topic, reason, outcome), count in sorted(counts.items())
    ]
    if as_json:
        say_json({"dry_run": dry_run, "letters": rows})
        return
    for row in rows:
        say(f"{row['topic']} {row['reason']}: {row['letters']} {row['outcome']}")
    say(f"{counts.total()} letters{', nothing was changed (--dry-run)' if dry_run else ''}")


def _print_groups(groups: Sequence[Group]) -> None:
    from rich.table import Table

    from agents.process.console import SafeConsole

    table = Table("topic", "reason", "open", "replayed", "discarded", "first", "last", "latest open letter")
    for group in groups:
        figures = (str(count) if count else "-" for count in (group.open, group.replayed, group.discarded))
        table.add_row(
            group.topic, printable(group.reason), *figures, _time(group.first), _time(group.last), group.example or "-"
        )
    SafeConsole().print(table)


def _fields(letter: Letter, state: str) -> dict[str, Any]:
    return {
        "letter": str(letter.position),
        "time": letter.time_ms,
        "state": state,
        "reason": letter.reason,
        "message": letter.message,
        "origin": None if letter.origin is None else str(letter.origin),
        "record_time": letter.record_ms,
        "key": _bytes(letter.key),
        "headers": [[name, _bytes(value)] for name, value in letter.headers],
        "value": _bytes(letter.value),
    }


def _bytes(data: bytes | None) -> Any:
    """Text if the bytes are UTF-8, else an object with their base64."""
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data or b"").decode()}


def _text(letter: Letter, state: str) -> str:
    lines = [
        ("letter", f"{letter.position}, written {_time(letter.time_ms)}, {state}"),
        ("record", _record(letter)),
        ("reason", printable(letter.reason)),
        ("message", printable(letter.message)),
        ("key", _shown(letter.key)),
        *(("header", f"{printable(name)}: {_shown(value)}") for name, value in letter.headers),
        ("value", _shown(letter.value)),
    ]
    return "\n".join(f"{name:<8} {text}" for name, text in lines)


def _record(letter: Letter) -> str:
    origin = "unknown" if letter.origin is None else str(letter.origin)
    return origin if letter.record_ms is None else f"{origin}, of {_time(letter.record_ms)}"


def _shown(data: bytes | None) -> str:
    return "null" if data is None else printable(data.decode(errors="backslashreplace"))


def _time(time_ms: int | None) -> str:
    if time_ms is None:
        return "-"
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
