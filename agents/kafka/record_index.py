"""Fetched records as arrays and spans of one buffer: no Python object each.

Owns the sequence that the worker's consumer gives in place of a list of records, and what a reader of records needs to
take both. Made by `agents.worker.client.batch_index`; read by `agents.kafka.source_records` and `agents.worker.tasks`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import Any, overload

import numpy as np
from aiokafka.record.default_records import DefaultRecord
from aiokafka.record.util import decode_varint

from schemas.native.library import Positions, Spans


class RecordIndex(Sequence[Any]):
    """Records by ascending offset; one that is asked for is made then, as aiokafka makes it.

    `columns` are rows as of `schemas.native.library.index_records`, in `buffer`.
    """

    __slots__ = ("buffer", "columns", "offsets", "stamps")
    offsets: Positions
    """Offset of each record, int64 (k,)."""
    stamps: Positions
    """Time of each record in milliseconds, int64 (k,)."""

    def __init__(self, buffer: bytes, columns: Positions) -> None:
        """Each row of `columns` is contiguous."""
        self.buffer, self.columns = buffer, columns
        self.offsets, self.stamps = columns[0], columns[1]

    @property
    def keys(self) -> Spans:
        """Key of each record."""
        return Spans(self.buffer, self.columns[3], self.columns[4])

    @property
    def values(self) -> Spans:
        """Value of each record."""
        return Spans(self.buffer, self.columns[5], self.columns[6])

    def __len__(self) -> int:
        """How many records there are."""
        return len(self.offsets)

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> RecordIndex: ...

    def __getitem__(self, index: int | slice) -> Any:
        """One record, or those of a slice in the same buffer."""
        if isinstance(index, slice):
            return RecordIndex(self.buffer, np.ascontiguousarray(self.columns[:, index]))
        offset, stamp, kind, *bounds = self.columns[:, index].tolist()
        spans = zip(bounds[::2], bounds[1::2], strict=True)
        key, value, headers = [None if start < 0 else self.buffer[start:end] for start, end in spans]
        return DefaultRecord(offset, stamp, kind, key, value, _headers(headers))

    def __iter__(self) -> Iterator[Any]:
        """Each record in turn."""
        headers: Iterable[list[Any]] = map(list, repeat(()))
        if (self.columns[7] >= 0).any():
            headers = map(_headers, Spans(self.buffer, self.columns[7], self.columns[8]).values())
        numbers = [row.tolist() for row in self.columns[:3]]
        return map(DefaultRecord, *numbers, self.keys.values(), self.values.values(), headers)

    def since(self, offset: int) -> RecordIndex:
        """Those from an offset on."""
        first = int(np.searchsorted(self.offsets, offset))
        return RecordIndex(self.buffer, self.columns[:, first:]) if first else self


def whole(fetched: Sequence[Any]) -> Sequence[Any]:
    """What aiokafka has of a fetch: its records, or one index of them."""
    return fetched[0] if len(fetched) == 1 and isinstance(fetched[0], RecordIndex) else fetched


def since(records: Sequence[Any], offset: int) -> Sequence[Any]:
    """The records from an offset on."""
    if isinstance(records, RecordIndex):
        return records.since(offset)
    if records and records[0].offset < offset:
        return [record for record in records if record.offset >= offset]
    return records


def joined(fetches: Sequence[Sequence[Any]]) -> Sequence[Any]:
    """The records of fetches that follow one another; their buffers are copied into one if there are several."""
    if len(fetches) == 1:
        return fetches[0]
    indexes = [fetch for fetch in fetches if isinstance(fetch, RecordIndex)]
    if not fetches or len(indexes) < len(fetches):
        return list(chain.from_iterable(fetches))
    columns, base = [], 0
    for index in indexes:
        moved = index.columns.copy()
        moved[3:][moved[3:] >= 0] += base
        columns.append(moved)
        base += len(index.buffer)
    return RecordIndex(b"".join([index.buffer for index in indexes]), np.concatenate(columns, axis=1))


def offsets_of(records: Sequence[Any]) -> Positions:
    """The offset of each record, int64 (k,)."""
    if isinstance(records, RecordIndex):
        return records.offsets
    return np.array([record.offset for record in records], dtype=np.int64)


def stamps_of(records: Sequence[Any]) -> Positions:
    """The time of each record in milliseconds, int64 (k,)."""
    if isinstance(records, RecordIndex):
        return records.stamps
    return np.array([record.timestamp for record in records], dtype=np.int64)


def values_of(records: Sequence[Any]) -> list[bytes | None] | Spans:
    """The value of each record."""
    return records.values if isinstance(records, RecordIndex) else [record.value for record in records]


def keys_and_values(
    records: Sequence[Any],
) -> tuple[list[bytes | None], list[bytes | None]] | tuple[Spans, Spans]:
    """The keys and the values of records."""
    if isinstance(records, RecordIndex):
        return records.keys, records.values
    return [record.key for record in records], [record.value for record in records]


def list_of(values: list[bytes | None] | Spans) -> list[bytes | None]:
    """Values as bytes, for a decoder that takes no spans."""
    return values.values() if isinstance(values, Spans) else values


def _headers(encoded: bytes | None) -> list[tuple[str, bytes | None]]:
    """Headers with their number before them, as they are in a record; they were checked."""
    headers: list[tuple[str, bytes | None]] = []
    if encoded is None:
        return headers
    count, position = decode_varint(encoded, 0)
    for _ in range(count):
        length, position = decode_varint(encoded, position)
        name, position = encoded[position : position + length].decode(), position + length
        length, position = decode_varint(encoded, position)
        headers.append((name, None if length < 0 else encoded[position : position + length]))
        position += max(length, 0)
    return headers
