"""Moves the state of a group to more partitions in its place: `vitals state repartition`.

Owns the order: export to a file first, add partitions to the topics that are the product's own, import. So
state is never only in the process that moves it. Called by `agents.cli.state`.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from agents.kafka.client import BrokerError
from agents.kafka.partitions import partition_of
from agents.process.progress import Progress
from agents.settings.settings import Settings
from agents.state.cluster import Cluster, changelog_of
from agents.state.export import export_state
from agents.state.importing import import_state
from agents.state.saved import read_saved
from schemas.topics import all_topics
from stream.recovery.repartition import accounts_of


class Repartitioned(msgspec.Struct):
    """What was done: the copy of the state before, the partition counts, and the topics that got more partitions."""

    file: str
    before: int
    partitions: int
    accounts: int
    moved: int
    grown: list[str]


def repartition_state(
    cluster: Cluster, settings: Settings, path: Path, progress: Progress, *, dry_run: bool
) -> Repartitioned:
    """Move every account to its partition of `settings.partitions`; `path` gets the state as it was.

    Raises `BrokerError`, OSError, `stream.recovery.repartition.RepartitionError`.
    """
    count, changelog = settings.partitions, changelog_of(cluster, settings)
    before = cluster.partitions(changelog)
    cluster.require_stopped()
    grown = _topics_to_grow(cluster, settings.group, count)
    exported = export_state(cluster, settings, path, progress, dry_run=dry_run)
    if exported.not_final:
        msg = (
            f"the workers were not stopped in order ({exported.not_final[0]}): start them with {before} partitions, "
            "stop them with SIGTERM, and try again"
        )
        raise BrokerError(msg)
    done = Repartitioned(str(path), before, count, exported.accounts, 0, sorted(grown))
    if dry_run:
        done.moved = _misplaced(cluster, changelog, (before, count), progress)
        return done
    cluster.grow(grown)
    done.moved = import_state(cluster, settings, path, progress, replace=True, start=None, dry_run=False).moved
    return done


def _topics_to_grow(cluster: Cluster, group: str, count: int) -> dict[str, int]:
    """The product's own topics that have fewer partitions. Raises `BrokerError` where an input topic does not fit."""
    inputs = {
        topic.name: cluster.partitions(topic.name)
        for topic in all_topics(group, cluster.sources)
        if topic.role == "input"
    }
    wrong = {name: partitions for name, partitions in inputs.items() if partitions != count}
    if wrong:
        listed = ", ".join(f"{name} ({partitions})" for name, partitions in wrong.items())
        msg = (
            f"input topics do not have {count} partitions: {listed}. Add them with `kafka-topics --alter --topic NAME "
            f"--partitions {count}`. Kafka cannot remove partitions: to have fewer, export the state and import it "
            "into a deployment with other topics"
        )
        raise BrokerError(msg)
    own = {
        topic.name: cluster.partitions(topic.name)
        for topic in all_topics(group, cluster.sources)
        if topic.role != "input"
    }
    return {name: count for name, partitions in own.items() if 0 < partitions < count}


def _misplaced(cluster: Cluster, changelog: str, counts: tuple[int, int], progress: Progress) -> int:
    before, count = counts
    return sum(
        partition_of(account, count) != number
        for number in range(before)
        for account in accounts_of(read_saved(cluster, changelog, number, progress).records)
    )
