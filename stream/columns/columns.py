"""Columns: what the engine keeps of events, one numpy array a column, one row an account.

Owns the kinds of columns, how events fold into them and how a window is read out of them. A column knows its ring of
panes and nothing of policies, points or Kafka. Called by `stream.engine.engine` (fold, advance) and `stream.measures`
(read).

Every fold is order-independent: counts and sums are integers (sums in millionths, exact in float64 to 9e9 units),
extremes are min and max, the latest value is decided by (time, value).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.columns.panes import UNIT_MS, Unit, panes_in_slots, slots_passed, window_slots

Rows = NDArray[np.int64]
MILLIONTHS = 1e6
NEVER = np.iinfo(np.int64).min
_LARGEST = {np.dtype(width): int(np.iinfo(width).max) for width in (np.int8, np.int16, np.int32, np.int64)}
_WIDTHS: list[Any] = [np.int8, np.int16, np.int32, np.int64, np.float64]
_DIVISORS = (1_000_000, 500_000, 250_000, 100_000, 50_000, 10_000, 1_000, 100, 10, 1)


class PaneColumn:
    """A ring of panes a row, folded by addition, minimum or maximum.

    Counts and sums are whole numbers of `divisor` millionths, in the narrowest integers that hold them: a year of
    panes of an ordinary account takes 2 bytes a pane. They widen, and the divisor becomes finer, as soon as an event
    needs it.
    """

    def __init__(self, name: str, unit: Unit, panes: int, how: str) -> None:
        """`how` is count, sum (both integers), min or max (float64)."""
        self.name = name
        self.unit: Unit = unit
        self.panes = panes
        self.how = how
        self.divisor = 1 if how == "count" else int(MILLIONTHS)
        self.adds = how in {"count", "sum"}
        self.empty = {"min": np.inf, "max": -np.inf}.get(how, 0)
        self.newest: int | None = None
        self.values: NDArray[Any] = np.full((0, panes), self.empty, dtype=_WIDTHS[0] if self.adds else np.float64)

    def fields(self) -> list[tuple[str, np.dtype[Any], tuple[int, ...]]]:
        """One field: the ring. The name carries the divisor, which gives the numbers their meaning."""
        return [(f"{self.name}#{self.divisor}", self.values.dtype, (self.panes,))]

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        grown = np.full((capacity, self.panes), self.empty, dtype=self.values.dtype)
        grown[: len(self.values)] = self.values
        self.values = grown

    def advance(self, as_of_ms: int) -> None:
        """Clear the slots that new panes take over."""
        pane = as_of_ms // UNIT_MS[self.unit]
        if self.newest is not None and pane > self.newest:
            self.values[:, slots_passed(self.newest, pane, self.panes)] = self.empty
        self.newest = pane if self.newest is None else max(pane, self.newest)

    def aggregate(self, rows: Rows, times: NDArray[np.int64], amounts: NDArray[np.float64] | None) -> None:
        """Add events to their panes; those behind the ring fall away. Amounts of a sum are whole millionths."""
        assert self.newest is not None, "advance comes before fold"
        panes = times // UNIT_MS[self.unit]
        if panes.size and int(panes.min()) <= self.newest - self.panes:
            inside = panes > self.newest - self.panes
            rows, panes = rows[inside], panes[inside]
            amounts = None if amounts is None else amounts[inside]
        flat = rows * self.panes + panes % self.panes
        if self.adds:
            self._add(flat, amounts)
            return
        assert amounts is not None, "an extreme is of a field"
        if self.how == "min":
            np.minimum.at(self.values.reshape(-1), flat, amounts)
        else:
            np.maximum.at(self.values.reshape(-1), flat, amounts)

    def _add(self, flat: NDArray[np.int64], amounts: NDArray[np.float64] | None) -> None:
        if amounts is None:
            self._widen(len(flat))
            np.add.at(self.values.reshape(-1), flat, self.values.dtype.type(1))
            return
        if self.divisor > 1 and (amounts % self.divisor).any():
            self._refine(amounts)
        amounts = amounts / self.divisor
        self._widen(float(np.abs(amounts).sum()))
        np.add.at(self.values.reshape(-1), flat, amounts.astype(self.values.dtype))

    def _widen(self, more: float) -> None:
        """Choose a width in which no pane can overflow when `more` is added to it."""
        if self.values.dtype == np.float64 or more + self._largest <= _LARGEST[self.values.dtype]:
            self._largest += more
            return
        self._largest = float(np.abs(self.values.astype(np.float64)).max(initial=0)) + more
        for width in _WIDTHS[_WIDTHS.index(self.values.dtype.type) :]:
            if width is np.float64 or self._largest <= np.iinfo(width).max:
                self.values = self.values.astype(width)
                return

    _largest = 0.0

    def _refine(self, amounts: NDArray[np.float64]) -> None:
        """Make the divisor fine enough for these amounts, and still a divisor of what the panes hold."""
        finer = next(finer for finer in _DIVISORS if not self.divisor % finer and not (amounts % finer).any())
        factor = self.divisor // finer
        largest = float(np.abs(self.values.astype(np.float64)).max(initial=0))
        self._largest, self.divisor = 0.0, finer
        if largest:  # else the narrow zeros stay, though the factor itself might not fit their width
            self._widen(largest * factor)
            self.values *= self.values.dtype.type(factor)

    def read(self, rows: Rows, window: int) -> NDArray[np.float64]:
        """Total (count or millionths), minimum or maximum of each row, float64 (k,); empty: 0, inf, -inf."""
        assert self.newest is not None
        values = self.values[rows]
        if window < self.panes:
            values = values[:, window_slots(self.newest, self.panes, window)]
        if self.adds:
            total = values.sum(axis=1, dtype=np.float64)
            return np.asarray(total if self.divisor == 1 else total * self.divisor, dtype=np.float64)
        return np.asarray(values.min(axis=1) if self.how == "min" else values.max(axis=1), dtype=np.float64)

    def read_blocks(self, rows: Rows, window: int, blocks: int) -> NDArray[np.float64]:
        """Totals of this window and of `blocks` windows before it, newest first, float64 (k, blocks + 1)."""
        assert self.newest is not None
        values = self.values[rows][:, window_slots(self.newest, self.panes, window * (blocks + 1))]
        totals = values.reshape(len(rows), blocks + 1, window).sum(axis=2, dtype=np.float64)[:, ::-1]
        return np.asarray(totals * self.divisor, dtype=np.float64)

    def last_pane(self, rows: Rows, window: int, reach: int) -> NDArray[np.int64]:
        """How many panes ago the newest one that holds something lies, int64 (k,).

        Only those before the window's, up to `reach` of all, are looked at; -1 where these are empty.
        """
        assert self.newest is not None
        older = self.values[rows][:, window_slots(self.newest - window, self.panes, reach - window)[::-1]]
        filled = older != self.empty
        return np.where(filled.any(axis=1), filled.argmax(axis=1) + window, -1)

    def read_pane(self, rows: Rows, ago: NDArray[np.int64]) -> NDArray[np.float64]:
        """What one pane of each row holds, `ago` panes before the newest: count, millionths or extreme, (k,)."""
        assert self.newest is not None
        values = self.values[rows, (self.newest - ago) % self.panes].astype(np.float64)
        return values * self.divisor if self.adds else values

    def load(self, rows: Rows, record: NDArray[np.void], as_of_ms: NDArray[np.int64]) -> None:
        """Place saved rings of any length and width into this one by pane number; panes long past are dropped."""
        if self.newest is None:
            return  # a partition that has had no event yet
        field = next((name for name in record.dtype.names or () if name.rpartition("#")[0] == self.name), None)
        if field is None:
            return
        saved, divisor = record[field], int(field.rpartition("#")[2])
        if self.adds:
            if divisor % self.divisor:
                self._refine(np.array([float(divisor)]))
            if divisor != self.divisor:
                saved = saved.astype(np.float64) * (divisor // self.divisor)
            self._widen(max(float(saved.max(initial=0)), -float(saved.min(initial=0))))
        newest = as_of_ms // UNIT_MS[self.unit]
        if saved.shape[1] == self.panes:
            self.values[rows] = saved
            for pane in np.unique(newest[newest < self.newest]).tolist():
                behind = rows[newest == pane]
                self.values[np.ix_(behind, slots_passed(pane, self.newest, self.panes))] = self.empty
            return
        panes = panes_in_slots(newest, saved.shape[1])
        self.values[rows] = self.empty
        which, slot = np.nonzero(panes > self.newest - self.panes)
        self.values[rows[which], panes[which, slot] % self.panes] = saved[which, slot]

    def save(self, rows: Rows, record: NDArray[np.void]) -> None:
        """Copy rings as they lie."""
        record[self.fields()[0][0]] = self.values[rows]

    def excerpt(self, rows: Rows) -> PaneColumn:
        """A copy of some rows, numbered anew from 0, to advance and read without touching this column."""
        part = PaneColumn(self.name, self.unit, self.panes, self.how)
        part.newest, part.divisor, part.values = self.newest, self.divisor, self.values[rows]
        return part

    def nbytes(self) -> int:
        """Bytes of memory held."""
        return int(self.values.nbytes)


class FactColumn:
    """A number of each row's profile; it is set, not folded, and the profile itself is what is saved."""

    def __init__(self, name: str) -> None:
        """`name` is the field of the profile."""
        self.name = name
        self.unit: Unit = "day"
        self.newest: int | None = None
        self.values = np.full(0, np.nan)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        values = np.full(capacity, np.nan)
        values[: len(self.values)] = self.values
        self.values = values

    def advance(self, as_of_ms: int) -> None:
        """Remember the day of scores."""
        self.newest = as_of_ms // UNIT_MS["day"]

    def excerpt(self, rows: Rows) -> FactColumn:
        """A copy of some rows, in that order, numbered from 0."""
        copy = FactColumn(self.name)
        copy.newest, copy.values = self.newest, self.values[rows]
        return copy

    def nbytes(self) -> int:
        """Bytes of memory held."""
        return int(self.values.nbytes)


class LatestColumn:
    """The latest event of a row: its time and, where asked, a number of it."""

    def __init__(self, name: str, unit: Unit) -> None:
        """`unit` is the unit of the windows that read it."""
        self.name = name
        self.unit: Unit = unit
        self.newest: int | None = None
        self.times = np.full(0, NEVER, dtype=np.int64)
        self.values = np.zeros(0)

    def fields(self) -> list[tuple[str, np.dtype[Any], tuple[int, ...]]]:
        """Time and value."""
        return [(self.name + "/time", np.dtype(np.int64), ()), (self.name + "/value", np.dtype(np.float64), ())]

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        times = np.full(capacity, NEVER, dtype=np.int64)
        values = np.zeros(capacity)
        times[: len(self.times)] = self.times
        values[: len(self.values)] = self.values
        self.times, self.values = times, values

    def advance(self, as_of_ms: int) -> None:
        """Remember the pane that windows end in."""
        pane = as_of_ms // UNIT_MS[self.unit]
        self.newest = pane if self.newest is None else max(pane, self.newest)

    def aggregate(self, rows: Rows, times: NDArray[np.int64], amounts: NDArray[np.float64] | None) -> None:
        """Keep the event with the largest (time, amount) of each row."""
        given = np.zeros(len(rows)) if amounts is None else amounts
        order = np.lexsort((given, times, rows))
        last = np.append(rows[order][1:] != rows[order][:-1], True) if len(rows) else np.zeros(0, dtype=bool)
        rows, times, given = rows[order][last], times[order][last], given[order][last]
        newer = (times > self.times[rows]) | ((times == self.times[rows]) & (given > self.values[rows]))
        self.times[rows[newer]] = times[newer]
        self.values[rows[newer]] = given[newer]

    def read(self, rows: Rows, window: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Age in panes and value of each row's latest event, NaN when it is not in the window; two arrays (k,)."""
        assert self.newest is not None
        times = self.times[rows]
        ages = self.newest - times // UNIT_MS[self.unit]
        inside = (times != NEVER) & (ages < window)
        return np.where(inside, ages, np.nan), np.where(inside, self.values[rows], np.nan)

    def load(self, rows: Rows, record: NDArray[np.void], as_of_ms: NDArray[np.int64]) -> None:
        """Take saved times and values."""
        del as_of_ms
        if self.name + "/time" not in (record.dtype.names or ()):
            return
        self.times[rows] = record[self.name + "/time"]
        self.values[rows] = record[self.name + "/value"]

    def save(self, rows: Rows, record: NDArray[np.void]) -> None:
        """Copy times and values."""
        record[self.name + "/time"] = self.times[rows]
        record[self.name + "/value"] = self.values[rows]

    def excerpt(self, rows: Rows) -> LatestColumn:
        """A copy of some rows, numbered anew from 0, to advance and read without touching this column."""
        part = LatestColumn(self.name, self.unit)
        part.newest, part.times, part.values = self.newest, self.times[rows], self.values[rows]
        return part

    def nbytes(self) -> int:
        """Bytes of memory held."""
        return int(self.times.nbytes + self.values.nbytes)
