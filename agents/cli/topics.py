"""The commands `vitals topics` and `vitals schemas`: which topics there are, and what their records are.

Owns their options, the table of topics and the writing of schemas; the work is in `agents.kafka.topics` and
`schemas.catalog`. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from agents.cli.base import (
    DONE,
    FAILED,
    MISUSED,
    AsJson,
    BrokerUrl,
    SettingsFile,
    errors_reported,
    fail,
    policy_of,
    say,
    say_json,
    settings_of,
    sources_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents.kafka.topics import TopicState
    from schemas.catalog.documents import Form
    from schemas.sources import Sources


def topics(
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    create: Annotated[bool, typer.Option("--create", help="Create the missing topics.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the topics with their partitions, retention and problems; create the missing ones."""
    from agents.kafka.topics import create_missing, describe_topics

    loaded = settings_of(settings, broker=broker)
    sources = sources_of(loaded)
    with errors_reported():
        created = create_missing(loaded, sources) if create else []
        states = describe_topics(loaded, sources)
    if as_json:
        say_json([_row(state, created) for state in states])
    else:
        _print_table(states, created)
    raise typer.Exit(FAILED if any(state.problem for state in states) else DONE)


def schemas(
    directory: Annotated[Path | None, typer.Argument(help="Write the files here. Without it, print JSON.")] = None,
    form: Annotated[
        Literal["json-schema", "asyncapi", "connect"] | None,
        typer.Option("--format", help="Only this form. Needed without a directory."),
    ] = None,
    topic: Annotated[str | None, typer.Option("--topic", help="Print the schema of this topic alone.")] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="Policy file whose added sources are included. Default: none.")
    ] = None,
) -> None:
    """Write schemas of all inputs and outputs: JSON Schema, AsyncAPI 3 and Kafka Connect."""
    from schemas.catalog.documents import FORMS, text_of
    from schemas.sources import BUILT_IN

    own = BUILT_IN if policy is None else policy_of(policy).sources
    sources = own.under(settings_of(None).topic_prefix)
    if directory is None:
        say_json(_schema_to_print(form, topic, sources))
        return
    if topic is not None:
        fail(MISUSED, "--topic prints one schema: use it without a directory")
    contents = {
        name: text_of(content)
        for each in (FORMS if form is None else [form])
        for name, content in _schema_files(each, sources).items()
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        fail(FAILED, f"{directory}: the schemas cannot be written: {error.strerror}")
    say(f"{len(contents)} files written to {directory}")


def _schema_files(form: Form, sources: Sources) -> dict[str, Any]:
    """The files of a form, for topics with the default number of partitions."""
    from agents.process.version import package_version
    from agents.settings.settings import Settings
    from schemas.catalog.documents import files

    return files(form, sources, package_version(), Settings.model_fields["partitions"].default)


def _schema_to_print(form: Form | None, topic: str | None, sources: Sources) -> Any:
    """One topic's schema, all by topic, or the AsyncAPI document; ends the command with 2 where it is not named."""
    from schemas.catalog.documents import ASYNCAPI_FILE, by_topic

    if form is None:
        fail(
            MISUSED, "name a directory for the files, or print one form with --format json-schema, asyncapi or connect"
        )
    if form == "asyncapi":
        if topic is not None:
            fail(MISUSED, "--topic: an AsyncAPI document is of all topics: use --format json-schema or connect")
        return _schema_files(form, sources)[ASYNCAPI_FILE]
    listed = by_topic(form, sources)
    if topic is not None and topic not in listed:
        fail(MISUSED, f"--topic {topic}: no input or output has this name; they are {', '.join(listed)}")
    return listed if topic is None else listed[topic]


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
