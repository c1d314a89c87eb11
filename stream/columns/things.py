"""Things with a state, such as tickets and invoices, by their id: which are open now, and since when.

Owns, for every account, the events of its things: a hash of the id, the time, and whether the event leaves the thing
open. A thing is open if its latest event leaves it open; of several at one time, one that closes it is the latest. It
is open since the first event after the latest one that closes it. So the result does not depend on the order in which
events arrive, nor on repeats.

Events that are older than the longest lateness are reduced to what still matters (`fold`): of a thing that was open
then, the event since which it is; of a closed one, nothing. Of an account, the `MOST_EVENTS` latest are kept.

A save may end in the middle of its pages: then events that were removed may be there again after the restart. So what
closes a thing is removed only after the events before it, in a later save. Called by `stream.ingest.aggregation`,
`stream.engine.engine`, `stream.measures.open_things` and `stream.recovery.changelog`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.columns.calendar import UTC_DAYS, Calendar
from stream.columns.columns import Rows
from stream.columns.growth import stretch
from stream.columns.hash_index import Hashes, HashIndex, mix
from stream.columns.pages import Page, Pages, rank
from stream.columns.panes import Unit

THING_ENTRY = np.dtype([("thing", "<u8"), ("time", "<i8")])
MOST_EVENTS = 50_000
"""So many events of things are kept of one account in one column."""
_OPEN = np.uint64(1)
"""The lowest bit of an event's key: it leaves the thing open. The other bits are the hash of the id."""
Days = NDArray[np.int64]


def thing_keys(hashes: Hashes, opens: NDArray[np.bool_]) -> Hashes:
    """Keys of events (k,) for `Things.aggregate`: hashes of ids, and whether the event leaves the thing open."""
    return (hashes & ~_OPEN) | opens.astype(np.uint64)


class OpenThings(NamedTuple):
    """Of each row (k,): how many things are open, and the UTC days since the first of them and since all opened."""

    number: Days
    max_days: Days
    sum_days: Days


class _Open(NamedTuple):
    """All open things: row, day on which each was opened, day of its latest event, int64 (n,)."""

    owner: Rows
    since: Days
    latest: Days

    def pick(self, selected: NDArray[np.bool_]) -> _Open:
        return _Open(self.owner[selected], self.since[selected], self.latest[selected])


_NONE = _Open(*(np.zeros(0, dtype=np.int64) for _ in range(3)))


class Things:
    """The things of each row by one text field, and whether they are open."""

    entry = THING_ENTRY
    fold_from = 4096
    """With fewer events in all, none are removed."""
    fold_growth = 2
    """Events are removed when there are so many times as many as after the last time."""

    def __init__(
        self, name: str, unit: Unit, panes: int, calendar: Calendar = UTC_DAYS, *, latest_only: bool = False
    ) -> None:
        """`latest_only` is for things in a window, the longest of `panes` days: when they opened is not kept."""
        self.name = name
        self.unit: Unit = unit
        self.calendar = calendar
        self.panes = panes
        self.latest_only = latest_only
        self.newest: int | None = None
        self._pages = Pages()
        self._index = HashIndex()
        self._owner = np.zeros(0, dtype=np.int32)
        self._key: Hashes = np.zeros(0, dtype=np.uint64)
        self._time = np.zeros(0, dtype=np.int64)
        self._page = np.zeros(0, dtype=np.uint16)
        self._open = _NONE
        self._stale: list[Rows] = []
        """Rows whose open things must be found anew."""
        self._capacity = 0
        self._least = 0
        """How many events were left when they were reduced last."""
        self._may_fold = True
        """Whether what was removed last is saved, if anything is saved at all."""
        self._is_saved = False

    def __len__(self) -> int:
        """Number of events that are kept of all rows."""
        return len(self._index)

    def nbytes(self) -> int:
        """Bytes of memory of the arrays."""
        arrays = (self._owner, self._key, self._time, self._page, *self._open)
        return self._index.nbytes() + self._pages.nbytes() + sum(int(array.nbytes) for array in arrays)

    def full_rows(self) -> int:
        """Number of rows that have `MOST_EVENTS` events or more: the oldest are not kept."""
        return int((np.bincount(self._owner[: len(self)], minlength=1) >= MOST_EVENTS).sum())

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self._pages.grow(capacity)
        self._capacity = capacity

    def advance(self, as_of_ms: int) -> None:
        """Move the newest pane, from which days are counted back, to that of `as_of_ms` (epoch ms); never back."""
        pane = self.calendar.pane_of(as_of_ms, self.unit)
        self.newest = pane if self.newest is None else max(pane, self.newest)

    def aggregate(self, rows: Rows, times: NDArray[np.int64], keys: Hashes) -> None:
        """Add events: row, time (epoch ms) and key (see `thing_keys`) of each, (k,)."""
        if len(rows):
            self._add(rows, times, keys, None)

    def _add(self, rows: Rows, times: NDArray[np.int64], keys: Hashes, pages: NDArray[np.uint16] | None) -> None:
        """Add events (k,), in `pages` (k,) or in new slots."""
        positions, new = self._index.add(mix(rows, mix(times, keys)))
        if not new.any():
            return
        rows, times, keys, positions = rows[new], times[new], keys[new], positions[new]
        count = len(self._index)
        if count > len(self._owner):
            room = max(count, len(self._owner) * 3 // 2)
            self._owner, self._page = stretch(self._owner, room, 0), stretch(self._page, room, 0)
            self._key, self._time = stretch(self._key, room, 0), stretch(self._time, room, 0)
        self._owner[positions], self._time[positions], self._key[positions] = rows, times, keys
        self._page[positions] = self._pages.assign(rows) if pages is None else pages[new]
        if pages is None:
            self._pages.touch(rows, self._page[positions])
        self._stale.append(rows)

    # -- read ---------------------------------------------------------------------------------------------------------

    def read(self, rows: Rows, window: int | None) -> OpenThings:
        """The open things of each row (k,); with a `window`, those whose latest event is in its days."""
        assert self.newest is not None
        self.find_open()
        slots = np.full(self._capacity, -1, dtype=np.int64)
        slots[rows] = np.arange(len(rows))
        slot = slots[self._open.owner]
        inside = slot >= 0
        if window is not None:
            inside &= self._open.latest > self.newest - window
        slot, days = slot[inside], self.newest - self._open.since[inside]
        result = OpenThings(np.bincount(slot, minlength=len(rows)), *np.zeros((2, len(rows)), dtype=np.int64))
        np.maximum.at(result.max_days, slot, days)
        np.add.at(result.sum_days, slot, days)
        return result

    def find_open(self) -> None:
        """Bring `_open` up to date."""
        if not self._stale:
            return
        stale = np.zeros(self._capacity, dtype=bool)
        for rows in self._stale:
            stale[rows] = True
        self._stale.clear()
        unchanged = self._open.pick(~stale[self._open.owner])
        events = self._sorted(np.flatnonzero(stale[self._owner[: len(self)]]))
        last = events.last & events.opens
        since = self.calendar.panes_of(events.time[events.run_start[last]], self.unit)
        newly_open = _Open(events.owner[last], since, self.calendar.panes_of(events.time[last], self.unit))
        self._open = _Open(*(np.concatenate(pair) for pair in zip(unchanged, newly_open, strict=True)))

    def excerpt(self, rows: Rows) -> Things:
        """A copy of the open things of `rows`, renumbered from 0, to advance and read; it can not aggregate."""
        self.find_open()
        copy = Things(self.name, self.unit, self.panes, self.calendar, latest_only=self.latest_only)
        numbers = np.full(self._capacity, -1, dtype=np.int64)
        numbers[rows] = np.arange(len(rows))
        selected = self._open.pick(numbers[self._open.owner] >= 0)
        copy.newest, copy._open, copy._capacity = (
            self.newest,
            selected._replace(owner=numbers[selected.owner]),
            len(rows),
        )
        return copy

    # -- forget -------------------------------------------------------------------------------------------------------

    def clear(self, row: int) -> None:
        """Forget all things of a row; `save` deletes its pages."""
        self._retain(self._owner[: len(self)] != row)

    def fold(self, final_before_ms: int) -> None:
        """Reduce events from before `final_before_ms` (epoch ms), before which no event can be added any more.

        Does so when there are `fold_growth` times as many as after the last time, and once between two saves.
        """
        count = len(self)
        if count < max(self.fold_growth * self._least, self.fold_from) or not self._may_fold:
            return
        events = self._sorted(np.arange(count))
        if self.latest_only:
            assert self.newest is not None
            needed = events.last & (self.calendar.panes_of(events.time, self.unit) > self.newest - self.panes)
        else:
            needed = self._needed(events, events.time < final_before_ms)
        self._limit(events, needed)
        remains = np.zeros(count, dtype=bool)
        remains[events.position[needed]] = True
        self._retain(remains)
        self._least, self._may_fold = len(self), not self._is_saved

    @staticmethod
    def _needed(events: _Events, final: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which events matter for as long as none is added among the `final` ones, bool (k,)."""
        needed = ~final
        latest = final & (events.last | ~np.append(final[1:], False))
        needed[events.run_start[latest & events.opens]] = True
        # The latest event that closes a thing, for as long as there are events before it that leave the thing open.
        thing = np.cumsum(events.first) - 1
        closes, before = final & ~events.opens, final & events.opens & ~needed
        latest_close = np.full(len(thing), -1)
        np.maximum.at(latest_close, thing[closes], np.flatnonzero(closes))
        removes = np.zeros(len(thing), dtype=bool)
        removes[thing[before]] = True
        needed[latest_close[(latest_close >= 0) & removes]] = True
        return needed

    def _limit(self, events: _Events, needed: NDArray[np.bool_]) -> None:
        """Leave the oldest events of accounts that have more than `MOST_EVENTS` out of `needed`, which is changed."""
        selected = np.flatnonzero(needed)
        many = np.bincount(events.owner[selected], minlength=1) > MOST_EVENTS
        selected = selected[many[events.owner[selected]]]
        newest_first = selected[np.lexsort((events.key[selected], events.time[selected]))][::-1]
        excess = newest_first[rank(events.owner[newest_first]) >= MOST_EVENTS]
        needed[excess] = False

    def _retain(self, remains: NDArray[np.bool_]) -> None:
        """Remove all events but those that are marked, and number the pages of their rows anew."""
        if remains.all():
            return
        count = len(self)
        lost = np.unique(self._owner[:count][~remains]).astype(np.int64)
        owner, key = self._owner[:count][remains], self._key[:count][remains]
        time, page = self._time[:count][remains], self._page[:count][remains]
        self._pages.compact(lost, owner, page)
        self._index = HashIndex.of(mix(owner.astype(np.int64), mix(time, key)))
        self._owner, self._key, self._time, self._page = owner, key, time, page
        self._stale.append(lost)

    def _sorted(self, index: NDArray[np.int64]) -> _Events:
        """The events at `index` (k,), by row, thing and time; at one time, those that close a thing last."""
        key, time = self._key[index], self._time[index]
        owner, thing, opens = self._owner[index].astype(np.int64), key & ~_OPEN, key & _OPEN == _OPEN
        order = np.lexsort((~opens, time, thing, owner))
        owner, thing = owner[order], thing[order]
        first = np.append(True, (owner[1:] != owner[:-1]) | (thing[1:] != thing[:-1]))[: len(order)]
        last = np.append(first[1:], True)[: len(order)]
        return _Events(index[order], owner, key[order], time[order], opens[order], first, last)

    # -- save and load ------------------------------------------------------------------------------------------------

    def save(self) -> list[Page]:
        """Pages that changed since the last call, those of a row in ascending order; deleted pages come last."""
        count = len(self)
        self._is_saved = self._may_fold = True
        return self._pages.save(self._owner[:count], self._page[:count], self._entries)

    def _entries(self, selected: NDArray[np.int64]) -> NDArray[np.void]:
        entries = np.empty(len(selected), dtype=THING_ENTRY)
        entries["thing"] = self._key[selected]
        entries["time"] = self._time[selected]
        return entries

    def entries_of(self, row: int) -> bytes:
        """The events of a row, as `unite` takes them."""
        return self._entries(np.flatnonzero(self._owner[: len(self)] == row)).tobytes()

    def unite(self, row: int, entries: bytes) -> None:
        """Add what `entries_of` returned for another row, once or several times."""
        theirs = np.frombuffer(entries, dtype=THING_ENTRY)
        self.aggregate(np.full(len(theirs), row, dtype=np.int64), theirs["time"], theirs["thing"])

    def load(self, rows: Rows, numbers: NDArray[np.int64], values: list[bytes]) -> None:
        """Fill rows from changelog pages: row (k,) and page number (k,) of each, and its bytes."""
        if self.newest is None or not values:
            return  # without stream time no row was written yet: the events of these pages are read again
        entries, owners, pages, _ = self._pages.load(rows, numbers, values, THING_ENTRY)
        # A crash between pages and rows leaves events that stream time has not reached: they are read again.
        reached = self.calendar.panes_of(entries["time"], self.unit) <= self.newest
        # In the order of pages, so that `fold` moves events to lower pages only: those are written first.
        selected = np.flatnonzero(reached)[np.lexsort((pages[reached], owners[reached]))]
        times, keys = entries["time"][selected], entries["thing"][selected]
        self._add(owners[selected], times, keys, pages[selected].astype(np.uint16))
        self._is_saved = True


class _Events(NamedTuple):
    """Events in order (k,): where they are in the arrays, what they are, and which are first and last of a thing."""

    position: NDArray[np.int64]
    owner: Rows
    key: Hashes
    time: NDArray[np.int64]
    opens: NDArray[np.bool_]
    first: NDArray[np.bool_]
    last: NDArray[np.bool_]

    @property
    def run_start(self) -> NDArray[np.int64]:
        """For each event that leaves its thing open, the first event since which it is open: its number, int64 (k,)."""
        numbers = np.arange(len(self.position))
        starts: NDArray[np.int64] = np.maximum.accumulate(
            np.where(self.opens, np.where(self.first, numbers, 0), numbers + 1)
        )
        return starts
