"""Things with a state against a walk through all their events: shuffled, repeated, late, reduced, saved, cut saves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.columns import pages as pages_of_columns
from stream.columns import things as things_of_columns
from stream.columns.pages import Page
from stream.columns.panes import UNIT_MS
from stream.columns.things import Things, thing_keys

if TYPE_CHECKING:
    from collections.abc import Iterable

DAY_MS = UNIT_MS["day"]
ROWS = 3
LATENESS_DAYS = 4
FIRST_DAY = 20_000
Event = tuple[int, int, int, bool]
"""Row, time (epoch ms), thing, and whether it leaves the thing open."""

EVENTS = st.lists(
    st.tuples(
        st.integers(0, ROWS - 1), st.integers(0, LATENESS_DAYS - 1), st.integers(0, 2), st.integers(1, 3), st.booleans()
    ),
    max_size=8,
)
ACTIONS = st.sampled_from(("", "", "again", "save", "restart", "cut", "cut"))
STEPS = st.lists(st.tuples(st.integers(0, 6), EVENTS, ACTIONS, st.integers(0, 6)), max_size=14)
QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def keyed(events: Iterable[Event]) -> tuple[Any, Any, Any]:
    rows, times, things, opens = zip(*events, strict=True)
    keys = thing_keys(np.array(things, dtype=np.uint64) << np.uint64(1), np.array(opens, dtype=bool))
    return np.array(rows, dtype=np.int64), np.array(times, dtype=np.int64), keys


@dataclass
class World:
    """A column, the changelog it is saved to, and what a worker would read again after a crash."""

    latest_only: bool
    newest: int = FIRST_DAY
    events: list[Event] = field(default_factory=list)
    saved_reads: int = 0
    saved_newest: int | None = None
    changelog: dict[tuple[int, int], bytes] = field(default_factory=dict)
    things: Things = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A new worker: loads the changelog, and reads again what came after the last whole save."""
        self.things = Things("t", "day", LATENESS_DAYS, latest_only=self.latest_only)
        self.things.fold_from, self.things.fold_growth = 1, 0
        self.things.grow(ROWS)
        if self.saved_newest is not None:
            self.things.advance(self.saved_newest * DAY_MS)
            if self.changelog:
                rows, numbers = np.array(list(self.changelog), dtype=np.int64).T
                self.things.load(rows, numbers, list(self.changelog.values()))
        self.things.advance(self.newest * DAY_MS)
        self.add(self.events[self.saved_reads :])
        self.fold()

    def add(self, events: list[Event]) -> None:
        if events:
            self.things.aggregate(*keyed(events))

    def fold(self) -> None:
        lateness = self.newest if self.saved_newest is None else self.saved_newest
        self.things.fold((lateness - LATENESS_DAYS + 1) * DAY_MS)

    def save(self, most: int | None = None) -> None:
        """Write pages; only the first `most` of them before a crash."""
        saved = self.things.save()
        for page in saved[:most]:
            self._write(page)
        if most is None or most >= len(saved):
            self.saved_reads, self.saved_newest = len(self.events), self.newest
        if most is not None:
            self.start()

    def _write(self, page: Page) -> None:
        if page.value is None:
            self.changelog.pop((page.row, page.number), None)
        else:
            self.changelog[page.row, page.number] = page.value


def walk(events: Iterable[Event]) -> dict[tuple[int, int], tuple[int | None, int]]:
    """Of each thing the day since which it is open, None if it is not, and the day of its latest event."""
    things: dict[tuple[int, int], tuple[int | None, int]] = {}
    for row, time, thing, opens in sorted(events, key=lambda event: (event[1], not event[3])):
        since, _ = things.get((row, thing), (None, 0))
        day = time // DAY_MS
        things[row, thing] = ((day if since is None else since) if opens else None, day)
    return things


def assert_as_walked(world: World) -> None:
    rows, walked = np.arange(ROWS), walk(world.events)
    for window in range(1, LATENESS_DAYS + 1) if world.latest_only else (None,):
        read = world.things.read(rows, window)
        ages: list[list[int]] = [[] for _ in range(ROWS)]
        for (row, _), (since, latest) in walked.items():
            if since is not None and (window is None or latest > world.newest - window):
                ages[row].append(world.newest - since)
        assert read.number.tolist() == [len(each) for each in ages]
        if not world.latest_only:
            assert read.max_days.tolist() == [max(each, default=0) for each in ages]
            assert read.sum_days.tolist() == [sum(each) for each in ages]


@pytest.mark.parametrize("latest_only", [False, True])
@QUICK
@given(steps=STEPS)
def test_things_are_open_as_a_walk_through_all_events_says(
    monkeypatch: pytest.MonkeyPatch, latest_only: bool, steps: list[Any]
) -> None:
    monkeypatch.setattr(pages_of_columns, "PAGE_ENTRIES", 2)
    world = World(latest_only)
    for elapsed, events, action, most in steps:
        world.newest += elapsed
        world.things.advance(world.newest * DAY_MS)
        new = [(row, (world.newest - age) * DAY_MS + tick, thing, opens) for row, age, tick, thing, opens in events]
        world.add(new)
        world.events += new
        if action == "again":
            world.add(new)
        world.fold()
        assert_as_walked(world)
        if action in {"save", "restart"}:
            world.save()
        if action == "restart":
            world.start()
        if action == "cut":
            world.save(most)
        assert_as_walked(world)


@pytest.mark.parametrize("latest_only", [False, True])
def test_closed_things_are_forgotten_when_no_late_event_can_come(latest_only: bool) -> None:
    world = World(latest_only)
    world.add([(0, FIRST_DAY * DAY_MS, 1, True), (0, FIRST_DAY * DAY_MS + 1, 1, False)])
    assert len(world.things) == 2
    for _ in range(3):  # what closes a thing is removed after the events before it
        world.newest += LATENESS_DAYS
        world.things.advance(world.newest * DAY_MS)
        world.fold()
        world.save()
    assert len(world.things) == 0
    world.save()
    assert world.changelog == {}


def test_an_account_keeps_its_latest_events_and_is_counted_as_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(things_of_columns, "MOST_EVENTS", 5)
    world = World(latest_only=False)
    world.add(
        [(row, FIRST_DAY * DAY_MS + thing, thing, True) for row, count in ((0, 8), (1, 5)) for thing in range(count)]
    )
    world.fold()
    assert world.things.read(np.arange(ROWS), None).number.tolist() == [5, 5, 0]
    assert world.things.full_rows() == 2


def test_a_cleared_row_has_no_things_and_no_pages() -> None:
    world = World(latest_only=False)
    world.add([(0, FIRST_DAY * DAY_MS, 1, True), (1, FIRST_DAY * DAY_MS, 1, True)])
    world.save()
    world.things.clear(0)
    assert world.things.read(np.arange(ROWS), None).number.tolist() == [0, 1, 0]
    world.save()
    assert set(world.changelog) == {(1, 0)}


def test_an_excerpt_ages_without_the_column() -> None:
    world = World(latest_only=False)
    world.add([(2, FIRST_DAY * DAY_MS, 1, True), (0, FIRST_DAY * DAY_MS, 1, True)])
    copy = world.things.excerpt(np.array([2]))
    copy.advance((FIRST_DAY + 30) * DAY_MS)
    assert copy.read(np.arange(1), None).max_days.tolist() == [30]
    assert world.things.read(np.arange(ROWS), None).max_days.tolist() == [0, 0, 0]
