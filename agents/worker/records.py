"""Kafka records to engine batches, and back: what is decoded, dead-lettered or forwarded.

Owns the way from fetched records to `stream.ingest.batch.Batch` and the form of dead letters and forwards. Called by
`agents.worker.processor`.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec
import numpy as np
import structlog

from agents.worker.outbox import Record
from schemas.codecs import Reject, decode, is_profile_tombstone
from schemas.events import SOURCES, Event, ProfileEvent
from schemas.peers import PeersMessage, read_message
from schemas.topics import ERROR_HEADER, ORIGIN_HEADER, PEERS, REPARTITION
from stream.ingest.batch import PEERS as PEERS_INDEX
from stream.ingest.batch import REPARTITION_INDEX, Batch
from stream.ingest.merge import Fetch
from stream.publishing.effects import DeadLetter, Forward, Message

log = structlog.get_logger()

TOPICS = (*SOURCES, REPARTITION, PEERS)
"""Topic of each line, in the order of `INPUT_SOURCES`."""


def read(topic: str, records: list[Any], end: int) -> Fetch:
    """Decode the next records of a source; `end` is the offset where the next ones will begin."""
    offsets = np.array([record.offset for record in records], dtype=np.int64)
    stamps = np.array([record.timestamp for record in records], dtype=np.int64)
    source_index = TOPICS.index(topic)
    if topic == PEERS:
        return Fetch(source_index, [_tables(records, offsets, stamps, end)], offsets, stamps, end)
    if source_index != REPARTITION_INDEX:
        batches = [_batch(topic, records, offsets, stamps, end)]
        return Fetch(source_index, batches, offsets, stamps, end)
    batches = []
    origins = [_origin(record) for record in records]
    for source in dict.fromkeys(origins):
        selected = np.array([at for at, origin in enumerate(origins) if origin == source], dtype=np.int64)
        part = [records[at] for at in selected.tolist()]
        batches.append(_batch(source, part, offsets[selected], stamps[selected], end, repartitioned=True))
    return Fetch(source_index, batches, offsets, stamps, end)


def _batch(
    source: str, records: list[Any], offsets: Any, stamps: Any, end: int, *, repartitioned: bool = False
) -> Batch:
    values = [record.value for record in records]
    decoded = decode(source, values)
    events, kept, rejects = decoded.events, decoded.indexes, decoded.rejects
    if rejects and source == "accounts":
        events, kept, rejects = _with_tombstones(records, events, kept, rejects)
    if kept is not None:
        rejects = [Reject(int(offsets[index]), reason, message) for index, reason, message in rejects]
        all_offsets, offsets, stamps = offsets, offsets[kept], stamps[kept]
        return Batch(source, offsets, stamps, events, end, rejects, repartitioned, (records, all_offsets))
    return Batch(source, offsets, stamps, events, end, [], repartitioned, (records, offsets))


def _tables(records: list[Any], offsets: Any, stamps: Any, end: int) -> Batch:
    """Tables of peers; what is none is passed over, since nobody but `vitals peers` writes there."""
    found: dict[int, PeersMessage] = {}
    for at, record in enumerate(records):
        try:
            found[at] = read_message(record.value or b"")
        except msgspec.DecodeError:
            log.exception("table_of_peers_refused", offset=record.offset)
    kept = np.fromiter(found, dtype=np.int64, count=len(found))
    return Batch(PEERS_INDEX, offsets[kept], stamps[kept], cast("list[Event]", list(found.values())), end)


def _origin(record: Any) -> str:
    """The source a forwarded record came from; without a header it is read as usage, and refused if it is none."""
    for name, value in record.headers:
        if name == ORIGIN_HEADER and value is not None:
            source = cast("bytes", value).decode(errors="replace")
            if source in SOURCES:
                return source
    return SOURCES[0]


def _with_tombstones(
    records: list[Any],
    events: list[Event],
    kept: Any,
    rejects: list[Reject],
) -> tuple[list[Event], Any, list[Reject]]:
    """A profile record without a value says that the profile is gone: it becomes an empty profile of that moment."""
    found = dict(zip(kept.tolist(), events, strict=True))
    others = []
    for reject in rejects:
        record = records[reject.position]
        try:
            account = (record.key or b"").decode()
        except UnicodeDecodeError:
            account = ""
        if account and is_profile_tombstone("accounts", record.value):
            found[reject.position] = ProfileEvent(f"tombstone-{record.offset}", account, record.timestamp)
        else:
            others.append(reject)
    order = sorted(found)
    return [found[at] for at in order], np.array(order, dtype=np.int64), others


def _raw(batch: Batch, offset: int) -> Any:
    records, offsets = cast("tuple[list[Any], np.ndarray[Any, Any]]", batch.origin)
    return records[int(np.searchsorted(offsets, offset))]


def dead_letter(batch: Batch, partition: int, letter: DeadLetter) -> Record:
    """The record byte for byte, with headers that say why it is here."""
    record = _raw(batch, letter.offset)
    topic = REPARTITION if batch.repartitioned else batch.source
    place = {"topic": topic, "partition": partition, "offset": letter.offset}
    why = {"reason": letter.reason, "message": letter.message, **place}
    headers = [*record.headers, *((ERROR_HEADER + name, str(value).encode()) for name, value in why.items())]
    return Message(record.key, record.value, headers)


def forwarded(batch: Batch, forward: Forward) -> Record:
    """The record with the right key and the topic it came from."""
    record = _raw(batch, forward.offset)
    headers = [*(head for head in record.headers if head[0] != ORIGIN_HEADER), (ORIGIN_HEADER, batch.source.encode())]
    return Message(forward.account.encode(), record.value, headers, record.timestamp)
