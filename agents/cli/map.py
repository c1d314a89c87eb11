"""The commands `vitals map`, for files, and `vitals mapper`, a process that maps topics.

Owns their options and what they print; the work is in `agents.files` and `agents.mapper`. Registered by
`agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast
# ruff: noqa: PLR0917 -- the parameters of a command are its options

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agents.cli.base import (
    DONE,
    FAILED,
    MISUSED,
    AsJson,
    BrokerUrl,
    MappingNames,
    PolicyPath,
    SettingsFile,
    errors_reported,
    fail,
    mapping_of,
    say,
    say_json,
    settings_of,
    sources_of,
)
from agents.cli.event_files import report_bad_lines, unreadable_files_reported
from agents.process.terminal import printable_json

if TYPE_CHECKING:
    from agents.files.mapped import MappedFile
    from agents.files.playback import BadLine


def map_files(
    files: Annotated[list[Path], typer.Argument(help="Files of any format, folders, patterns, or - for stdin.")],
    mapping: MappingNames = None,
    policy: PolicyPath = None,
    show: Annotated[int, typer.Option("--show", min=0, help="Records to show for each rule.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Show what a mapping makes of files: records before and after, and counts. With --json, print the events."""
    from agents.files.formats import expanded
    from agents.files.mapped import map_file

    sources = sources_of(settings_of(None, policy=policy))
    rules = mapping_of(mapping, sources)
    bad: list[BadLine] = []
    with unreadable_files_reported():
        for path in expanded(files):
            mapped = map_file(path, sources, rules, show)
            if as_json:
                for event in mapped.events:
                    say_json(event)
            else:
                _print(mapped)
            bad += mapped.bad
    report_bad_lines(bad)
    raise typer.Exit(FAILED if bad else DONE)


def _print(mapped: MappedFile) -> None:
    from stream.explain.text import counted

    for rule, examples in mapped.examples.items():
        for example in examples:
            say(f"{mapped.path}:{example.number}: rule {rule}")
            say(f"  before  {printable_json(example.before)}")
            say(f"  after   {printable_json(example.after)}")
    say(f"{mapped.path}: {counted(mapped.records, 'record')}")
    for name, count in mapped.counts.items():
        say(f"  {count:>9,}  {name}")


def mapper(
    topics: Annotated[list[str], typer.Argument(help="Topics of other systems to read.")],
    mapping: MappingNames = None,
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    policy: PolicyPath = None,
    once: Annotated[bool, typer.Option("--once", help="Map what the topics have now, then exit.")] = False,
) -> None:
    """Read topics of other systems, and write what a mapping makes of their records to the input topics."""
    from agents.mapper.mapper import run_mapper
    from agents.process.logs import configure_logging

    loaded = settings_of(settings, broker=broker, policy=policy)
    sources = sources_of(loaded)
    rules = mapping_of(mapping, sources)
    if rules is None:
        fail(MISUSED, "--mapping: name a mapping file or a preset")
    for topic in topics:
        if topic in {source.topic for source in sources}:
            fail(MISUSED, f"{topic} is an input topic of the workers: give the topics that other systems write to")
        if not rules.reads(topic):
            fail(MISUSED, f"no rule of {rules.file} is for the topic {topic}: see its `from`")
    configure_logging(loaded.log_level)
    with errors_reported():
        written = run_mapper(loaded, rules, topics, sources, once=once)
    say(f"{written:,} {'event' if written == 1 else 'events'} written")
