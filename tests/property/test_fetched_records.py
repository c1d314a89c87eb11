"""What a worker has of a fetch is what aiokafka has of it, however the broker sent it and whatever became of it."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.driving.fetches import (
    ABORT,
    CODECS,
    COMMIT,
    STAMPED,
    TRANSACTIONAL,
    Sent,
    batch,
    by_aiokafka,
    by_worker,
    marker,
    with_checksums,
)

TEXTS = st.none() | st.binary(max_size=40)
HEADERS = st.lists(st.tuples(st.text(max_size=5), TEXTS), max_size=2)
STAMPS = st.integers(0, 2**41) | st.just(-1)
SENT = st.builds(Sent, TEXTS, TEXTS, STAMPS, HEADERS, st.integers(0, 3) | st.just(0))
RECORDS = st.lists(SENT, min_size=1, max_size=9)
PRODUCERS = st.sampled_from([7, 8])


class Log(NamedTuple):
    """Bytes of a log, the offset wanted of it, and its aborted transactions as a broker gives them."""

    raw: bytes
    wanted: int
    aborted: list[tuple[int, int]]


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """Batches of all kinds one behind the other, the last one cut or not."""
    first = offset = draw(st.integers(0, 2**40))
    pieces: list[bytes] = []
    opened: dict[int, int] = {}
    aborted: list[tuple[int, int]] = []
    for _ in range(draw(st.integers(1, 6))):
        producer = draw(PRODUCERS)
        if draw(st.booleans()) and opened:
            producer = draw(st.sampled_from(sorted(opened)))
            begun, kind = opened.pop(producer), draw(st.sampled_from([ABORT, COMMIT]))
            aborted += [(producer, begun)] if kind is ABORT else []
            pieces.append(marker(offset, producer, kind))
            offset += 1
        records = draw(RECORDS)
        attributes = draw(st.sampled_from([0, STAMPED, TRANSACTIONAL, TRANSACTIONAL | STAMPED]))
        if attributes & TRANSACTIONAL:
            opened.setdefault(producer, offset)
        pieces.append(batch(offset, records, draw(st.sampled_from(CODECS)), attributes, producer=producer))
        offset += sum(1 + record.gap for record in records) + draw(st.integers(0, 2))
    for producer in draw(st.sets(st.sampled_from(sorted(opened)))) if opened else ():
        aborted.append((producer, opened[producer]))
    cut = draw(st.integers(0, len(pieces[-1])) | st.just(0)) if len(pieces) > 1 else 0
    raw = b"".join(pieces)
    return Log(raw[: len(raw) - cut], draw(st.integers(first, offset) | st.just(first)), aborted)


@given(logs())
def test_a_fetch_is_indexed_as_aiokafka_unpacks_it(log: Log) -> None:
    unpacked, is_index = by_worker(*log)
    assert unpacked == by_aiokafka(*log)
    assert not unpacked.error
    assert is_index or not unpacked.records


@given(logs())
def test_without_the_library_a_fetch_is_unpacked_as_aiokafka_does_it(log: Log) -> None:
    assert by_worker(*log, is_native=False) == (by_aiokafka(*log), False)


@pytest.mark.parametrize("is_mended", [False, True])
@given(logs(), st.integers(0, 2**32), st.integers(1, 4))
def test_damaged_bytes_are_unpacked_or_refused_as_without_the_library(
    is_mended: bool, log: Log, seed: int, damages: int
) -> None:
    """Where checksums are right all the same, what is inside of the batches decides."""
    raw = damaged(log.raw, Random(seed), damages)
    raw = with_checksums(raw) if is_mended else raw
    unpacked, _ = by_worker(raw, log.wanted, log.aborted)
    assert unpacked == by_worker(raw, log.wanted, log.aborted, is_native=False)[0]


def damaged(raw: bytes, random: Random, times: int) -> bytes:
    """Bytes flipped, set to extremes, cut out, put in, and cut off."""
    changed = bytearray(raw)
    for _ in range(times):
        position = random.randrange(len(changed) or 1)
        match random.randrange(6):
            case 0 if changed:
                changed[position] ^= 1 << random.randrange(8)
            case 1 if changed:
                changed[position] = random.choice([0, 1, 0x7F, 0x80, 0xFF])
            case 2:
                del changed[position : position + random.randrange(9)]
            case 3:
                changed[position:position] = random.randbytes(random.randrange(9))
            case 4:
                changed[57:61] = random.choice([b"\x7f\xff\xff\xff", b"\xff" * 4, b"\0\0\0\0", b"\0\xff\xff\xff"])
            case _:
                del changed[position:]
    return bytes(changed)
