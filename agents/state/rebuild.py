"""Rebuilds state from the input topics: `vitals state rebuild`.

Owns what is deleted and where the next worker begins. The worker does the work: it reads the input topics again, as far
as they are kept, and continues the chain of changes and the alerts that readers have. Called by `agents.cli.state`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from agents.kafka.client import BrokerError
from agents.kafka.partitions import partition_of
from agents.process.progress import Progress
from agents.settings.settings import Settings
from agents.state.cluster import Cluster, changelog_of
from agents.state.saved import (
    OUTPUTS,
    Placing,
    read_keys,
    read_saved,
    replacing,
    require_readable,
    writer_of,
)
from schemas.records import UnreadableError, read_message
from schemas.topics import REPARTITION, SCORES
from stream.recovery.history import rebuilt_history
from stream.recovery.rebuilt import first_records
from stream.recovery.repartition import (
    Start,
    accounts_of,
    has_other_namespaces,
    published_of,
    repartition,
    state_of,
    unfinished,
)


class Missing(msgspec.Struct):
    """Records that a partition of an input topic has no more: those before `offset`, whose time is `since` (epoch ms).

    `since` is None when the partition has no record left.
    """

    topic: str
    partition: int
    offset: int
    since: int | None


class Rebuilt(msgspec.Struct):
    """What was done, or would be: the partitions, the records to read again, those that are missing, the revision."""

    partitions: list[int]
    deleted: int
    to_read: int
    missing: list[Missing]
    revision: int


class _Revision(msgspec.Struct):
    revision: int


def rebuild_state(
    cluster: Cluster, settings: Settings, partition: int | None, progress: Progress, *, dry_run: bool
) -> Rebuilt:
    """Delete the state of all partitions, or of one, and let the next worker begin at the first records.

    Raises `BrokerError`.
    """
    changelog = changelog_of(cluster, settings)
    cluster.require_stopped()
    count = cluster.partitions(changelog)
    numbers = _numbers(cluster, count, partition)
    scored, revision = _published_scores(cluster, progress)
    topic_of = cluster.sources.topic_of
    begins = {source: _first(cluster, topic) for source, topic in topic_of.items()}
    rebuilt = Rebuilt(numbers, 0, _to_read(cluster, numbers), missing_records(cluster, numbers), revision)
    existing = {number: read_keys(cluster, changelog, number, progress) for number in numbers}
    rebuilt.deleted = sum(map(len, existing.values()))
    if dry_run:
        return rebuilt
    command = "vitals state rebuild" + ("" if partition is None else f" --partition {partition}")
    placing = Placing(cluster, changelog, command)
    marks = {output: cluster.begins(cluster.sources.own(output)) for output in OUTPUTS}
    with replacing(cluster, changelog, numbers, command, progress) as write:
        offsets: dict[tuple[str, int], int] = {}
        for number, keys in existing.items():
            position = {source: begins[source].get(number, 0) for source in topic_of}
            published = {output: marks[output].get(number, 0) for output in OUTPUTS}
            accounts = [account for account in scored if partition_of(account, count) == number]
            history = rebuilt_history(_begun(cluster, rebuilt.missing, number))
            records = first_records(position, revision, published, accounts)
            write(number, keys, [*history, *records, placing.record(number)])
            offsets |= {(topic_of[source], number): offset for source, offset in position.items()}
        cluster.require_stopped()
        cluster.commit(offsets)
    return rebuilt


def _begun(cluster: Cluster, missing: Sequence[Missing], number: int) -> dict[str, int]:
    """By source the time (epoch ms) before which the records of a partition are gone."""
    now_ms, names = round(time.time() * 1000), cluster.sources.input_of
    return {
        names[gap.topic]: now_ms if gap.since is None else min(gap.since, now_ms)
        for gap in missing
        if gap.partition == number
    }


class Restarted(msgspec.Struct):
    """What was done for a topic that was created again: where its partitions begin, and how many accounts there are."""

    topic: str
    position: dict[int, int]
    accounts: int
    shadow_dropped: bool


def restart_topic(cluster: Cluster, settings: Settings, topic: str, progress: Progress, *, dry_run: bool) -> Restarted:
    """Let the workers read a topic that was deleted and created again from its first record; all state stays.

    Raises `BrokerError`, `stream.columns.row_schema.RowSchemaError`.
    """
    changelog = changelog_of(cluster, settings)
    cluster.require_stopped()
    sources = cluster.sources.input_of
    if topic not in sources:
        msg = f"{topic} is no input topic: these are {', '.join(sources)}"
        raise BrokerError(msg)
    begins = cluster.begins(topic)
    partitions = {
        number: read_saved(cluster, changelog, number, progress, resume=f"vitals state rebuild --topic {topic}").records
        for number in range(cluster.partitions(changelog))
    }
    starts: dict[int, Start] = {}
    for number, records in partitions.items():
        require_readable(number, records)
        account = unfinished(records)
        if account is not None:
            msg = f"partition {number}: the last worker crashed in a commit (account {account}): rebuild all state"
            raise BrokerError(msg)
        position = {**state_of(records).get("position", {}), sources[topic]: begins.get(number, 0)}
        starts[number] = Start(position, published_of(records))
    homes = {account: number for number, records in partitions.items() for account in accounts_of(records)}
    new = repartition(partitions, home=homes.__getitem__, starts=starts, new_topics=(sources[topic],)).partitions
    shadow = any(map(has_other_namespaces, partitions.values()))
    restarted = Restarted(topic, begins, len(homes), shadow)
    if not dry_run:
        command = f"vitals state rebuild --topic {topic}"
        placing = Placing(cluster, changelog, command)
        with replacing(cluster, changelog, partitions, command, progress) as write:
            for number, records in partitions.items():
                write(number, records, [*new[number], placing.record(number, writer_of(records), anew=(topic,))])
            cluster.commit({(topic, number): offset for number, offset in begins.items()})
    return restarted


def _numbers(cluster: Cluster, count: int, partition: int | None) -> list[int]:
    """The partitions to rebuild. Raises `BrokerError` where one alone would make events count twice."""
    if partition is None:
        return list(range(count))
    if not 0 <= partition < count:
        msg = f"there is no partition {partition}: the changelog has the partitions 0 to {count - 1}"
        raise BrokerError(msg)
    forwarded = cluster.sources.own(REPARTITION)
    if any(cluster.ends(forwarded).values()):
        msg = (
            f"events were forwarded between partitions ({forwarded} has had records): one partition alone would "
            "forward them again. Rebuild all partitions"
        )
        raise BrokerError(msg)
    return [partition]


def _first(cluster: Cluster, topic: str) -> dict[int, int]:
    """Where each partition of a topic is read from. All events are forwarded again, so forwarded ones are not read."""
    return cluster.ends(topic) if topic == cluster.sources.own(REPARTITION) else cluster.begins(topic)


def _to_read(cluster: Cluster, numbers: Sequence[int]) -> int:
    return sum(
        cluster.ends(topic).get(number, 0) - _first(cluster, topic).get(number, 0)
        for topic in cluster.sources.topics
        for number in numbers
    )


def missing_records(cluster: Cluster, numbers: Sequence[int], topics: Sequence[str] | None = None) -> list[Missing]:
    """What retention has removed of the partitions of input topics."""
    missing = []
    for topic in topics or [topic for topic in cluster.sources.topics if topic != cluster.sources.own(REPARTITION)]:
        begins, ends = cluster.begins(topic), cluster.ends(topic)
        for number in numbers:
            begin = begins.get(number, 0)
            if begin:
                first = next(cluster.read(topic, number, begin, ends[number]), None)
                missing.append(Missing(topic, number, begin, None if first is None else first.timestamp))
    return missing


def _published_scores(cluster: Cluster, progress: Progress) -> tuple[set[bytes], int]:
    """The accounts in `health.scores`, and the largest revision; 0 without a score."""
    partitions: dict[bytes, set[int]] = {}
    largest = 0
    topic = cluster.sources.own(SCORES)
    begins, ends = cluster.begins(topic), cluster.ends(topic)
    for number, end in ends.items():
        for record in cluster.read(topic, number, begins[number], end):
            progress(f"reading {topic} {number}", record.offset + 1 - begins[number], end - begins[number])
            if record.value is None:  # erased; after a repartition another partition can have the account
                partitions.get(record.key, set()).discard(number)
                continue
            try:
                largest = max(largest, read_message(_Revision, record.value).revision)
            except UnreadableError:
                continue  # what no worker wrote
            partitions.setdefault(record.key, set()).add(number)
    return {account for account, numbers in partitions.items() if numbers}, largest
