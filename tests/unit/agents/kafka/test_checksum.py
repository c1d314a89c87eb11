"""The checksum of records: equal to kafka-python's own, used by it, and computed in C."""

from __future__ import annotations

import google_crc32c
from hypothesis import given
from hypothesis import strategies as st
from kafka.record import default_records
from kafka.record._crc32c import crc

import agents.kafka.client  # noqa: F401 -- replaces the function
from agents.kafka.checksum import crc32c


@given(st.binary(max_size=2_000))
def test_the_checksum_is_that_of_kafka_python(data: bytes) -> None:
    assert crc32c(memoryview(bytearray(data))) == crc(data)


def test_records_are_checked_with_it() -> None:
    assert default_records.calc_crc32c is crc32c
    builder = default_records.DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1_000_000)
    builder.append(0, timestamp=1, key=b"key", value=b"value", headers=[])
    written = bytearray(builder.build())
    assert default_records.DefaultRecordBatch(written).validate_crc()
    written[-1] ^= 1
    assert not default_records.DefaultRecordBatch(written).validate_crc()


def test_it_is_computed_in_c() -> None:
    assert google_crc32c.implementation == "c"
