"""Collected changelog records are those that a dictionary keeps record by record, and restore the same engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import stream.recovery.collected
from schemas.native.library import Spans
from stream.columns.row_schema import VERSION
from stream.engine.engine import Engine, Mode
from stream.recovery import changelog, newest
from stream.recovery.changelog import keep_newer
from stream.recovery.collected import Collected, Namespace
from stream.recovery.namespaces import open_namespaces
from stream.recovery.newest import NewestValues
from stream.recovery.newest_native import NewestInTable
from stream.recovery.record_form import AGE, PAGE_KEY
from tests.driving.crashes import Crashing
from tests.driving.engine import cuts, partitions, plan_of, plausible_logs
from tests.golden.changelogs.partition import DEDUP_IDS, policy, read_changelog
from tests.strategies.policies import policies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from stream.plan.plan import Plan
    from stream.recovery.namespaces import Opened
    from tests.oracle.engine import Record

    Written = tuple[bytes | None, bytes | None]

NAMES = ("", "a", "é", "account-1")


def row(age: int, rest: bytes) -> bytes:
    """A row as far as it is compared with others: version, schema, stream time, events applied."""
    return bytes([VERSION]) + bytes(16) + age.to_bytes(8, "little", signed=True) + rest


REPEATED = st.lists(
    st.one_of(
        st.binary(max_size=9), st.builds(lambda word, times: word * times, st.binary(max_size=9), st.integers(0, 9))
    ),
    max_size=4,
).map(b"".join)
"""Bytes like those of rows, of which most are one number many times."""
VALUES = st.one_of(
    st.none(),
    st.binary(max_size=60),
    st.builds(row, st.integers(-2, 3), st.binary(max_size=3) | REPEATED),
    st.builds(lambda age, count: AGE.pack(age) + bytes(count), st.integers(-2, 3), st.sampled_from((0, 4, 12, 16, 48))),
    st.builds(lambda offset: b'{"position": {"product-usage": %d}}' % offset, st.integers(0, 3)),
)
PAGE_KEYS = st.builds(
    lambda number, name: b"p" + PAGE_KEY.pack(b"columntg", number) + name.encode(),
    st.integers(0, 1),
    st.sampled_from(NAMES),
)
KEYS = st.one_of(
    st.sampled_from((b"s", b"h", b"lschema", b"b", b"w", b"u", b"a", b"c", b"x", b"", b"p", b"pcolumn", b"i1")),
    st.sampled_from(NAMES).map(lambda name: b"r" + name.encode()),
    PAGE_KEYS,
)
NAMED = st.builds(lambda name, key: name + key, st.sampled_from((b"", b"", b"xcandidat", b"xanother1")), KEYS)


WAYS = ("in Python", "natively", "natively, of indexed fetches")
"""How records are collected; without the native library the first is the only one."""


def collected(records: Sequence[Written], sizes: Sequence[int], way: str = WAYS[-1]) -> Collected:
    """Collect records as fetches of these sizes bring them, and then the rest."""
    with pytest.MonkeyPatch.context() as patch:
        if way == WAYS[0]:
            patch.setattr(stream.recovery.collected, "load", lambda: None)
        result, begin = Collected(), 0
        for size in (*sizes, len(records)):
            batch = records[begin : begin + size]
            add(result, [key for key, _ in batch], [value for _, value in batch], indexed=way != WAYS[1])
            begin += size
        assert isinstance(Namespace().rows, NewestValues if way == WAYS[0] else NewestInTable)
    return result


def add(result: Collected, keys: list[bytes | None], values: list[bytes | None], *, indexed: bool) -> None:
    """Add a fetch, as a list or as parts of its bytes."""
    if not indexed:
        result.add(keys, values)
        return
    both, count = Spans.of([*keys, *values]), len(keys)
    result.add(both.take(slice(count)), both.take(slice(count, None)))


def one_by_one(records: Sequence[Written]) -> dict[bytes, bytes]:
    """The oracle: a dictionary, and two records compared at a time."""
    kept_records: dict[bytes, bytes] = {}
    for key, value in records:
        keep_newer(kept_records, key or b"", value)
    return kept_records


def in_order(records: Mapping[bytes, bytes], tag: bytes) -> list[bytes]:
    return [key for key in records if key[:1] == tag]


def assert_listed(records: NewestValues | NewestInTable, draw: Callable[[st.SearchStrategy[int]], int]) -> None:
    """Fail unless a listing has what the mapping has, of all records and of a selection of them."""
    listing, width = records.listing(), draw(st.integers(1, 20))
    listed = listing.select(listing.lengths >= width)
    for each in (listing, listed):
        keys = [each.key(index) for index in range(len(each))]
        assert keys == [key for key, value in records.items() if each is listing or len(value) >= width]
        assert [bytes(head) for head in each.key_heads(1)] == [key[:1] for key in keys]
        assert each.names(1) == [key[1:].decode() for key in keys]
        values = [records[key] for key in keys]
        assert each.lengths.tolist() == list(map(len, values))
        assert each.tails(width) == [value[width:] for value in values]
        assert [each.value(index) for index in range(len(values))] == values
    heads = [value[:width] for value in records.values() if len(value) >= width]
    assert [bytes(head) for head in listed.heads(width)] == heads
    assert [bytes(head) for head in listed.heads(width, 1, 3)] == heads[1:3]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("garbage", [0, 1 << 20], ids=["compacted at once", "never compacted"])
@given(data=st.data())
def test_what_is_collected_is_what_a_dictionary_keeps(way: str, garbage: int, data: st.DataObject) -> None:
    records = data.draw(st.lists(st.tuples(NAMED | st.none(), VALUES), max_size=60))
    sizes = data.draw(st.lists(st.integers(0, 20), max_size=8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(newest, "LEAST_GARBAGE", garbage)
        mine, oracle = collected(records, sizes, way), one_by_one(records)
    assert mine == oracle
    assert len(mine) == len(oracle)
    assert dict(mine.items()) == oracle
    assert in_order(mine, b"r") == in_order(oracle, b"r")
    for namespace in mine.namespaces(()).values():
        for newest_values in (namespace.rows, namespace.pages):
            assert_listed(newest_values, data.draw)
    for key in (*oracle, b"r", b"xnowhere1r", b"missing"):
        assert (key in mine, mine.get(key)) == (key in oracle, oracle.get(key))


def _engine(plan: Plan) -> Engine:
    return Engine(plan, dedup_ids=DEDUP_IDS)


def opened(records: Mapping[bytes, bytes]) -> Opened:
    return open_namespaces(records, policy("live"), policy("candidate"), _engine)


def everything(engine: Engine) -> list[changelog.Record]:
    """All that a snapshot of an engine writes, and its score messages."""
    engine.accounts.dirty[: len(engine.accounts)] = True
    engine.history.written = None
    return [*changelog.snapshot(engine), *((sent.key, sent.value) for sent in engine.current().scores)]


@given(st.lists(st.integers(0, 40), max_size=30), st.randoms())
def test_a_changelog_with_two_namespaces_restores_the_same_engines(sizes: list[int], random: Random) -> None:
    records: list[Written] = list(read_changelog())
    records += [record for record in records if random.random() < 0.2]
    way = WAYS[len(sizes) % len(WAYS)]
    mine, oracle = opened(collected(records, sizes, way)), opened(one_by_one(records))
    assert (mine.missing, mine.shadow_missing, mine.begun) == (oracle.missing, oracle.shadow_missing, oracle.begun)
    assert mine.namespaces == oracle.namespaces
    assert everything(mine.pair.live) == everything(oracle.pair.live)
    assert (mine.pair.shadow is None) == (oracle.pair.shadow is None)
    if mine.pair.shadow is not None and oracle.pair.shadow is not None:
        assert everything(mine.pair.shadow.engine) == everything(oracle.pair.shadow.engine)


@given(st.data(), plausible_logs(partitions=1, backdated=False), policies())
def test_the_log_of_all_commits_restores_the_engine_of_its_newest_records(
    data: st.DataObject, log: list[Record], policy_text: str
) -> None:
    (events,) = partitions(log).values()
    worker = Crashing(plan_of(policy_text), events)
    written: list[Written] = []
    for step in data.draw(cuts(events, (Mode.HEAD, Mode.CONFLATED))):
        worker.drive.turn_to(step.mode)
        worker.drive.take(step.records)
        if step.flush:
            written += changelog.snapshot(worker.drive.engine)
    sizes = data.draw(st.lists(st.integers(0, 12), max_size=20))
    engines = []
    each_way = [collected(written, sizes, way).namespaces(()).get(b"", Namespace()) for way in WAYS]
    for records in (*each_way, one_by_one(written)):
        engine = Engine(worker.plan)
        changelog.restore(engine, records)
        engines.append(engine)
    oracle = everything(engines.pop())
    for engine in engines:
        assert everything(engine) == oracle
