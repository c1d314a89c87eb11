"""Reading and replacing the saved state of a partition in the changelog.

Owns how a partition is read completely, and how it is replaced so that an interruption is noticed: before anything else
the record `u` is written, and a worker refuses state that has it. Called by the other modules of this folder.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from agents.kafka.client import BrokerError
from agents.process.progress import Progress
from agents.process.version import package_version
from agents.state.cluster import Cluster, Written
from schemas.topics import ALERTS, CHANGES
from stream.columns.row_schema import RowSchemaError
from stream.recovery.changelog import keep_newer
from stream.recovery.continuity import SourceLog, judge_source
from stream.recovery.namespaces import UNFINISHED_KEY
from stream.recovery.record_form import is_whole, namespace_of
from stream.recovery.repartition import account_of, published_of, state_of, unfinished
from stream.recovery.writer import STATE_FORMAT, WRITER_KEY, Writer, WriterError, decode_writer, encode_writer, placed

_WRITTEN_AT_ONCE = 5_000


class Saved(NamedTuple):
    """The newest value of each changelog key of a partition, up to before offset `end`.

    `resumed` says that the command itself was interrupted before.
    """

    records: dict[bytes, bytes]
    end: int
    resumed: bool


def read_saved(
    cluster: Cluster, topic: str, partition: int, progress: Progress, *, resume: str = "", skip: bytes | None = None
) -> Saved:
    """Read a partition of the changelog to its end.

    The broker may compact while it is read. What it removes has a newer record, so the end is looked up a second time.
    `resume` is a command whose interruption does not matter, `skip` an account whose records are left out. Raises
    `BrokerError` for a record that cannot be read.
    """
    newest: dict[bytes, bytes] = {}
    begin = end = cluster.begins(topic)[partition]
    for _ in range(2):
        end = cluster.ends(topic)[partition]
        for record in _shown(cluster.read(topic, partition, begin, end), partition, (begin, end), progress):
            if skip is not None and account_of(record.key[len(namespace_of(record.key)) :]) == skip:
                continue
            keep_newer(newest, record.key, record.value)
        begin = end
    command = newest.pop(UNFINISHED_KEY, b"").decode(errors="replace")
    if command not in ("", resume):
        msg = f"{topic} partition {partition}: `{command}` was interrupted; run it again"
        raise BrokerError(msg)
    damaged = next((key for key, value in newest.items() if not _is_whole(key, value)), None)
    if damaged is not None:
        records = cluster.read(topic, partition, cluster.begins(topic)[partition], end)
        offset = max(record.offset for record in records if record.key == damaged)
        raise BrokerError(_unreadable(topic, partition, offset, damaged))
    return Saved(newest, end, bool(command))


def read_keys(cluster: Cluster, topic: str, partition: int, progress: Progress) -> set[bytes]:
    """The keys that a partition of the changelog has a value for, whether these can be read or not."""
    keys: set[bytes] = set()
    begin, end = cluster.begins(topic)[partition], cluster.ends(topic)[partition]
    for record in _shown(cluster.read(topic, partition, begin, end), partition, (begin, end), progress):
        if record.value is None:
            keys.discard(record.key)
        else:
            keys.add(record.key)
    return keys


def _shown(records: Iterable[Any], partition: int, ends: tuple[int, int], progress: Progress) -> Iterator[Any]:
    begin, end = ends
    for record in records:
        progress(f"reading partition {partition}", record.offset + 1 - begin, end - begin)
        yield record


def _is_whole(key: bytes, value: bytes) -> bool:
    if key != WRITER_KEY:
        return is_whole(key, value)
    try:
        decode_writer(value)
    except WriterError:
        return False
    return True


def _unreadable(topic: str, partition: int, offset: int, key: bytes) -> str:
    account = account_of(key[len(namespace_of(key)) :])
    record = f"{topic} partition {partition} offset {offset} key {key!r}"
    if account is None:
        return f"{record} cannot be read: rebuild the partition with `vitals state rebuild`"
    name = account.decode(errors="replace")
    return f"{record} (account {name}) cannot be read: set it aside with `vitals state quarantine {name}`"


Write = Callable[[int, Iterable[bytes], Iterable[tuple[bytes, bytes]]], None]
"""Deletes keys of a partition, then writes records."""


@contextmanager
def replacing(
    cluster: Cluster, topic: str, partitions: Iterable[int], command: str, progress: Progress
) -> Iterator[Write]:
    """Replace the state of partitions; a worker refuses all of them until this is left without an error.

    `command` is what has to be run again after an interruption.
    """
    numbers = list(partitions)
    cluster.write(topic, [Written(number, UNFINISHED_KEY, command.encode()) for number in numbers])

    def write(partition: int, delete: Iterable[bytes], records: Iterable[tuple[bytes, bytes]]) -> None:
        steps: list[tuple[bytes, bytes | None]] = [(key, None) for key in sorted(set(delete) - {UNFINISHED_KEY})]
        steps += records
        written = []
        for number, (key, value) in enumerate(steps, 1):
            written.append(Written(partition, key, value))
            if len(written) == _WRITTEN_AT_ONCE or number == len(steps):
                cluster.write(topic, written)
                written = []
                progress(f"writing partition {partition}", number, len(steps))

    yield write
    cluster.write(topic, [Written(number, UNFINISHED_KEY, None) for number in numbers])


class Placing:
    """The records `w` of state that a command writes: which worker made it, and the topics that it is of now."""

    def __init__(self, cluster: Cluster, changelog: str, command: str) -> None:
        """Ask the broker where the changelog begins and which ids the input topics have."""
        self._command, self._begins, self._topics = command, cluster.begins(changelog), cluster.topic_ids()
        self._topic_of = cluster.sources.topic_of

    def record(
        self, partition: int, before: Writer | None = None, *, anew: Collection[str] | None = None
    ) -> tuple[bytes, bytes]:
        """The record of a partition whose state `before` made; None if no worker has.

        `anew` are the topics whose positions the command has set, None: all; of others the ids stay that `before` knew.
        """
        topics = {
            topic: topic_id
            for topic, topic_id in self._topics.items()
            if before is None or anew is None or topic in anew
        }
        if before is not None:
            topics = {**before.topics, **topics}
        inputs = {name: topic for name, topic in self._topic_of.items() if anew is None or topic in anew}
        first = self._begins.get(partition, 0)
        made = placed(before, self._command, package_version(), topics, first, inputs=inputs)
        return WRITER_KEY, encode_writer(made)


def writer_of(records: Mapping[bytes, bytes]) -> Writer | None:
    """The worker that made the state of a partition, if it is known."""
    return decode_writer(records[WRITER_KEY]) if WRITER_KEY in records else None


def require_readable(partition: int, records: Mapping[bytes, bytes]) -> None:
    """Raise `BrokerError` for state in a format that this version cannot take apart."""
    writer = writer_of(records)
    if writer is not None and writer.format > STATE_FORMAT:
        msg = (
            f"partition {partition}: version {writer.version} has written the state in format {writer.format}, this "
            f"version reads format {STATE_FORMAT} at most: use version {writer.version} or a later one"
        )
        raise BrokerError(msg)


def require_same_topics(cluster: Cluster, partition: int, records: Mapping[bytes, bytes]) -> None:
    """Raise `BrokerError` where an input topic is not the one any more that the positions of the state are of."""
    writer, position, ids = writer_of(records), state_of(records).get("position", {}), cluster.topic_ids()
    for source, topic in cluster.sources.topic_of.items():
        first, end = cluster.begins(topic).get(partition, 0), cluster.ends(topic).get(partition, 0)
        known_id = None if writer is None else writer.topics.get(topic)
        known_topic = None if writer is None else writer.inputs.get(source)
        log = SourceLog(topic, first, end, topic_id=ids.get(topic))
        verdict = judge_source(log, position.get(source, 0), known_id, partition=partition, known_topic=known_topic)
        if verdict is not None:
            msg = f"{verdict.reason}. First run {verdict.way_out}"
            raise BrokerError(msg)


def not_final(
    cluster: Cluster, partition: int, records: Mapping[bytes, bytes], committed: Mapping[tuple[str, int], int]
) -> str | None:
    """Why the state of a partition is not what a worker leaves that was stopped in order, or None.

    Such a state can be restored in its place, where the worker reads the same records again, but it cannot be moved.
    """
    try:
        account = unfinished(records)
    except RowSchemaError as error:
        return f"partition {partition}: {error}"
    if account is not None:
        return f"partition {partition}: the row of account {account} is ahead of the state"
    for source, offset in state_of(records).get("position", {}).items():
        topic = cluster.sources.topic_of.get(source)
        if topic is None:  # a source of an earlier policy
            continue
        if offset and committed.get((topic, partition)) != offset:
            there = committed.get((topic, partition), "none")
            return f"partition {partition}: {topic} is applied up to {offset}, the group's offset is {there}"
    for output, offset in published_of(records).items():
        topic = cluster.sources.own(output)
        end = cluster.ends(topic).get(partition, 0)
        if any(True for _ in cluster.read(topic, partition, offset, end)):
            return f"partition {partition}: {topic} has records after offset {offset} that the state does not know"
    return None


OUTPUTS = (ALERTS, CHANGES)
