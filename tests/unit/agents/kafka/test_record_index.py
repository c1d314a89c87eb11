"""A sequence of fetched records that has no object for each: what it gives, and what is made of several."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from agents.kafka.record_index import RecordIndex, joined, list_of, offsets_of, since, stamps_of, values_of, whole
from agents.kafka.source_records import raw_record, read
from schemas.sources import BUILT_IN
from tests.driving.fetches import Sent, as_tuple, batch, index_of_fetch

if TYPE_CHECKING:
    from collections.abc import Sequence

RECORDS = [
    Sent(b"a", b"1", 1_000),
    Sent(None, b"22", 2_000, [("h", b"x"), ("é", None)]),
    Sent(b"", None, 1_500, gap=2),
    Sent(b"b", b"", -1, [("", b"")]),
]
OFFSETS = [10, 11, 14, 15]
EVENT = b'{"id": "e-%d", "account_id": "a", "time": 1774605600000, "user_id": "u"}'


def expected() -> list[tuple[Any, ...]]:
    return [
        (offset, sent.stamp, 0, sent.key, sent.value, None, list(sent.headers))
        for offset, sent in zip(OFFSETS, RECORDS, strict=True)
    ]


@pytest.mark.parametrize("codec", [0, 4])
def test_records_are_as_they_were_sent(codec: int) -> None:
    index = index_of_fetch(batch(10, RECORDS[:2], codec), batch(12, RECORDS[2:], codec))
    assert [as_tuple(record) for record in index] == expected()
    assert [as_tuple(index[number]) for number in range(len(index))] == expected()
    assert as_tuple(index[-1]) == expected()[-1]
    with pytest.raises(IndexError):
        index[len(index)]


def test_arrays_have_what_the_records_have() -> None:
    index = index_of_fetch(batch(10, RECORDS))
    assert (index.offsets.tolist(), index.stamps.tolist()) == (OFFSETS, [1_000, 2_000, 1_500, -1])
    assert [index.keys.text(number) for number in range(4)] == [b"a", None, b"", b"b"]
    assert [index.values.text(number) for number in range(4)] == [b"1", b"22", None, b""]
    for positions in (index.offsets, index.stamps, *index.keys[1:], *index.values[1:]):
        assert positions.dtype == np.int64
        assert positions.flags.c_contiguous, "the library reads memory from its beginning"


@pytest.mark.parametrize("selected", [slice(1, 3), slice(None), slice(3, None), slice(4, 9), slice(None, None, -2)])
def test_a_slice_is_an_index(selected: slice) -> None:
    index = index_of_fetch(batch(10, RECORDS))[selected]
    assert [as_tuple(record) for record in index] == expected()[selected]
    assert index.values.starts.flags.c_contiguous
    assert len(index) == len(expected()[selected])


@pytest.mark.parametrize(("offset", "left"), [(0, 4), (10, 4), (11, 3), (12, 2), (15, 1), (16, 0)])
def test_records_before_an_offset_are_dropped(offset: int, left: int) -> None:
    index = index_of_fetch(batch(10, RECORDS))
    for records in (index, list(index)):
        dropped = since(records, offset)
        assert [as_tuple(record) for record in dropped] == expected()[4 - left :]
        assert bool(dropped) == bool(left)


def test_fetches_are_joined_in_one_buffer() -> None:
    first, second = index_of_fetch(batch(10, RECORDS[:2])), index_of_fetch(batch(12, RECORDS[2:], 3))
    assert joined([first]) is first
    index = joined([first[1:], second])
    assert isinstance(index, RecordIndex)
    assert [as_tuple(record) for record in index] == expected()[1:]
    assert index.values.buffer == first.buffer + second.buffer


def test_an_index_and_a_list_are_joined_to_a_list() -> None:
    first, second = index_of_fetch(batch(10, RECORDS[:2])), list(index_of_fetch(batch(12, RECORDS[2:])))
    for fetches in ([first, second], [list(first), second]):
        records = joined(fetches)
        assert isinstance(records, list)
        assert [as_tuple(record) for record in records] == expected()
    assert joined([]) == []


def test_a_fetch_is_its_records_or_one_index() -> None:
    index = index_of_fetch(batch(10, RECORDS))
    assert whole([index]) is index
    for listed in ([], list(index), [SimpleNamespace(offset=3)]):
        assert whole(listed) is listed


def test_offsets_times_and_values_of_a_list_are_those_of_an_index() -> None:
    index = index_of_fetch(batch(10, RECORDS))
    for records in (index, list(index)):
        assert offsets_of(records).tolist() == OFFSETS
        assert stamps_of(records).tolist() == [1_000, 2_000, 1_500, -1]
        assert list_of(values_of(records)) == [b"1", b"22", None, b""]


@pytest.mark.parametrize("topic", BUILT_IN.topics)
def test_an_index_is_decoded_as_a_list_is(topic: str) -> None:
    sent = [Sent(b"a", EVENT % number, 1_000 + number) for number in range(3)]
    sent += [Sent(b"a", None, 1_003), Sent(b"a", b"{", 1_004, [("vitals.origin", b"support")])]
    index = index_of_fetch(batch(10, sent))
    assert decoded(topic, index) == decoded(topic, list(index))


def decoded(topic: str, records: Sequence[Any]) -> list[Any]:
    fetch = read(BUILT_IN, topic, records, 15)
    batches = [
        (each.source, each.offsets.tolist(), each.stamps.tolist(), list(each.events), each.rejects, each.repartitioned)
        for each in fetch.batches
    ]
    raw = [as_tuple(raw_record(each, each.rejects[0].position)) for each in fetch.batches if each.rejects]
    return [fetch.offsets.tolist(), fetch.stamps.tolist(), fetch.end, batches, raw]
