"""Fetches as a broker sends them: batches of Kafka's format v2 with whatever a log can have, and what they unpack to.

Owns the bytes, made by aiokafka's builder and changed where only a broker writes. Called by tests of the consumer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from agents.kafka.record_index import RecordIndex, whole
from agents.worker.client import thread
from agents.worker.client.batch_index import RawRecords
from schemas.native.library import load

TP = TopicPartition("product-usage", 0)
CODECS = range(5)
"""None, gzip, snappy, lz4, zstd."""
STAMPED, TRANSACTIONAL, CONTROL = 0x08, 0x10, 0x20
ABORT, COMMIT = struct.pack(">hh", 0, 0), struct.pack(">hh", 0, 1)
_READ_COMMITTED = 1


class Sent(NamedTuple):
    """A record of a batch: how many offsets lie between it and the one before, and what it has."""

    key: bytes | None
    value: bytes | None
    stamp: int = 1_700_000_000_000
    headers: Sequence[tuple[str, bytes | None]] = ()
    gap: int = 0


def batch(
    base_offset: int, records: Sequence[Sent], codec: int = 0, attributes: int = 0, *, producer: int = -1
) -> bytes:
    """One batch; `attributes` are flags beside the codec."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, producer, 0, 0, 1 << 24)
    delta = -1
    for record in records:
        delta += 1 + record.gap
        builder.append(delta, record.stamp, record.key, record.value, list(record.headers))
    raw = builder.build()
    struct.pack_into(">q", raw, 0, base_offset)
    raw[22] |= attributes
    return with_checksums(bytes(raw))


def marker(base_offset: int, producer: int, kind: bytes = ABORT) -> bytes:
    """A control batch that ends a transaction."""
    return batch(base_offset, [Sent(kind, b"\0" * 6)], attributes=TRANSACTIONAL | CONTROL, producer=producer)


def with_checksums(raw: bytes) -> bytes:
    """The same bytes with right checksums, as far as there are batches in them."""
    mended, position = bytearray(raw), 0
    while position + 61 <= len(raw):
        end = position + 12 + struct.unpack_from(">i", raw, position + 8)[0]
        if not position + 61 <= end <= len(raw):
            break
        struct.pack_into(">I", mended, position + 17, calc_crc32c(bytes(mended[position + 21 : end])))
        position = end
    return bytes(mended)


class Unpacked(NamedTuple):
    """What a consumer has of a fetch: records with all that they have, the next offset, or the kind of an error."""

    records: list[tuple[Any, ...]]
    next_offset: int
    error: str = ""


def as_tuple(record: Any) -> tuple[Any, ...]:
    """All that a record has."""
    headers = [(name, value) for name, value in record.headers]
    return record.offset, record.timestamp, record.timestamp_type, record.key, record.value, record.checksum, headers


def by_aiokafka(raw: bytes, wanted: int, aborted: Sequence[tuple[int, int]] = ()) -> Unpacked:
    """What aiokafka itself unpacks."""
    base: Any = thread.WholeBatches.__mro__[1]
    records = base(TP, MemoryRecords(raw), list(aborted), wanted, None, None, True, _READ_COMMITTED)
    try:
        listed = [as_tuple(record) for record in records]
    except Exception as error:  # noqa: BLE001 -- whatever it is, the worker is to meet the same
        return Unpacked([], 0, type(error).__name__)
    return Unpacked(listed, records.next_fetch_offset)


def by_worker(
    raw: bytes, wanted: int, aborted: Sequence[tuple[int, int]] = (), *, is_native: bool = True
) -> tuple[Unpacked, bool]:
    """What a worker's consumer unpacks, and whether as an index; with the library or without it."""
    with in_worker(is_native=is_native):
        records = thread.WholeBatches(TP, RawRecords(raw), list(aborted), wanted, None, None, True, _READ_COMMITTED)
        try:
            fetched = whole(list(records))
            listed = [as_tuple(record) for record in fetched]
        except Exception as error:  # noqa: BLE001 -- as above
            return Unpacked([], 0, type(error).__name__), False
    return Unpacked(listed, records.next_fetch_offset), isinstance(fetched, RecordIndex)


@contextmanager
def in_worker(*, is_native: bool = True) -> Iterator[None]:
    """Make this thread the one of a worker's consumer, where every fetch is large enough for an index."""
    state = thread._this_thread
    state.library, state.spans = library() if is_native else None, {}
    try:
        with patch.object(thread, "FEWEST_BYTES", 0):
            yield
    finally:
        state.library, state.spans = None, {}


def library() -> Any:
    """The native library, which these tests need."""
    loaded = load()
    assert loaded is not None, "build it with `make setup`; cargo has to be installed"
    return loaded


def index_of_fetch(*batches: bytes) -> RecordIndex:
    """The index of a fetch from its first offset on."""
    with in_worker():
        (index,) = thread.WholeBatches(TP, RawRecords(b"".join(batches)), [], 0, None, None, True, _READ_COMMITTED)
    assert isinstance(index, RecordIndex)
    return index
