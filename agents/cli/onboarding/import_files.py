"""The command `vitals import`.

Owns its options, its question and what it prints; the work is in `agents.imports`. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast
# ruff: noqa: PLR0917 -- the parameters of a command are its options

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
import typer

from agents.cli.base import (
    DONE,
    FAILED,
    MISUSED,
    AllowBefore,
    AsJson,
    BrokerUrl,
    MappingNames,
    PolicyPath,
    SettingsFile,
    errors_reported,
    fail,
    plan_of,
    say,
    say_json,
    settings_of,
)
from agents.cli.event_files import MOST_PRINTED, reading_options, unreadable_files_reported
from agents.process.progress import progress_bar

if TYPE_CHECKING:
    from agents.files.replay import Reading
    from agents.imports.plan import Plan
    from agents.imports.reading import EventFiles
    from agents.imports.rejects import Rejects
    from agents.imports.spool import Spool
    from agents.settings.settings import Settings
    from stream.plan.plan import Plan as CompiledPolicy


def import_files(
    files: Annotated[list[Path], typer.Argument(help="Event files, as for `vitals score`.")],
    mapping: MappingNames = None,
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    policy: PolicyPath = None,
    allow_before: AllowBefore = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be sent, and look at the topics. Changes nothing.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Send without asking; needed where nobody can answer.")
    ] = False,
    rejects: Annotated[
        Path | None,
        typer.Option("--rejects", help="Write records that are left out to this file. Default: beside the progress."),
    ] = None,
    state: Annotated[Path, typer.Option("--state", help="Folder for the sorted events and the progress.")] = Path(
        ".vitals-import"
    ),
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Forget the progress, and send everything again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Load event files into the input topics, in order of time. The same command goes on after a kill."""
    # long because: the parameters are the options
    from agents.files.formats import expanded
    from agents.files.mappings import mapping_file
    from agents.imports.reading import inputs_of
    from agents.imports.run import spool_path
    from agents.imports.spool import SpoolError

    if not (dry_run or yes or is_terminal()):
        fail(MISUSED, "nobody can be asked here: add --yes to send, or --dry-run to see what would be sent")
    loaded = settings_of(settings, broker=broker, policy=policy)
    compiled = plan_of(loaded)
    how = reading_options(loaded, compiled.sources, None, allow_before, mapping)
    paths = expanded(files)
    with unreadable_files_reported():
        named = [mapping_file(name) for name in mapping or []]
        inputs = inputs_of(paths, named, compiled.sources, how.earliest_ms)
    path = spool_path(state, loaded.broker, paths)
    job = _Job(loaded, compiled, paths, how, inputs, path, rejects or path.with_suffix(".rejects.jsonl"))
    with errors_reported(SpoolError), unreadable_files_reported():
        if dry_run:
            _dry_run(job, write=rejects is not None, as_json=as_json)
        else:
            _import(job, ask=not yes, from_beginning=from_beginning, as_json=as_json)


def is_terminal() -> bool:
    """Whether a person can answer a question."""
    return sys.stdin.isatty()


class _Job(NamedTuple):
    """What is imported, how it is read, and the files of the import."""

    settings: Settings
    compiled: CompiledPolicy
    paths: list[Path]
    how: Reading
    inputs: dict[str, str]
    spool: Path
    rejects: Path

    def files(self, oldest: dict[str, int], how: Reading) -> EventFiles:
        from agents.imports.reading import EventFiles

        return EventFiles(self.paths, self.compiled.sources, how, oldest, self.compiled.properties)


def _oldest(job: _Job) -> dict[str, int]:
    from agents.imports.sender import oldest_times
    from agents.kafka.rights_check import require_rights

    require_rights(job.settings, "import", sources=job.compiled.sources)
    return oldest_times(job.settings, job.compiled.sources)


def _dry_run(job: _Job, *, write: bool, as_json: bool) -> None:
    from agents.imports.plan import empty_plan
    from agents.imports.rejects import Rejects
    from agents.kafka.client import BrokerError

    problem: str | None = None
    try:
        oldest = _oldest(job)
    except BrokerError as error:
        oldest, problem = {}, str(error)
    plan = empty_plan(job.compiled.sources)
    with Rejects(job.rejects if write else None, remembered=MOST_PRINTED) as rejects, progress_bar() as progress:
        for _ in job.files(oldest, job.how._replace(progress=progress)).events(plan, rejects):
            pass
    _report_rejects(rejects)
    if as_json:
        say_json(_document(job, plan) | {"problem": problem})
    else:
        say(plan_of_files(plan, job))
        say(f"dry run: nothing was sent to {job.settings.broker}")
    if problem is not None:
        fail(FAILED, problem)
    raise typer.Exit(FAILED if plan.refused or plan.incomplete else DONE)


def _import(job: _Job, *, ask: bool, from_beginning: bool, as_json: bool) -> None:
    from agents.files.formats import STDIN

    oldest = _oldest(job)
    goes_on = job.spool.is_file() and not from_beginning and STDIN not in job.paths
    with _resumed(job) if goes_on else _begun(job, oldest) as spool:
        state = spool.state
        before = state.sent + state.refused
        if not as_json:
            say(plan_of_files(state.plan, job))
        if state.is_done:
            again = "give --from-beginning to send them again"
            say(f"these files have been imported: {state.sent:,} events were sent; {again}", err=True)
        else:
            if goes_on:
                say(f"going on after {before:,} of {state.plan.events:,} events", err=True)
            if ask and not typer.confirm(f"Send {state.plan.events - before:,} events to {job.settings.broker}?"):
                fail(FAILED, "nothing was sent")
            _send(job, spool)
        if as_json:
            say_json(_document(job, state.plan) | {"sent": state.sent, "refused_by_broker": state.refused})
        else:
            say(f"{state.sent:,} of {state.plan.events:,} events are in the topics")
        plan = state.plan
        has_rejects = bool(plan.refused or plan.incomplete or state.refused)
    if has_rejects:
        say(f"what was left out is in {job.rejects}", err=True)
    raise typer.Exit(FAILED if has_rejects else DONE)


def _resumed(job: _Job) -> Spool:
    """The saved import; ends the command with 2 if what it read has changed since."""
    from agents.imports.reading import changed
    from agents.imports.spool import Spool

    spool = Spool(job.spool)
    names = changed(spool.state.inputs, job.inputs)
    if names:
        spool.__exit__()
        how_far = f"{spool.state.sent:,} of {spool.state.plan.events:,} events were sent"
        fail(
            MISUSED,
            f"{', '.join(names)} changed since this import began, and {how_far}: put it back to go on, or give "
            "--from-beginning to send everything; workers drop the events that they remember, by their ids",
        )
    return spool


def _begun(job: _Job, oldest: dict[str, int]) -> Spool:
    from agents.imports.plan import empty_plan
    from agents.imports.rejects import Rejects
    from agents.imports.spool import Spool

    if job.spool.is_file():
        Spool(job.spool).__exit__()  # nobody else uses it
    plan = empty_plan(job.compiled.sources)
    with Rejects(job.rejects, remembered=MOST_PRINTED) as rejects, progress_bar() as progress:
        files = job.files(oldest, job.how._replace(progress=progress))
        spool = Spool.create(job.spool, job.inputs, files.events(plan, rejects), plan)
    _report_rejects(rejects)
    return spool


def _send(job: _Job, spool: Spool) -> None:
    from agents.imports.rejects import Rejects
    from agents.imports.run import send_all
    from agents.imports.sender import Sender
    from agents.kafka.client import BrokerError

    names = [name for name, source in spool.state.plan.sources.items() if source.events]
    rejects = Rejects(job.rejects, remembered=MOST_PRINTED, goes_on=True)
    try:
        with Sender(job.settings, job.compiled.sources, names) as sender, rejects, progress_bar() as progress:
            send_all(spool, sender, rejects, progress)
    except (BrokerError, KeyboardInterrupt) as error:
        state = spool.state
        stopped = f"stopped after {state.sent + state.refused:,} of {state.plan.events:,} events"
        fail(FAILED, *([str(error)] if str(error) else []), f"{stopped}: the same command goes on from there")
    _report_rejects(rejects)


def _report_rejects(rejects: Rejects) -> None:
    for bad in rejects.first:
        say(f"{bad.file}:{bad.line}: {bad.reason}: {bad.message}", err=True)
    for (file, reason), count in rejects.counts.items():
        if count > MOST_PRINTED:
            say(f"{file}: {count - MOST_PRINTED:,} more records like this ({reason})", err=True)


def plan_of_files(plan: Plan, job: _Job) -> str:
    """The plan as text."""
    from agents.cli.texts.imports import plan_text

    return plan_text(plan, len(job.paths))


def _document(job: _Job, plan: Plan) -> dict[str, object]:
    sources = [each for each in plan.sources.values() if each.events]
    return {**msgspec.structs.asdict(plan), "sources": sources, "broker": job.settings.broker}
