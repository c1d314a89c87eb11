"""The command `vitals topics`.

Owns its options and the table that it prints; the work is in `agents.kafka.topics`. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from agents.cli.base import (
    DONE,
    FAILED,
    AsJson,
    BrokerUrl,
    SettingsFile,
    errors_reported,
    say,
    say_json,
    settings_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents.kafka.topics import TopicState


def topics(
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    create: Annotated[bool, typer.Option("--create", help="Create the missing topics.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the topics with their partitions, retention and problems; create the missing ones."""
    from agents.kafka.topics import create_missing, describe_topics

    loaded = settings_of(settings, broker=broker)
    with errors_reported():
        created = create_missing(loaded) if create else []
        states = describe_topics(loaded)
    if as_json:
        say_json([_row(state, created) for state in states])
    else:
        _print_table(states, created)
    raise typer.Exit(FAILED if any(state.problem for state in states) else DONE)


def _row(state: TopicState, created: Sequence[str]) -> dict[str, Any]:
    topic = state.topic
    return {
        "topic": topic.name,
        "role": topic.role,
        "key": topic.key,
        "partitions": state.partitions,
        "cleanup": _cleanup(state),
        "retention_ms": _retention_ms(state),
        "problem": state.problem,
        "created": topic.name in created,
    }


def _cleanup(state: TopicState) -> str:
    """The cleanup policy on the broker; what is needed, where the topic is missing or may not be described."""
    return state.settings.get("cleanup.policy", state.topic.cleanup)


def _retention_ms(state: TopicState) -> int | None:
    """How long the broker keeps records, -1 for ever; None where it keeps the latest of each key."""
    if "delete" not in _cleanup(state):
        return None
    return int(state.settings.get("retention.ms", state.topic.retention_ms))


def _retention(state: TopicState) -> str:
    from schemas.topics import DAY_MS, HOUR_MS

    retention_ms = _retention_ms(state)
    if retention_ms is None:
        return "latest"
    if retention_ms < 0:
        return "for ever"
    return f"{retention_ms // DAY_MS} days" if retention_ms >= DAY_MS else f"{retention_ms / HOUR_MS:.1f} hours"


def _print_table(states: Sequence[TopicState], created: Sequence[str]) -> None:
    from rich.table import Table

    from agents.process.console import SafeConsole

    table = Table("topic", "role", "partitions", "cleanup", "kept", "state")
    for state in states:
        topic = state.topic
        text = "see below" if state.problem else "created" if topic.name in created else "ok"
        table.add_row(topic.name, topic.role, str(state.partitions or "-"), _cleanup(state), _retention(state), text)
    SafeConsole().print(table)
    for state in states:
        if state.problem:
            say(f"{state.topic.name}: {state.problem}")
