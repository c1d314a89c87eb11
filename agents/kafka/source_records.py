"""Kafka records of the input topics to engine batches: decoding, tombstones of profiles, forwarded records.

Owns the conversion of fetched records to `stream.ingest.batch.Batch`. Called by `agents.worker.tasks` and
`agents.state`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
import numpy as np
import structlog

from agents.kafka.record_index import list_of, offsets_of, stamps_of, values_of
from schemas.codecs import Reject, decode, is_profile_tombstone
from schemas.event_columns import read_events
from schemas.events import PROFILE_SOURCE, Event, ProfileEvent
from schemas.peers import PeersMessage
from schemas.properties import NONE, Properties
from schemas.records import UnreadableError, read_message
from schemas.sources import INBOX, PEERS_INPUT, Source, Sources
from schemas.topics import MERGED_HEADER, ORIGIN_HEADER
from stream.ingest.batch import Batch, MergedFrom
from stream.ingest.merge import Fetch
from stream.mapping.recognition import Around, recognise

log = structlog.get_logger()
_FROM = tuple[str, str, int]
"""`MergedFrom` in a header."""


def read(sources: Sources, topic: str, records: Sequence[Any], end: int, properties: Properties = NONE) -> Fetch:
    """Decode the next records of an input topic; `end` is the offset where the next ones will begin.

    `properties` are the properties of events that the policies name.
    """
    offsets, stamps = offsets_of(records), stamps_of(records)
    name = sources.input_of[topic]
    source_index = sources.index[name]
    if name == PEERS_INPUT:
        return Fetch(source_index, [_tables(records, offsets, stamps, end)], offsets, stamps, end)
    if name != INBOX:
        batches = [_batch(sources[name], records, offsets, stamps, end=end, properties=properties)]
        return Fetch(source_index, batches, offsets, stamps, end)
    batches = []
    origins = [(_origin(sources, record), _header(record, MERGED_HEADER) is not None) for record in records]
    for source, is_merged in dict.fromkeys(origins):
        indices = np.array([i for i, origin in enumerate(origins) if origin == (source, is_merged)], dtype=np.int64)
        selected = [records[index] for index in indices.tolist()]
        of_source = (offsets[indices], stamps[indices])
        batch = _batch(sources[source], selected, *of_source, end=end, properties=properties, repartitioned=True)
        batches.append(_with_accounts(batch) if is_merged else batch)
    return Fetch(source_index, batches, offsets, stamps, end)


def _with_accounts(batch: Batch) -> Batch:
    """The batch of records that were forwarded because of a merge, with the accounts that they count for."""
    batch.merged = []
    for offset, event in zip(batch.offsets.tolist(), batch.events, strict=True):
        record = raw_record(batch, offset)
        event.account_id = record.key.decode()
        batch.merged.append(MergedFrom(*msgspec.json.decode(_header(record, MERGED_HEADER) or b"", type=_FROM)))
    return batch


def raw_record(batch: Batch, offset: int) -> Any:
    """The record of a batch that has an offset."""
    records, offsets = cast("tuple[Sequence[Any], np.ndarray[Any, Any]]", batch.origin)
    return records[int(np.searchsorted(offsets, offset))]


def _batch(
    source: Source,
    records: Sequence[Any],
    offsets: Any,
    stamps: Any,
    *,
    end: int,
    properties: Properties,
    repartitioned: bool = False,
) -> Batch:
    values = values_of(records)
    # Forwarded events are changed: those of merged accounts get the account that they count for.
    decoded = decode(source, list_of(values), properties) if repartitioned else read_events(source, values, properties)
    forms: Mapping[int, str] = {}
    if decoded.rejects:
        decoded, forms = recognise(source, list_of(values), decoded, properties, lambda index: _around(records[index]))
    events, indices, rejects = decoded.events, decoded.indexes, decoded.rejects
    if rejects and source.name == PROFILE_SOURCE:
        events, indices, rejects = _with_tombstones(records, events, indices, rejects)
    if indices is not None:
        rejects = [reject._replace(position=int(offsets[reject.position])) for reject in rejects]
        all_offsets, offsets, stamps = offsets, offsets[indices], stamps[indices]
        return Batch(
            source.name,
            offsets,
            stamps,
            events,
            end,
            rejects,
            repartitioned,
            origin=(records, all_offsets),
            forms=Counter(forms.values()),
        )
    return Batch(source.name, offsets, stamps, events, end, [], repartitioned, origin=(records, offsets))


def _around(record: Any) -> Around:
    headers = {name: value.decode(errors="replace") for name, value in record.headers if value is not None}
    return Around(record.key, headers)


def _tables(records: Sequence[Any], offsets: Any, stamps: Any, end: int) -> Batch:
    """Decode peer tables; log and skip a record that is none, since nobody but `vitals peers` writes there."""
    tables: dict[int, PeersMessage] = {}
    for index, record in enumerate(records):
        try:
            tables[index] = read_message(PeersMessage, record.value)
        except UnreadableError:
            log.exception("peer_table_refused", offset=record.offset)
    indices = np.fromiter(tables, dtype=np.int64, count=len(tables))
    return Batch(PEERS_INPUT, offsets[indices], stamps[indices], cast("list[Event]", list(tables.values())), end)


def _origin(sources: Sources, record: Any) -> str:
    """Return the source that a forwarded record came from; without a header it is decoded as product usage."""
    source = (_header(record, ORIGIN_HEADER) or b"").decode(errors="replace")
    return source if source in sources else sources.names[0]


def _header(record: Any, name: str) -> bytes | None:
    """The first value of a header that a record has."""
    return next((cast("bytes", value) for each, value in record.headers if each == name and value is not None), None)


def _with_tombstones(
    records: Sequence[Any],
    events: Sequence[Event],
    indices: Any,
    rejects: list[Reject],
) -> tuple[Sequence[Event], Any, list[Reject]]:
    """Replace rejects that are tombstones of profiles by empty profiles of the record's time, which end the account."""
    by_index = dict(zip(indices.tolist(), events, strict=True))
    others = []
    for reject in rejects:
        record = records[reject.position]
        try:
            account = (record.key or b"").decode()
        except UnicodeDecodeError:
            account = ""
        if account and is_profile_tombstone(PROFILE_SOURCE, record.value):
            tombstone = ProfileEvent(f"tombstone-{record.offset}", account, record.timestamp, deletes=True)
            by_index[reject.position] = tombstone
        else:
            others.append(reject)
    order = sorted(by_index)
    return [by_index[index] for index in order], np.array(order, dtype=np.int64), others
