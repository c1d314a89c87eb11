"""The records of a fetch as one index, which the native library makes from the bytes that the broker sent.

Owns the way through the batches of Kafka's format v2: checksums, decompression, and which batches count. Whatever else
there is (old formats, unknown codecs, bytes that are not as the format has them) is for aiokafka, which unpacks it or
raises. Called by `agents.worker.client.thread`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct
from typing import Any, Final

import google_crc32c
import numpy as np
from aiokafka import codec
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from agents.kafka.record_index import RecordIndex
from schemas.native.library import Spans, index_records

FEWEST_BYTES: Final = 8192
"""Bytes of a fetch from which on an index costs less than an object for each record."""
_LOG_OVERHEAD: Final = 12
_CHECKED_FROM: Final = 21
_HEADER = Struct(">qi4xbIhi30xi")
"""Base offset, length, magic number, checksum, attributes, last offset, and the number of records."""
_MAGIC: Final = 2
_LARGEST: Final = 2**63 - 1
_CODEC, _TRANSACTIONAL, _CONTROL = 0x07, 0x10, 0x20
_SMALLEST: Final = 7
"""Bytes of a record that has nothing in it."""
_DECODERS: Final[dict[int, Callable[[bytes], bytes]]] = {
    0: bytes,
    1: codec.gzip_decode,
    2: codec.snappy_decode,
    3: codec.lz4_decode,
    4: codec.zstd_decode,
}
checksum: Final[Callable[[bytes], int]] = (
    google_crc32c.value if google_crc32c.implementation == "c" else calc_crc32c  # the latter takes ten times as long
)


class RawRecords(MemoryRecords):
    """aiokafka's batches of a fetch, with the bytes that they are made of."""

    def __init__(self, raw: bytes) -> None:
        """As aiokafka makes it."""
        super().__init__(raw)
        self.raw = raw


@dataclass(slots=True)
class Batches:
    """The batches of a fetch whose records count, and what a fetch comes to."""

    next_offset: int
    """Offset after the last batch, whether it counts or not."""
    total: int = 0
    """How many records the batches say that they have."""
    starts: list[int] = field(default_factory=list)
    """Where each starts in the bytes of the fetch, and so on."""
    ends: list[int] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)
    """Offset before which the records of each do not count."""
    codecs: list[int] = field(default_factory=list)


def batches_of(raw: bytes, wanted: int, *, is_aborted: Callable[[int, int], bool], check_crcs: bool) -> Batches | None:
    """The batches that count from a wanted offset on; None if aiokafka is to unpack them, or to say what is wrong.

    `is_aborted` is asked, in order, about each batch of a transaction, given where it starts and ends.
    """
    batches, position, size = Batches(wanted), 0, len(raw)
    while size - position >= _HEADER.size:
        base_offset, length, magic, crc, attributes, last, count = _HEADER.unpack_from(raw, position)
        end, next_offset = position + _LOG_OVERHEAD + length, base_offset + last + 1
        if end > size:
            break  # a broker sends as many bytes as were asked for, and the last batch is cut where they end
        if end - position < _HEADER.size or base_offset < 0 or next_offset > _LARGEST:
            return None
        if magic != _MAGIC or count < 0 or (check_crcs and checksum(raw[position + _CHECKED_FROM : end]) != crc):
            return None
        left_out = attributes & _TRANSACTIONAL and is_aborted(position, end)
        if not (left_out or attributes & _CONTROL):
            batches.starts.append(position)
            batches.ends.append(end)
            batches.wanted.append(batches.next_offset)
            batches.codecs.append(attributes & _CODEC)
            batches.total += count
        batches.next_offset, position = next_offset, end
    rest = raw[position : position + _LOG_OVERHEAD]
    if len(rest) == _LOG_OVERHEAD and position + _LOG_OVERHEAD + int.from_bytes(rest[8:], "big", signed=True) <= size:
        return None  # it is whole, and shorter than a header
    return batches


def index_of(library: Any, raw: bytes, batches: Batches) -> RecordIndex | None:
    """The records of batches; None if aiokafka is to unpack them, or to say what is wrong.

    Raises whatever the codecs raise about payloads that they can not decompress.
    """
    if any(batches.codecs):
        spans = _decompressed(raw, batches)
    else:
        spans = Spans(raw, np.array(batches.starts, dtype=np.int64), np.array(batches.ends, dtype=np.int64))
    if batches.total * _SMALLEST > len(spans.buffer):
        return None
    columns = index_records(library, spans, np.array(batches.wanted, dtype=np.int64), batches.total)
    return None if columns is None else RecordIndex(spans.buffer, columns)


def _decompressed(raw: bytes, batches: Batches) -> Spans:
    """A buffer of all batches with their records decompressed. Raises whatever the codecs raise."""
    pieces: list[bytes] = []
    bounds = [0]
    for start, end, number in zip(batches.starts, batches.ends, batches.codecs, strict=True):
        first = start + _HEADER.size
        payload = _DECODERS[number](raw[first:end])
        pieces += (raw[start:first], payload)
        bounds.append(bounds[-1] + _HEADER.size + len(payload))
    positions = np.array(bounds, dtype=np.int64)
    return Spans(b"".join(pieces), positions[:-1], positions[1:])
