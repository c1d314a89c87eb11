"""Kafka records of the input topics to engine batches: decoding, tombstones of profiles, forwarded records.

Owns the conversion of fetched records to `stream.ingest.batch.Batch`. Called by `agents.worker.tasks` and
`agents.state`.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import structlog

from schemas.codecs import Reject, decode, is_profile_tombstone
from schemas.events import SOURCES, Event, ProfileEvent
from schemas.peers import PeersMessage
from schemas.properties import NONE, Properties
from schemas.records import UnreadableError, read_message
from schemas.topics import ORIGIN_HEADER, PEERS, REPARTITION
from stream.ingest.batch import PEERS as PEERS_INDEX
from stream.ingest.batch import REPARTITION_INDEX, Batch
from stream.ingest.merge import Fetch

log = structlog.get_logger()

TOPICS = (*SOURCES, REPARTITION, PEERS)
"""Topic of each input source, in the order of `INPUT_SOURCES`."""


def read(topic: str, records: list[Any], end: int, properties: Properties = NONE) -> Fetch:
    """Decode the next records of a source; `end` is the offset where the next ones will begin.

    `properties` are the properties of events that the policies name.
    """
    offsets = np.array([record.offset for record in records], dtype=np.int64)
    stamps = np.array([record.timestamp for record in records], dtype=np.int64)
    source_index = TOPICS.index(topic)
    if topic == PEERS:
        return Fetch(source_index, [_tables(records, offsets, stamps, end)], offsets, stamps, end)
    if source_index != REPARTITION_INDEX:
        batches = [_batch(topic, records, offsets, stamps, end=end, properties=properties)]
        return Fetch(source_index, batches, offsets, stamps, end)
    batches = []
    origins = [_origin(record) for record in records]
    for source in dict.fromkeys(origins):
        indices = np.array([index for index, origin in enumerate(origins) if origin == source], dtype=np.int64)
        selected = [records[index] for index in indices.tolist()]
        of_source = (offsets[indices], stamps[indices])
        batches.append(_batch(source, selected, *of_source, end=end, properties=properties, repartitioned=True))
    return Fetch(source_index, batches, offsets, stamps, end)


def _batch(
    source: str,
    records: list[Any],
    offsets: Any,
    stamps: Any,
    *,
    end: int,
    properties: Properties,
    repartitioned: bool = False,
) -> Batch:
    values = [record.value for record in records]
    decoded = decode(source, values, properties)
    events, indices, rejects = decoded.events, decoded.indexes, decoded.rejects
    if rejects and source == "accounts":
        events, indices, rejects = _with_tombstones(records, events, indices, rejects)
    if indices is not None:
        rejects = [reject._replace(position=int(offsets[reject.position])) for reject in rejects]
        all_offsets, offsets, stamps = offsets, offsets[indices], stamps[indices]
        return Batch(source, offsets, stamps, events, end, rejects, repartitioned, (records, all_offsets))
    return Batch(source, offsets, stamps, events, end, [], repartitioned, (records, offsets))


def _tables(records: list[Any], offsets: Any, stamps: Any, end: int) -> Batch:
    """Decode peer tables; log and skip a record that is none, since nobody but `vitals peers` writes there."""
    tables: dict[int, PeersMessage] = {}
    for index, record in enumerate(records):
        try:
            tables[index] = read_message(PeersMessage, record.value)
        except UnreadableError:
            log.exception("peer_table_refused", offset=record.offset)
    indices = np.fromiter(tables, dtype=np.int64, count=len(tables))
    return Batch(PEERS_INDEX, offsets[indices], stamps[indices], cast("list[Event]", list(tables.values())), end)


def _origin(record: Any) -> str:
    """Return the source that a forwarded record came from; without a header it is decoded as product usage."""
    for name, value in record.headers:
        if name == ORIGIN_HEADER and value is not None:
            source = cast("bytes", value).decode(errors="replace")
            if source in SOURCES:
                return source
    return SOURCES[0]


def _with_tombstones(
    records: list[Any],
    events: list[Event],
    indices: Any,
    rejects: list[Reject],
) -> tuple[list[Event], Any, list[Reject]]:
    """Replace rejects that are tombstones of profiles by empty profiles of the record's time."""
    by_index = dict(zip(indices.tolist(), events, strict=True))
    others = []
    for reject in rejects:
        record = records[reject.position]
        try:
            account = (record.key or b"").decode()
        except UnicodeDecodeError:
            account = ""
        if account and is_profile_tombstone("accounts", record.value):
            tombstone = ProfileEvent(f"tombstone-{record.offset}", account, record.timestamp, deletes=True)
            by_index[reject.position] = tombstone
        else:
            others.append(reject)
    order = sorted(by_index)
    return [by_index[index] for index in order], np.array(order, dtype=np.int64), others
