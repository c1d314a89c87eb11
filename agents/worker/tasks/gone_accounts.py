"""What a partition task publishes of accounts that were erased, and sends of those that are merged into others.

Owns which partitions the records go to. Called by `agents.worker.tasks.processor`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agents.kafka.partitions import partition_of
from agents.worker.commit.outbox import Outbox
from agents.worker.tasks.task import PartitionTask
from schemas.topics import CHANGES, REPARTITION, SCORES, SHADOW
from stream.publishing.effects import Erased, Message


def publish_erased(task: PartitionTask, erased: Sequence[Erased], outbox: Outbox, partitions: int) -> None:
    """Write tombstones of erased accounts; of scores in every partition, since old ones have records of before."""
    own = task.sources.own
    topics = (own(SCORES),) if task.pair.shadow is None else (own(SCORES), own(SHADOW))
    tombstones = [Message(each.account, None) for each in erased]
    in_changes = [Message(each.account, None) for each in erased if not each.in_changes]
    for number in range(partitions) if erased else ():
        for topic in topics:
            outbox.put(topic, number, tombstones, owner=task.partition)
    outbox.put(own(CHANGES), task.partition, in_changes)


def hand_over(task: PartitionTask, outbox: Outbox, partitions: int) -> None:
    """Send the state of merged accounts to the partitions of the others, once the merges are saved."""
    if task.unsaved_merge:
        return
    records = task.pair.hand_over()
    send_by_key(task, records, outbox, partitions)
    task.changed |= bool(records)


def send_by_key(task: PartitionTask, records: Iterable[Message[bytes]], outbox: Outbox, partitions: int) -> None:
    """Send records of the repartition topic to the partitions of their keys."""
    topic = task.sources.own(REPARTITION)
    for record in records:
        outbox.put(topic, partition_of(record.key, partitions), [record], owner=task.partition)
