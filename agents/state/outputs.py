"""Copies what was published last of accounts that change partition to their new partition.

Owns which records of the output topics are copied: the latest score of each account, its latest change of each score,
and its alerts that are firing. Readers of a partition, and a worker whose state is rebuilt, then find in the account's
partition what they need. A copied change or alert has the id of the record it was copied from. Called by
`agents.state.importing`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from agents.kafka.partitions import partition_of
from agents.process.progress import Progress
from agents.state.cluster import Cluster, Written
from schemas.records import UnreadableError, read_message
from schemas.topics import ALERTS, CHANGES, SCORES

Order = tuple[int, int]
"""By what one record is later than another about the same: revision or time first."""


class _Published(NamedTuple):
    """The latest record about something; of two that are equal, the one in the partition of its account."""

    order: Order
    at_home: bool
    partition: int
    key: bytes
    value: bytes
    wanted: bool


def copy_published(cluster: Cluster, count: int, progress: Progress) -> int:
    """Copy the latest records that are not in the partition of their account; returns how many.

    Changes and alerts of accounts without a score are left: they were erased.
    """
    copied = 0
    scored: set[str] | None = None
    for topic, read in ((SCORES, _score), (CHANGES, _change), (ALERTS, _alert)):
        latest: dict[tuple[str, ...], _Published] = {}
        own = cluster.sources.own(topic)
        for number, record in _records(cluster, own, progress):
            if record.value is None:
                _forget(latest, number, record.key)
                continue
            try:
                about, order, wanted = read(read_message(dict, record.value))
            except (UnreadableError, KeyError, TypeError):
                continue  # what no worker wrote
            at_home = partition_of(record.key, count) == number
            known = latest.get(about)
            if known is None or (order, at_home) >= (known.order, known.at_home):
                latest[about] = _Published(order, at_home, number, record.key, record.value, wanted)
        if scored is None:
            scored = {account for account, *_ in latest}
        latest = {about: published for about, published in latest.items() if about[0] in scored}
        moved = [published for published in latest.values() if published.wanted and not published.at_home]
        cluster.write(own, [Written(partition_of(each.key, count), each.key, each.value) for each in moved])
        copied += len(moved)
    return copied


def _forget(latest: dict[tuple[str, ...], _Published], partition: int, key: bytes) -> None:
    """Forget what a partition has about an account that was erased; each that has a score has a tombstone, too."""
    for about in [about for about, each in latest.items() if (each.partition, each.key) == (partition, key)]:
        del latest[about]


def _records(cluster: Cluster, topic: str, progress: Progress) -> Iterator[tuple[int, Any]]:
    begins, ends = cluster.begins(topic), cluster.ends(topic)
    for number, end in ends.items():
        for record in cluster.read(topic, number, begins[number], end):
            progress(f"reading {topic} {number}", record.offset + 1 - begins[number], end - begins[number])
            yield number, record


def _score(message: dict[str, Any]) -> tuple[tuple[str, ...], Order, bool]:
    """What a message is about, its order, and whether it is copied if it is the latest."""
    return (message["account_id"],), (message["revision"], 0), True


def _change(message: dict[str, Any]) -> tuple[tuple[str, ...], Order, bool]:
    about = "override" if message["cause"] == "override" else message["score"]
    return (message["account_id"], about), (message["revision"], message["time"]), True


def _alert(message: dict[str, Any]) -> tuple[tuple[str, ...], Order, bool]:
    """As `_score`; the alert of an idle source or a storm belongs to a partition, not to an account."""
    firing = message["status"] == "firing"
    order = (message["starts_at"] if firing else message["ends_at"], int(not firing))
    return (message["account_id"], message["rule"]), order, firing and bool(message["account_id"])
