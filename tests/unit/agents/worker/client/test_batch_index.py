"""Which fetches are indexed from their bytes, and which aiokafka unpacks."""

from __future__ import annotations

import gc
import struct
import weakref
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from agents.kafka.record_index import RecordIndex
from agents.worker.client import batch_index, thread
from agents.worker.client.batch_index import RawRecords
from agents.worker.client.thread import Span, WholeBatches
from tests.driving.fetches import (
    COMMIT,
    TP,
    TRANSACTIONAL,
    Sent,
    batch,
    by_aiokafka,
    by_worker,
    in_worker,
    marker,
    with_checksums,
)

SENT = [Sent(b"k", b"value", 1_000 + number) for number in range(20)]
COUNT_AT, ATTRIBUTES_AT = 57, 22


def made(raw: bytes, wanted: int = 0, aborted: list[tuple[int, int]] | None = None) -> Any:
    return WholeBatches(TP, RawRecords(raw), aborted, wanted, None, None, True, 1)


def changed(raw: bytes, position: int, by: bytes) -> bytes:
    return with_checksums(raw[:position] + by + raw[position + len(by) :])


def unpacks_as_aiokafka(raw: bytes, wanted: int = 0, aborted: list[tuple[int, int]] | None = None) -> bool:
    """Whether the fetch is indexed; what comes of it is compared."""
    unpacked, is_index = by_worker(raw, wanted, aborted or [])
    assert unpacked == by_aiokafka(raw, wanted, aborted or [])
    return is_index


def test_a_fetch_result_has_one_index_and_moves_the_position() -> None:
    positions: list[int] = []
    state = SimpleNamespace(paused=False, position=3, consumed_to=positions.append)
    assignment = SimpleNamespace(active=True, state_value=lambda _tp: state)
    with in_worker():
        records = made(batch(0, SENT) + marker(20, 7, COMMIT), 3)
        result = FetchResult(TP, assignment=assignment, partition_records=records, backoff=0)
        (index,) = result.getall()
        assert thread._this_thread.spans == {TP: Span(3, 21, empty=False)}
    assert isinstance(index, RecordIndex)
    assert index.offsets.tolist() == list(range(3, 20))
    assert positions == [21]
    assert not result.has_more()


def test_small_fetches_are_unpacked_by_aiokafka() -> None:
    """The arrays and the call cost as much as some dozens of records."""
    with in_worker(), patch.object(thread, "FEWEST_BYTES", len(batch(0, SENT)) + 1):
        records = list(made(batch(0, SENT)))
    assert [record.offset for record in records] == list(range(20))


def test_consumers_of_other_threads_get_records() -> None:
    raw = b"".join(batch(first, SENT * 50) for first in range(0, 5_000, 1_000))
    assert len(raw) > batch_index.FEWEST_BYTES
    records = list(made(raw))
    assert len(records) == 5_000
    assert not any(isinstance(record, RecordIndex) for record in records)


def test_batches_without_their_bytes_are_unpacked_by_aiokafka() -> None:
    with in_worker():
        records = list(WholeBatches(TP, MemoryRecords(batch(0, SENT)), None, 5, None, None, True, 1))
    assert [record.offset for record in records] == list(range(5, 20))


@pytest.mark.parametrize("magic", [0, 1])
def test_old_formats_are_unpacked_by_aiokafka(magic: int) -> None:
    builder = LegacyRecordBatchBuilder(magic, 0, 1 << 16)
    for number in range(9):
        builder.append(number, 1_000, b"k", b"v")
    assert not unpacks_as_aiokafka(bytes(builder.build()), 4)


def test_the_last_batch_may_be_cut_anywhere() -> None:
    whole, cut = batch(0, SENT), batch(20, SENT)
    for length in range(len(cut)):
        assert unpacks_as_aiokafka(whole + cut[:length])
    assert unpacks_as_aiokafka(whole + cut)


@pytest.mark.parametrize("is_native", [True, False])
def test_a_fetch_that_was_taken_goes_without_the_collector(is_native: bool) -> None:
    """The collector counts objects, and the bytes of a fetch are one: it hardly runs."""
    gc.collect()
    gc.disable()
    try:
        with in_worker(is_native=is_native):
            records = made(batch(0, SENT))
            gone = weakref.ref(records), weakref.ref(records._records)
            fetched = list(records)
            del records
            assert fetched
            assert [each() for each in gone] == [None, None]
    finally:
        gc.enable()


def test_a_compacted_batch_may_be_empty() -> None:
    empty = batch(20, [])
    assert unpacks_as_aiokafka(batch(0, SENT) + empty + batch(40, SENT))
    with in_worker():
        assert list(made(empty)) == []
        assert thread._this_thread.spans[TP].empty


def test_a_wrong_checksum_is_an_error() -> None:
    raw = bytearray(batch(0, SENT) + batch(20, SENT))
    raw[-1] ^= 1
    with in_worker(), pytest.raises(CorruptRecordException):
        list(made(bytes(raw)))


@pytest.mark.parametrize("count", [-1, 0, 19, 21, 2**31 - 1])
def test_a_wrong_number_of_records_is_an_error(count: int) -> None:
    raw = changed(batch(0, SENT), COUNT_AT, struct.pack(">i", count))
    with in_worker(), pytest.raises(CorruptRecordException):
        list(made(raw))


def test_an_unknown_codec_is_an_error() -> None:
    with in_worker(), pytest.raises(UnsupportedCodecError):
        list(made(changed(batch(0, SENT), ATTRIBUTES_AT, b"\x05")))


def test_offsets_beyond_what_fits_are_left_to_aiokafka() -> None:
    for base_offset in (2**63 - 10, -5, -(2**63)):
        raw = changed(batch(0, SENT), 0, struct.pack(">q", base_offset)) + batch(20, SENT)
        assert by_worker(raw, 0) == by_worker(raw, 0, is_native=False)


def test_aborted_transactions_are_left_out_also_where_a_later_batch_can_not_be_indexed() -> None:
    """Going through the batches uses up what the broker said of transactions."""
    raw = batch(0, SENT, attributes=TRANSACTIONAL, producer=7) + marker(20, 7) + batch(21, SENT)
    assert unpacks_as_aiokafka(raw, aborted=[(7, 0)])
    swapped = raw + batch(10, SENT)  # no broker writes offsets that go back
    with in_worker():
        records = list(made(swapped, aborted=[(7, 0)]))
    assert {record.offset for record in records} == {*range(21, 41)}


def test_a_damaged_marker_is_an_error() -> None:
    raw = batch(0, SENT, attributes=TRANSACTIONAL, producer=7) + marker(20, 7, b"\0")
    unpacked, is_index = by_worker(raw, 0, [(7, 0)])
    assert unpacked == by_aiokafka(raw, 0, [(7, 0)])
    assert unpacked.error
    assert not is_index


def test_the_checksum_is_that_of_aiokafka() -> None:
    for length in (0, 1, 7, 8, 9, 4_000):
        checked = bytes(range(256)) * 16
        assert batch_index.checksum(checked[:length]) == calc_crc32c(checked[:length])
