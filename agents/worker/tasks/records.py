"""Engine effects to Kafka records: dead letters, and forwards to the right partition.

Owns the form of dead letters and of records that are forwarded. Called by `agents.worker.tasks.processor`.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from agents.worker.commit.outbox import Record
from schemas.events import SOURCES
from schemas.topics import ALERTS, CHANGES, DLQ_SUFFIX, ERROR_HEADER, ORIGIN_HEADER, REPARTITION, SCORES, SHADOW
from stream.ingest.batch import Batch
from stream.publishing.effects import DeadLetter, Forward, Message

OUTPUTS = (SCORES, CHANGES, ALERTS, SHADOW, *(source + DLQ_SUFFIX for source in SOURCES))
"""Topics that a task writes to in the partition of its own number, beside its changelog."""


def _raw(batch: Batch, offset: int) -> Any:
    records, offsets = cast("tuple[list[Any], np.ndarray[Any, Any]]", batch.origin)
    return records[int(np.searchsorted(offsets, offset))]


def dead_letter(batch: Batch, partition: int, letter: DeadLetter) -> Record:
    """Return the record byte for byte, with headers that give the reason and the origin."""
    record = _raw(batch, letter.offset)
    topic = REPARTITION if batch.repartitioned else batch.source
    origin = {"topic": topic, "partition": partition, "offset": letter.offset}
    error = {"reason": letter.reason, "message": letter.message, **origin}
    headers = [*record.headers, *((ERROR_HEADER + name, str(value).encode()) for name, value in error.items())]
    return Message(record.key, record.value, headers)


def forwarded(batch: Batch, forward: Forward) -> Record:
    """Return the record with the account as its key and its topic in a header."""
    record = _raw(batch, forward.offset)
    headers = [*(head for head in record.headers if head[0] != ORIGIN_HEADER), (ORIGIN_HEADER, batch.source.encode())]
    return Message(forward.account.encode(), record.value, headers, record.timestamp)
