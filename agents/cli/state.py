"""The commands `vitals state export`, `import`, `repartition`, `rebuild` and `quarantine`.

Owns their options, progress bars and what they print; the work is in `agents.state`. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast
# ruff: noqa: PLR0917 -- the parameters of a command are its options

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from agents.cli.base import (
    MISUSED,
    AsJson,
    BrokerUrl,
    PolicyPath,
    SettingsFile,
    errors_reported,
    fail,
    plan_of,
    say,
    say_json,
    settings_of,
    sources_of,
)
from agents.process.progress import Progress, progress_bar

if TYPE_CHECKING:
    from agents.settings.settings import Settings
    from agents.state.cluster import KafkaCluster
    from agents.state.rebuild import Missing, Restarted

state = typer.Typer(help="Export, import, move, rebuild and repair the saved state of a group.", no_args_is_help=True)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done. Changes nothing.")]
_SHADOW_DROPPED = "the state of the shadow {}: it starts again from the live state"
QUARANTINE_FILE = Path("vitals-quarantine.jsonl")


@state.command("export")
def export_(
    file: Annotated[Path, typer.Argument(help="File to write; compressed if its name ends in .gz.")],
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Write the state of all partitions to one file. Workers may run."""
    from agents.state.export import export_state

    if file.exists():
        fail(MISUSED, f"{file}: the file exists; give another name")
    with _command(settings_of(settings, broker=broker), "export") as (loaded, cluster, progress):
        done = export_state(cluster, loaded, file, progress, dry_run=dry_run)
    exported = f"{done.accounts:,} accounts ({done.records:,} records, {done.partitions} partitions)"
    lines = [f"{exported} {_was('exported', dry_run)} to {done.file}"]
    lines += [f"policy {policy}" for policy in done.policies]
    if done.not_final:
        lines.append(
            f"the workers have not been stopped in order ({done.not_final[0]}): the file can be imported for the same "
            "topics and partitions only"
        )
    _print(done, lines, as_json=as_json)


@state.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="File of `vitals state export`.")],
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    replace: Annotated[bool, typer.Option("--replace", help="Delete the state that the group has.")] = False,
    start: Annotated[
        str | None,
        typer.Option(
            "--start",
            help="beginning or end: where to begin in input topics that the state was not made from, if they have "
            "records.",
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Write the state in a file to a group without state, here or on another cluster, with any partition count."""
    from agents.state.importing import import_state

    with _command(settings_of(settings, broker=broker), "import") as (loaded, cluster, progress):
        done = import_state(cluster, loaded, file, progress, replace=replace, start=_start(start), dry_run=dry_run)
    imported = f"{done.accounts:,} accounts ({done.records:,} records)"
    lines = [f"{imported} {_was('imported', dry_run)} into group {done.group}"]
    lines += [f"{done.replaced:,} records of the group's state {_was('deleted', dry_run)}"] if done.replaced else []
    lines += [f"{done.moved:,} accounts {_was('moved', dry_run)} to another partition"] if done.moved else []
    if done.positions == "kept":
        lines.append("the input topics are those of the state: workers continue at its positions")
    else:
        lines.append(f"the input topics are not those of the state: workers start at their {done.positions}")
    _print(done, lines, as_json=as_json)


def _start(start: str | None) -> Literal["beginning", "end"] | None:
    if start == "beginning":
        return "beginning"
    if start not in {None, "end"}:
        fail(MISUSED, f"--start {start!r}: expected beginning or end")
    return None if start is None else "end"


@state.command()
def repartition(
    partitions: Annotated[
        int, typer.Option("--partitions", min=1, max=1024, help="Partitions that the input topics have now.")
    ],
    file: Annotated[
        Path | None,
        typer.Argument(
            help="File that gets the state as it was, before anything is changed. Default: GROUP-state.jsonl.gz."
        ),
    ] = None,
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Move the accounts to their partitions after the input topics have got more. Workers must be stopped."""
    from agents.state.repartition import repartition_state

    with _command(settings_of(settings, broker=broker, partitions=partitions), "repartition") as (
        loaded,
        cluster,
        progress,
    ):
        path = file or Path(f"{loaded.group}-state.jsonl.gz")
        done = repartition_state(cluster, loaded, path, progress, dry_run=dry_run)
    lines = [f"{done.moved:,} of {done.accounts:,} accounts {_was('moved', dry_run)}; {done.file} has the state before"]
    lines += [f"partitions {_was('added', dry_run)} to {', '.join(done.grown)}"] if done.grown else []
    lines.append(f"start all processes with VITALS_PARTITIONS={done.partitions}")
    _print(done, lines, as_json=as_json)


@state.command()
def rebuild(
    partition: Annotated[int | None, typer.Option("--partition", min=0, help="Only this partition.")] = None,
    topic: Annotated[
        str | None,
        typer.Option(
            "--topic",
            help="Delete nothing: only read this input topic, which was created again, from its first record.",
        ),
    ] = None,
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Delete the state and let the next worker compute it from the input topics. Workers must be stopped."""
    from agents.state.rebuild import rebuild_state, restart_topic

    if topic is not None and partition is not None:
        fail(MISUSED, "--topic is for all partitions: give it without --partition")
    with _command(settings_of(settings, broker=broker), "rebuild") as (loaded, cluster, progress):
        if topic is not None:
            restarted = restart_topic(cluster, loaded, topic, progress, dry_run=dry_run)
            _print(restarted, _restarted(restarted, dry_run), as_json=as_json)
            return
        done = rebuild_state(cluster, loaded, partition, progress, dry_run=dry_run)
    numbers = ", ".join(map(str, done.partitions))
    deleted = f"{done.deleted:,} records of partitions {numbers} {_was('deleted', dry_run)}"
    lines = [f"{deleted}; the next worker reads {done.to_read:,} records of the input topics"]
    lines += _missing(done.missing)
    lines.append(f"revisions of scores begin above {done.revision:,}, the largest that was published")
    _print(done, lines, as_json=as_json)


@state.command()
def quarantine(
    account: Annotated[str, typer.Argument(help="Account id.")],
    to: Annotated[
        Path, typer.Option("--to", help="File that the account's records are appended to.")
    ] = QUARANTINE_FILE,
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    policy: PolicyPath = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Set the saved state of one account aside and compute it from its events. Workers must be stopped."""
    from agents.state.quarantine import quarantine as set_aside

    loaded = settings_of(settings, broker=broker, policy=policy)
    plan = plan_of(loaded)
    with _command(loaded, "quarantine") as (_, cluster, progress):
        done = set_aside(cluster, loaded, plan, account, to, progress=progress, dry_run=dry_run)
    records = f"{done.set_aside} records of {done.account} (partition {done.partition})"
    lines = [f"{records} {_was('written', dry_run)} to {done.file} and {_was('deleted', dry_run)}"]
    if done.events:
        lines.append(f"the account {_was('computed', dry_run)} from {done.events:,} events")
    else:
        lines.append(f"the input topics have no event of {done.account}: it has no score any more")
    lines += _missing(done.missing)
    lines += [f"{done.published} records {_was('published', dry_run)}"] if done.published else []
    lines += [_SHADOW_DROPPED.format(_was("deleted", dry_run))] if done.shadow_dropped else []
    _print(done, lines, as_json=as_json)


def _restarted(done: Restarted, dry_run: bool) -> list[str]:
    begins = ", ".join(f"{partition}: {offset}" for partition, offset in sorted(done.position.items()))
    lines = [
        f"the positions in {done.topic} {_was('set', dry_run)} to its first records (partition: offset {begins})",
        f"the state of {done.accounts:,} accounts stays: events whose ids are known are not counted again",
    ]
    lines += [_SHADOW_DROPPED.format(_was("deleted", dry_run))] if done.shadow_dropped else []
    return lines


def _missing(missing: Sequence[Missing]) -> list[str]:
    lines = []
    for gap in missing:
        since = "no record is left" if gap.since is None else f"the first that is left is of {_time(gap.since)}"
        lines.append(f"missing: {gap.topic} partition {gap.partition} before offset {gap.offset}; {since}")
    return lines


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds")


def _was(done: str, dry_run: bool) -> str:
    return f"would be {done}" if dry_run else done


def _print(done: Any, lines: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        say_json(done)
        return
    for line in lines:
        say(line)


@contextmanager
def _command(loaded: Settings, command: str) -> Iterator[tuple[Settings, KafkaCluster, Progress]]:
    """Connect to the broker, show progress, and end the command with a message for what goes wrong."""
    from agents.state.cluster import open_cluster
    from agents.state.state_file import StateFileError
    from stream.columns.row_schema import RowSchemaError
    from stream.recovery.repartition import RepartitionError

    sources = sources_of(loaded)
    try:
        with (
            errors_reported(StateFileError, RepartitionError, RowSchemaError),
            open_cluster(loaded, command, sources) as cluster,
            progress_bar() as progress,
        ):
            yield loaded, cluster, progress
    except OSError as error:
        fail(MISUSED, f"{error.filename}: {error.strerror}")
