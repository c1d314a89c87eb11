"""Imports exported state into a group: `vitals state import`.

Owns the rules by which positions are kept or set anew, see decision 33: on the topics that the state was made from,
positions stay; on other topics each source begins at the only record that it can begin at, or where the user says.
Called by `agents.cli.state` and `agents.state.repartition`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from agents.kafka.client import BrokerError
from agents.kafka.partitions import partition_of
from agents.process.progress import Progress
from agents.settings.settings import Settings
from agents.state.cluster import Cluster, changelog_of
from agents.state.outputs import copy_published
from agents.state.saved import (
    OUTPUTS,
    Placing,
    Write,
    read_keys,
    replacing,
    require_readable,
    writer_of,
)
from agents.state.state_file import Contents, verified
from stream.recovery.repartition import Start, accounts_of, repartition, starts_after_growth, state_of
from stream.recovery.writer import WRITER_KEY, Writer

StartAt = Literal["beginning", "end"]


class Imported(msgspec.Struct):
    """What was imported.

    `moved` counts accounts that changed partition, `replaced` records that were deleted. `positions` says where they
    come from: "kept", or "beginning" or "end" of other topics.
    """

    file: str
    group: str
    partitions: int
    records: int
    accounts: int
    moved: int
    replaced: int
    positions: Literal["kept", "beginning", "end"]


def import_state(
    cluster: Cluster,
    settings: Settings,
    path: Path,
    progress: Progress,
    *,
    replace: bool,
    start: StartAt | None,
    dry_run: bool,
) -> Imported:
    """Write the state in a file to the group's changelog, and set the group's offsets.

    Raises `BrokerError`, `StateFileError`, `stream.recovery.repartition.RepartitionError`, OSError.
    """
    contents = verified(path)
    changelog, count = changelog_of(cluster, settings), settings.partitions
    _require_partitions(cluster, changelog, count)
    cluster.require_stopped()
    existing = {number: read_keys(cluster, changelog, number, progress) for number in range(count)}
    replaced = _count(changelog, existing, replace=replace)
    same_topics = contents.header.topics == cluster.topic_ids()
    positions: Literal["kept", "beginning", "end"] = "kept"
    if same_topics and contents.header.partitions == count and _all_at_home(contents, count):
        new, moved = _as_they_are(contents), 0
    else:
        starts = None
        if not same_topics:
            starts, positions = _starts_on_other_topics(cluster, count, start)
        elif not dry_run:
            copy_published(cluster, count, progress)
        new, moved = _moved(cluster, contents, count, starts)
    command = f"vitals state import {path} --replace"
    new = _placed(
        new, contents, Placing(cluster, changelog, command), anew=() if same_topics else cluster.sources.topics
    )
    imported = Imported(str(path), settings.group, count, 0, contents.accounts, moved, replaced, positions)
    if dry_run:
        for number, records in new:
            _position(cluster, number, dict(records))
            imported.records += len(records)
        return imported
    with replacing(cluster, changelog, range(count), command, progress) as write:
        imported.records = _write(cluster, new, existing, write)
    return imported


New = Iterator[tuple[int, list[tuple[bytes, bytes]]]]
"""The new records of one partition after the other."""


def _write(cluster: Cluster, new: New, existing: dict[int, set[bytes]], write: Write) -> int:
    """Replace the existing keys of all partitions, then commit the positions; returns the number of records."""
    offsets: dict[tuple[str, int], int] = {}
    written = 0
    for number, records in new:
        offsets |= _position(cluster, number, dict(records))
        write(number, existing.pop(number), records)
        written += len(records)
    for number, keys in existing.items():
        offsets |= _position(cluster, number, {})
        write(number, keys, ())
    cluster.require_stopped()
    cluster.commit(offsets)
    return written


def _count(changelog: str, existing: Mapping[int, set[bytes]], *, replace: bool) -> int:
    """How many records are replaced. Raises `BrokerError` if there are any, and they must not be."""
    replaced = sum(map(len, existing.values()))
    if replaced and not replace:
        msg = f"{changelog} has state already ({replaced} records): give --replace to delete it, or use another group"
        raise BrokerError(msg)
    return replaced


def _require_partitions(cluster: Cluster, changelog: str, count: int) -> None:
    for topic in (changelog, *cluster.sources.topics):
        if cluster.partitions(topic) != count:
            msg = (
                f"{topic} has {cluster.partitions(topic)} partitions, the setting `partitions` says {count}: "
                "`vitals topics` lists what has to be changed"
            )
            raise BrokerError(msg)


def _all_at_home(contents: Contents, count: int) -> bool:
    """Whether every account is in the partition that it belongs to."""
    return all(
        partition_of(account, count) == number
        for number, records in contents.read()
        for account in accounts_of(records)
    )


def _as_they_are(contents: Contents) -> New:
    for number, records in contents.read():
        yield number, list(records.items())


def _placed(new: New, contents: Contents, placing: Placing, *, anew: Collection[str]) -> New:
    """The same with the record `w`: that of the same partition where the file has it, else that of another one."""
    writers: dict[int, Writer] = {}
    for number, records in contents.read():
        writer = writer_of(records)
        if writer is not None:
            writers[number] = writer
    other = next(iter(writers.values()), None)
    for number, pairs in new:
        state = [(key, value) for key, value in pairs if key != WRITER_KEY]
        yield number, [*state, placing.record(number, writers.get(number, other), anew=anew)] if state else []


def _moved(cluster: Cluster, contents: Contents, count: int, starts: Mapping[int, Start] | None) -> tuple[New, int]:
    """The records of the new partitions; `starts` None when the topics have only got more partitions."""
    reasons = [line.not_final for line in contents.partitions.values() if line.not_final]
    if reasons:
        msg = (
            f"{contents.path} has the state of workers that were not stopped in order ({reasons[0]}). It can only be "
            "imported where it was. To move it, start the workers there, stop them with SIGTERM and export again"
        )
        raise BrokerError(msg)
    partitions = dict(contents.read())
    for number, records in partitions.items():
        require_readable(number, records)
    new_topics: tuple[str, ...] | None = None
    if starts is None:
        starts = starts_after_growth(
            partitions, count, {output: cluster.ends(cluster.sources.own(output)) for output in OUTPUTS}
        )
        new_topics = ()
    moved = repartition(
        partitions, home=lambda account: partition_of(account, count), starts=starts, new_topics=new_topics
    )
    return iter(moved.partitions.items()), moved.accounts


def _starts_on_other_topics(cluster: Cluster, count: int, start: StartAt | None) -> tuple[dict[int, Start], StartAt]:
    """Where each partition begins on topics that the state was not made from. Raises `BrokerError`."""
    topic_of = cluster.sources.topic_of
    begins = {source: cluster.begins(topic) for source, topic in topic_of.items()}
    ends = {source: cluster.ends(topic) for source, topic in topic_of.items()}
    filled = [topic_of[source] for source in topic_of if begins[source] != ends[source]]
    if filled and start is None:
        msg = (
            f"the input topics are not those that the state was made from, and {', '.join(filled)} have records. "
            "Give --start beginning if none of these records is in the state (known event ids are skipped), or "
            "--start end if all of them are"
        )
        raise BrokerError(msg)
    chosen = begins if start == "beginning" else ends
    outputs = {output: cluster.ends(cluster.sources.own(output)) for output in OUTPUTS}
    starts = {
        number: Start(
            {source: chosen[source].get(number, 0) for source in topic_of},
            {output: outputs[output].get(number, 0) for output in OUTPUTS},
        )
        for number in range(count)
    }
    return starts, start or "end"


def _position(cluster: Cluster, number: int, records: Mapping[bytes, bytes]) -> dict[tuple[str, int], int]:
    """The offsets to commit for a partition: the position of its state in each input, 0 where it has none.

    Raises `BrokerError` when a topic ends before its position.
    """
    offsets, position = {}, state_of(records).get("position", {})
    for source, topic in cluster.sources.topic_of.items():
        offset = position.get(source, 0)
        end = cluster.ends(topic).get(number, 0)
        if offset > end:
            msg = f"{topic} partition {number} ends at {end}, but the state has its records up to {offset}"
            raise BrokerError(msg)
        offsets[topic, number] = offset
    return offsets
