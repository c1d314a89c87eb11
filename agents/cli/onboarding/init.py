"""The command `vitals init`.

Owns its options, its questions and what it prints; the work is in `agents.proposal`. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast
# ruff: noqa: PLR0917 -- the parameters of a command are its options

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Sequence
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from agents.cli.base import MISUSED, AllowBefore, BrokerUrl, MappingNames, fail, mapping_of, say, settings_of
from agents.cli.event_files import reading_options, report_bad_lines, unreadable_files_reported
from agents.cli.onboarding.import_files import is_terminal
from agents.process.progress import progress_bar

if TYPE_CHECKING:
    from agents.proposal.proposal import Proposal

_NAME = r"[A-Za-z0-9_-]{1,40}"


def init(
    more: Annotated[list[Path] | None, typer.Argument(help="More event files for --from.", show_default=False)] = None,
    from_: Annotated[
        list[Path] | None, typer.Option("--from", help="Event files to look at, as for `vitals score`.")
    ] = None,
    mapping: MappingNames = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", help="Without files: a source of events that you have, such as product-usage."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the policy. Default: health.")] = None,
    into: Annotated[Path, typer.Option("--into", help="Folder to write to.")] = Path(),
    broker: BrokerUrl = None,
    allow_before: AllowBefore = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
) -> None:
    """Write a policy, mappings, settings, a compose file and a README to begin with; --from proposes from your data.

    Asks what is not said, on a terminal.
    """
    # long because: the parameters are the options
    from agents.proposal.directory import Contents, existing, files_of, write

    if more and not from_:
        fail(MISUSED, "give event files after --from: vitals init --from FILES")
    paths = [*(from_ or []), *(more or [])]
    if not paths and not source:
        paths, source = _asked()
    name = name or "health"
    if not re.fullmatch(_NAME, name):
        fail(MISUSED, f"--name {name!r}: letters, digits, - and _, at most 40")
    loaded = settings_of(None, broker=broker)
    planned = ["policy.toml", ".env", "compose.yml", "README.md", ".gitignore"]
    _refuse_existing(existing(into, planned), force=force)
    answer = _proposed(paths, mapping, allow_before) if paths else _Answer(_usual(source or []), {})
    contents = Contents(
        name,
        answer.proposal,
        [_from(into, path) for path in paths],
        answer.mappings,
        [_named(into, each) for each in mapping or []],
        loaded.broker,
        secrets.token_hex(24),
    )
    files = files_of(contents)
    _refuse_existing(existing(into, list(files)), force=force)
    with unreadable_files_reported():
        write(into, files)
    _report(answer.proposal, into, list(files), has_files=bool(paths))


class _Answer(NamedTuple):
    """A proposal, and the mappings to write by name."""

    proposal: Proposal
    mappings: dict[str, str]


def _refuse_existing(paths: Sequence[Path], *, force: bool) -> None:
    if paths and not force:
        listed = ", ".join(map(str, paths))
        fail(MISUSED, f"{listed}: exists; nothing was written. Give another folder (--into) or --force to overwrite")


def _asked() -> tuple[list[Path], list[str]]:
    """The event files or sources that a person has."""
    from agents.proposal.candidates import SOURCES

    if not is_terminal():
        fail(MISUSED, f"nobody can be asked here: give --from FILES, or --source with one of {', '.join(SOURCES)}")
    text = typer.prompt("Event files, folders or patterns to look at (empty: none)", default="", show_default=False)
    if text.strip():
        return [Path(word) for word in text.split()], []
    asked = [source for source in SOURCES if typer.confirm(f"Do you have events of {source}?", default=True)]
    return [], asked


def _usual(sources: list[str]) -> Proposal:
    from agents.proposal.candidates import SOURCES
    from agents.proposal.proposal import usual_proposal

    unknown = [source for source in sources if source not in SOURCES]
    if unknown or not sources:
        fail(MISUSED, f"--source {', '.join(unknown)}: expected one or more of {', '.join(SOURCES)}")
    return usual_proposal(sources)


def _proposed(paths: list[Path], mapping: list[str] | None, allow_before: str | None) -> _Answer:
    from agents.files.formats import STDIN, expanded
    from agents.proposal.presets import UnrecognisedError, mapping_text, recognise_files
    from agents.proposal.proposal import NothingToProposeError, proposal_of
    from schemas.sources import BUILT_IN
    from stream.mapping.apply import merged
    from stream.mapping.reading import parse_mapping

    if STDIN in paths:
        fail(MISUSED, "--from -: standard input can be read once only; save it to a file")
    files, texts = expanded(paths), dict[str, str]()
    with unreadable_files_reported():
        if not mapping:
            try:
                recognised = recognise_files(files)
            except UnrecognisedError as error:
                if error.draft:
                    say(error.draft)
                fail(MISUSED, str(error))
            for preset in sorted({each.preset for each in recognised if each.preset}):
                of_preset = [each.path for each in recognised if each.preset == preset]
                texts[preset] = mapping_text(preset, [] if len(of_preset) == len(files) else of_preset)
        rules = merged([parse_mapping(text, preset) for preset, text in texts.items()]) if texts else None
        rules = mapping_of(mapping, BUILT_IN) if mapping else rules
        how = reading_options(settings_of(None), BUILT_IN, None, allow_before, None)._replace(mapping=rules)
        with progress_bar() as progress:
            try:
                return _Answer(proposal_of(files, how._replace(progress=progress)), texts)
            except NothingToProposeError as error:
                fail(MISUSED, str(error))


def _from(into: Path, path: Path) -> str:
    """A path as it is named in the folder that is written to."""
    if path.is_absolute() or into == Path():
        return path.as_posix()
    if has_magic(str(path)):
        return Path(os.path.relpath(path.parent, into), path.name).as_posix()
    return Path(os.path.relpath(path, into)).as_posix()


def _named(into: Path, mapping: str) -> str:
    return _from(into, Path(mapping)) if Path(mapping).is_file() else mapping


def _report(proposal: Proposal, into: Path, files: list[str], *, has_files: bool) -> None:
    from agents.proposal.proposal import by_reason
    from stream.explain.text import counted

    report_bad_lines(proposal.bad)
    if proposal.accounts is not None:
        which = (
            "nothing tells them apart, so the usual measures"
            if proposal.is_usual
            else "the measures that tell them apart"
        )
        say(f"{counted(proposal.accounts, 'account')}; {which}:")
    for measure in proposal.measures:
        say(f"  {measure.candidate.name}: {measure.thresholds.reason}")
    for reason, names in by_reason(proposal.left_out).items():
        say(f"  left out: {names}: {reason}")
    say(f"written: {', '.join(str(into / name) for name in files)}")
    say(f"next: {into / 'README.md'} has the commands for {'scores, board and Kafka' if has_files else 'Kafka'}")
