"""Columns against plain dictionaries: widths, divisors, rings, members, ids. Saved and loaded into other widths."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.columns.columns import PaneColumn
from stream.columns.hash_index import HashIndex
from stream.columns.members import PAGE_ENTRY, Members
from stream.columns.pages import PAGE_ENTRIES
from stream.columns.panes import UNIT_MS
from stream.ingest.event_ids import SeenIds, Segment
from tests.strategies.effort import examples

DAY_MS = UNIT_MS["day"]
ROWS = 3
MILLIONTHS = st.one_of(
    st.integers(-(10**9), 10**9),
    st.sampled_from((250_000, 100_000, 500_000, 50_000, -250_000, 1_000_000, 127_000_000, 128_000_000, 1, 10)),
    st.sampled_from((32_767, 32_768, 2**31 - 1, 2**31, 2**40)).map(lambda whole: whole * 1_000_000),
)
AGGREGATIONS = st.lists(
    st.tuples(st.integers(0, 2), st.lists(st.tuples(st.integers(0, ROWS - 1), st.integers(0, 4), MILLIONTHS))),
    max_size=12,
)


def saved(column: PaneColumn) -> np.ndarray:
    record = np.zeros(ROWS, dtype=[(name, kind, shape) for name, kind, shape in column.fields()])
    column.save(np.arange(ROWS), record)
    return record


def reloaded(column: PaneColumn, panes: int, before: PaneColumn | None = None) -> PaneColumn:
    """A saved column as a worker with a window of `panes` loads it, into `before` if given, whose widths may differ."""
    assert column.newest is not None
    other = before or PaneColumn(column.name, column.unit, panes, column.how)
    other.grow(ROWS)
    other.advance(column.newest * DAY_MS)
    other.load(np.arange(ROWS), saved(column), np.full(ROWS, column.newest * DAY_MS))
    return other


@pytest.mark.parametrize("how", ["sum", "min", "max", "count"])
@given(aggregations=AGGREGATIONS, panes=st.integers(1, 6), again=st.integers(1, 9), reload_at=st.integers(0, 12))
def test_a_ring_of_panes_reads_as_a_dictionary_does(
    how: str, aggregations: list, panes: int, again: int, reload_at: int
) -> None:
    column = PaneColumn("c", "day", panes, how)
    column.grow(ROWS)
    newest = 20_000
    column.advance(newest * DAY_MS)
    events: dict[tuple[int, int], list[int]] = defaultdict(list)
    first_pane = newest - panes + 1
    for step, (elapsed, amounts_by_row) in enumerate(aggregations):
        newest += elapsed
        column.advance(newest * DAY_MS)
        first_pane = max(first_pane, newest - panes + 1)
        if step == reload_at:
            column, panes = reloaded(column, again), again
        rows = np.array([row for row, _, _ in amounts_by_row], dtype=np.int64)
        times = np.array([(newest - age) * DAY_MS for _, age, _ in amounts_by_row], dtype=np.int64)
        amounts = np.array([amount for _, _, amount in amounts_by_row], dtype=np.float64)
        column.aggregate(rows, times, None if how == "count" else amounts)
        for row, age, amount in amounts_by_row:
            if age < panes:
                events[row, newest - age].append(amount)
    for window in range(1, panes + 1):
        # After a reload a longer window has the panes of the shorter one and all newer panes.
        read = column.read(np.arange(ROWS), window)
        for row in range(ROWS):
            inside = [
                amount
                for (owner, pane), amounts in events.items()
                if owner == row and pane > newest - window
                for amount in amounts
            ]
            expected: float = {
                "sum": sum(inside),
                "count": len(inside),
                "min": min(inside, default=np.inf),
                "max": max(inside, default=-np.inf),
            }[how]
            if pane_lost(events, row, newest - window, first_pane):
                continue
            assert read[row] == pytest.approx(expected, rel=1e-15, abs=0)  # exact below 2**53 millionths


def pane_lost(events: dict[tuple[int, int], list[int]], row: int, after: int, first_pane: int) -> bool:
    """Whether a window that became longer reaches panes that were dropped under the shorter one."""
    return any(owner == row and after < pane < first_pane for owner, pane in events)


@given(st.lists(MILLIONTHS, min_size=1, max_size=30))
def test_no_amount_is_lost_when_width_and_divisor_change(amounts: list[int]) -> None:
    column = PaneColumn("c", "day", 2, "sum")
    column.grow(1)
    column.advance(0)
    for count, amount in enumerate(amounts, 1):
        column.aggregate(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), np.array([float(amount)]))
        assert column.read(np.zeros(1, dtype=np.int64), 2)[0] == pytest.approx(sum(amounts[:count]), rel=1e-15, abs=0)


@pytest.mark.parametrize("limit", [127, 128, 32_767, 32_768])
def test_a_count_grows_past_its_width(limit: int) -> None:
    column = PaneColumn("c", "day", 1, "count")
    column.grow(2)
    column.advance(0)
    column.aggregate(np.zeros(limit, dtype=np.int64), np.zeros(limit, dtype=np.int64), None)
    for more in range(1, 4):
        column.aggregate(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), None)
        assert column.read(np.arange(2), 1).tolist() == [limit + more, 0]


KEYS = st.one_of(st.integers(1, 6), st.integers(1, 2**64 - 1), st.integers(1, 40).map(lambda number: number << 32))


@given(st.lists(st.lists(KEYS, max_size=40), max_size=12), st.sampled_from((0, 10, 1000)))
def test_a_hash_index_maps_as_a_dictionary_does(calls: list[list[int]], few: int) -> None:
    index, model = HashIndex(few), dict[int, int]()
    for keys in calls:
        key_array = np.array(keys, dtype=np.uint64)
        assert index.contains(key_array).tolist() == [key in model for key in keys]
        positions, new = index.add(key_array)
        for key, position, is_new in zip(keys, positions.tolist(), new.tolist(), strict=True):
            assert is_new == (key not in model)
            assert position == model.setdefault(key, position)
        assert sorted(model.values()) == list(range(len(index)))


def test_a_hash_index_grows() -> None:
    keys = np.random.default_rng(1).integers(1, 2**63, 4_000).astype(np.uint64)
    keys[::2] = np.arange(1, 2_001, dtype=np.uint64)  # badly mixed ones probe far
    index = HashIndex()
    for chunk in np.array_split(keys, 7):
        index.add(chunk)
    again, new = index.add(keys)
    assert not new.any()
    assert len(index) == len(set(keys.tolist()))
    assert HashIndex.of(np.unique(keys)).contains(keys).all()
    assert np.unique(again).tolist() == list(range(len(index)))


SIGHTINGS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6), st.integers(1, 5000)), max_size=40),
        st.sampled_from(("", "", "crowd", "save", "restart")),
    ),
    max_size=10,
)


@settings(max_examples=examples(60))
@given(SIGHTINGS, st.integers(1, 5), st.randoms(use_true_random=False))
def test_members_count_as_a_dictionary_does(sightings: list, panes: int, chance: object) -> None:
    members = Members("m", "day", panes)
    members.grow(ROWS)
    newest, crowd = 20_000, 10**6
    members.advance(newest * DAY_MS)
    model: dict[tuple[int, int], int] = {}
    pages: dict[tuple[int, int], bytes] = {}
    for elapsed, members_by_row, action in sightings:
        newest += elapsed
        members.advance(newest * DAY_MS)
        seen = [(row, newest - age, member) for row, age, member in members_by_row]
        seen += [(0, newest, crowd + number) for number in range(3000 if action == "crowd" else 0)]
        crowd += 3000
        members.aggregate(
            np.array([row for row, _, _ in seen], dtype=np.int64),
            np.array([pane * DAY_MS for _, pane, _ in seen], dtype=np.int64),
            np.array([member for _, _, member in seen], dtype=np.uint64),
        )
        model |= {(row, member): max(model.get((row, member), 0), pane) for row, pane, member in sorted(seen)}
        if action in {"save", "restart"}:
            write(pages, members)
        if action == "restart":
            members = loaded(pages, newest, panes, chance)
        for window in range(1, panes + 1):
            inside = Counter(row for (row, _), pane in model.items() if pane > newest - window)
            assert members.read(np.arange(ROWS), window).tolist() == [inside[row] for row in range(ROWS)]
    # Members outside every window are removed.
    assert len(members) <= max(4096 + 3000 + 40, 2 * sum(pane > newest - panes for pane in model.values()) + 3040)


def write(pages: dict[tuple[int, int], bytes], members: Members) -> None:
    """Save into a compacted topic of pages."""
    for page in members.save():
        if page.value is None:
            pages.pop((page.row, page.number), None)
        else:
            assert len(page.value) <= PAGE_ENTRIES * PAGE_ENTRY.itemsize
            pages[page.row, page.number] = page.value


def loaded(pages: dict[tuple[int, int], bytes], newest: int, panes: int, chance: object) -> Members:
    """Members from their pages, in the order of chance, as a compacted topic gives them."""
    members = Members("m", "day", panes)
    members.grow(ROWS)
    members.advance(newest * DAY_MS)
    keys = sorted(pages)
    chance.shuffle(keys)  # type: ignore[attr-defined]
    rows, numbers = np.array(keys, dtype=np.int64).reshape(-1, 2).T
    members.load(rows, numbers, [pages[key] for key in keys])
    return members


def test_a_page_that_is_used_again_after_cleanup_is_not_deleted() -> None:
    members = Members("m", "day", 1)
    members.grow(1)
    members.advance(0)
    crowd = np.arange(1, 6001, dtype=np.uint64)
    rows, times = np.zeros(6000, dtype=np.int64), np.zeros(6000, dtype=np.int64)
    members.aggregate(rows, times, crowd)
    pages: dict[tuple[int, int], bytes] = {}
    write(pages, members)
    members.advance(DAY_MS)  # all members are outside the window and are removed
    assert len(members) == 0
    members.aggregate(rows, times + DAY_MS, crowd + np.uint64(6000))
    write(pages, members)
    again = loaded(pages, 1, 1, np.random.default_rng(1))
    assert again.read(np.zeros(1, dtype=np.int64), 1).tolist() == [6000.0]


@given(
    st.lists(
        st.tuples(st.lists(st.integers(1, 60), max_size=9), st.sampled_from(("", "save", "restart"))), max_size=25
    ),
    st.integers(1, 12),
)
def test_seen_ids_contain_the_latest_and_evict_the_oldest(calls: list, capacity: int) -> None:
    seen, topic = SeenIds(capacity), dict[tuple[int, int], bytes]()
    order: list[int] = []
    saved_order: list[int] = []
    saved_at = 0
    for stamp, (ids, action) in enumerate(calls):
        distinct = list(dict.fromkeys(ids))
        id_array = np.array(ids, dtype=np.uint64)
        fresh = seen.add(id_array, stamp)
        # Always known: the last `capacity` different ids before this call.
        latest = list(dict.fromkeys(reversed(order)))[:capacity]
        for index, event_id in enumerate(ids):
            if event_id in latest or event_id in ids[:index]:
                assert not fresh[index], (event_id, order)
            elif event_id not in order:
                assert fresh[index]
        order += distinct
        if action:
            for segment in seen.save():
                key = (segment.generation, segment.number)
                if segment.value is None:
                    topic.pop(key, None)
                else:
                    topic[key] = segment.value
            assert len({generation for generation, _ in topic}) <= 2
            saved_order, saved_at = list(order), stamp
        if action == "restart":
            horizon = seen.horizon_ms
            seen = SeenIds(capacity)
            seen.load([Segment(*key, value) for key, value in topic.items()])
            assert seen.horizon_ms == horizon
            order = list(saved_order)
    assert saved_at <= len(calls)
    assert seen.nbytes() <= 2 * 1024 * 12  # two small generations, whatever the input
