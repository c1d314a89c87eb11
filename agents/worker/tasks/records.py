"""Engine effects to Kafka records: dead letters, and forwards to the right partition.

Owns the form of records that are forwarded; that of dead letters is in `agents.kafka.letters`. Called by
`agents.worker.tasks.processor`.
"""

from __future__ import annotations

import msgspec

from agents.kafka.letters import Position, Refusal, error_headers
from agents.kafka.source_records import raw_record
from agents.worker.commit.outbox import Record
from schemas.sources import Sources
from schemas.topics import ALERTS, CHANGES, MERGED_HEADER, ORIGIN_HEADER, SCORES, SHADOW
from stream.ingest.batch import Batch, MergedFrom
from stream.publishing.effects import DeadLetter, Forward, Message


def outputs_of(sources: Sources) -> tuple[str, ...]:
    """Topics that a task writes to in the partition of its own number, beside its changelog."""
    outputs = map(sources.own, (SCORES, CHANGES, ALERTS, SHADOW))
    return (*outputs, *(sources.letters_of(source.topic) for source in sources))


def dead_letter(sources: Sources, batch: Batch, partition: int, letter: DeadLetter) -> Record:
    """Return the record byte for byte, with headers that give the reason and the origin."""
    record = raw_record(batch, letter.offset)
    origin = Position(sources.topic_of[batch.input], partition, letter.offset)
    refusal = Refusal(letter.reason, letter.message, origin, record.timestamp)
    return Message(record.key, record.value, [*record.headers, *error_headers(refusal)])


def forwarded(batch: Batch, partition: int, forward: Forward) -> Record:
    """Return the record of a partition with the account as its key and its topic in a header.

    One that another account counts names the account and the position that it comes from in a further header.
    """
    record = raw_record(batch, forward.offset)
    added = [(ORIGIN_HEADER, batch.source.encode())]
    if forward.merged is not None:
        comes_from = MergedFrom(forward.merged, f"{batch.input}/{partition}/{batch.source}", forward.offset)
        added.append((MERGED_HEADER, msgspec.json.encode(comes_from)))
    names = {name for name, _ in added}
    headers = [*(head for head in record.headers if head[0] not in names), *added]
    return Message(forward.account.encode(), record.value, headers, record.timestamp)
