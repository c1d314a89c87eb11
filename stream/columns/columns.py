"""Columns: aggregates of events in numpy arrays, one row for each account. Pane rings and latest events.

Owns how events are aggregated into a column, how a window is read out of it, and its fields in a changelog row. Knows
nothing of policies, points or Kafka. Called by `stream.ingest.aggregation` (aggregate), `stream.engine.scorer`
(advance), `stream.measures` (read) and `stream.accounts.row_codec` (save, load). Distinct members are in
`stream.columns.members`.

Aggregates do not depend on the order of events: counts and sums are integers (sums in millionths, exact in float64 up
to 9e9 units), extremes are minima and maxima, and the latest event is the one with the largest (time, value).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.columns.calendar import UTC_DAYS, Calendar
from stream.columns.growth import stretch
from stream.columns.panes import Unit, panes_in_slots, slots_passed, window_runs, window_slots
from stream.columns.sorted_set import begins_of
from stream.columns.window_totals import WindowTotals

Rows = NDArray[np.int64]
MILLIONTHS = 1e6
NEVER = np.iinfo(np.int64).min
_LARGEST = {np.dtype(width): int(np.iinfo(width).max) for width in (np.int8, np.int16, np.int32, np.int64)}
_WIDTHS: list[Any] = [np.int8, np.int16, np.int32, np.int64, np.float64]
_WIDEST_WITH_TOTALS = 4
"""Bytes of the widest panes whose totals cannot overflow, whatever the window."""
_DIVISORS = (1_000_000, 500_000, 250_000, 100_000, 50_000, 10_000, 1_000, 100, 10, 1)


class PaneColumn:
    """A ring of panes for each row: a count, sum, minimum or maximum of the events of each pane.

    Counts and sums are multiples of `divisor` millionths (a count: of 1), in the narrowest integer type that fits all
    panes; an ordinary account needs 1 or 2 bytes a pane. The type becomes wider, and the divisor smaller, as soon as an
    event needs it.
    """

    def __init__(self, name: str, unit: Unit, panes: int, how: str, calendar: Calendar = UTC_DAYS) -> None:
        """`panes` is the number of slots; `how` is `count`, `sum` (both integers), `min` or `max` (float64)."""
        self.name, self.calendar = name, calendar
        self.unit: Unit = unit
        self.panes = panes
        self.how = how
        self.divisor = 1 if how == "count" else int(MILLIONTHS)
        self.adds = how in {"count", "sum"}
        self.empty = {"min": np.inf, "max": -np.inf}.get(how, 0)
        self.newest: int | None = None
        self.values: NDArray[Any] = np.full((0, panes), self.empty, dtype=_WIDTHS[0] if self.adds else np.float64)
        self._totals: WindowTotals | None = WindowTotals() if self.adds else None
        """None where windows are added up when they are read."""

    def fields(self) -> list[tuple[str, np.dtype[Any], tuple[int, ...]]]:
        """One changelog field: the ring. Its name contains the divisor, without which the numbers mean nothing."""
        return [(f"{self.name}#{self.divisor}", self.values.dtype, self.values.shape[1:])]

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self.values = stretch(self.values, capacity, self.empty)
        if self._totals is not None:
            self._totals.grow(capacity)

    def advance(self, as_of_ms: int) -> None:
        """Move the newest pane to that of `as_of_ms` (epoch ms), clearing the slots of panes in between; never back."""
        pane = self.calendar.pane_of(as_of_ms, self.unit)
        if pane == self.newest:
            return
        if self.newest is not None and pane > self.newest:
            if self._totals is not None:
                self._totals.advance(self.values, self.newest, pane)
            self.values[:, slots_passed(self.newest, pane, self.panes)] = self.empty
        self.newest = pane if self.newest is None else max(pane, self.newest)

    def aggregate(self, rows: Rows, times: NDArray[np.int64], amounts: NDArray[np.float64] | None) -> None:
        """Add events to their panes: rows, times (epoch ms) and amounts (k,). Events older than the ring are ignored.

        `amounts` are whole millionths for a sum, unused for a count. Call `advance` before.
        """
        assert self.newest is not None, "advance comes before aggregate"
        panes = self.calendar.panes_of(times, self.unit)
        if panes.size and int(panes.min()) <= self.newest - self.panes:
            inside = panes > self.newest - self.panes
            rows, panes = rows[inside], panes[inside]
            amounts = None if amounts is None else amounts[inside]
        flat = self.slots(rows, panes, amounts)
        if self.adds:
            added = self._add(flat, None if self.how == "count" else amounts)
            if self._totals is not None:
                self._totals.add(rows, self.newest - panes, added)
            return
        assert amounts is not None, "a minimum or maximum has amounts"
        if self.how == "min":
            np.minimum.at(self.values.reshape(-1), flat, amounts)
        else:
            np.maximum.at(self.values.reshape(-1), flat, amounts)

    def slots(self, rows: Rows, panes: NDArray[np.int64], amounts: NDArray[np.float64] | None) -> NDArray[np.int64]:
        """The index of the pane of each event in the flat values, int64 (k,)."""
        del amounts
        return rows * self.panes + panes % self.panes

    def _add(self, flat: NDArray[np.int64], amounts: NDArray[np.float64] | None) -> NDArray[Any] | None:
        """Add to the panes; returns the amounts in the ring's unit, whole numbers."""
        if amounts is not None:
            if self.divisor > 1 and np.count_nonzero(amounts % self.divisor):
                self._refine(amounts)
            amounts = amounts / self.divisor
        values = self.values.reshape(-1)
        most = len(flat) if amounts is None else np.add.reduce(np.abs(amounts))
        if _largest(values[flat]) + most <= self._limit:
            # Even if all of it were for one pane.
            np.add.at(values, flat, values.dtype.type(1) if amounts is None else amounts.astype(values.dtype))
        else:
            slots, sums = _summed(flat, amounts)
            self._widen(_largest(values[slots] + sums))
            self.values.reshape(-1)[slots] += sums.astype(self.values.dtype)
        return None if amounts is None else amounts.astype(np.int64)

    @property
    def _limit(self) -> float:
        """The largest absolute number that a pane can have."""
        return _LARGEST.get(self.values.dtype, np.inf)

    def _widen(self, largest: float) -> None:
        """Widen the type so that it has room for `largest`, an absolute number."""
        if largest <= self._limit:
            return
        width = next(width for width in _WIDTHS if largest <= _LARGEST.get(np.dtype(width), np.inf))
        self.values = self.values.astype(width)
        if self.values.itemsize > _WIDEST_WITH_TOTALS:
            self._totals = None

    def _refine(self, amounts: NDArray[np.float64]) -> None:
        """Choose the largest divisor of the amounts and the current divisor, and multiply the panes accordingly."""
        finer = next(divisor for divisor in _DIVISORS if not self.divisor % divisor and not (amounts % divisor).any())
        factor, self.divisor = self.divisor // finer, finer
        largest = _largest(self.values)
        if largest:  # zeros stay zeros, and the factor itself might not fit their type
            self._widen(largest * factor)
            self.values *= self.values.dtype.type(factor)
        if self._totals is not None:
            self._totals.multiply(factor)

    def read(self, rows: Rows, window: int, skip: int = 0) -> NDArray[np.float64]:
        """Count, millionths, minimum or maximum of each row over `window` panes, float64 (k,).

        They are the last ones but for the newest `skip`. Without events 0, inf or -inf.
        """
        assert self.newest is not None
        if self._totals is not None:
            totals = self._totals.read(self.values, self.newest, window, skip, rows)
            return (totals if self.divisor == 1 else totals * self.divisor).astype(np.float64)
        values = self.values[rows]
        return self._reduced([values[:, run] for run in window_runs(self.newest - skip, self.panes, window)])

    def read_panes(self, rows: Rows, panes: NDArray[np.int64]) -> NDArray[np.float64]:
        """The same over the panes of these numbers (m,), all of them in the ring."""
        return self._reduced([self.values[rows][:, panes % self.panes]])

    def read_each(self, rows: Rows, window: int, skip: int = 0) -> NDArray[np.float64]:
        """The same of each of these panes, oldest first, float64 (k, window)."""
        assert self.newest is not None
        values = self.values[rows][:, window_slots(self.newest - skip, self.panes, window)].astype(np.float64)
        return values * self.divisor if self.adds else values

    def _reduced(self, runs: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Count, millionths, minimum or maximum of each row (k,) over the panes of all `runs` (k, panes)."""
        both = {"min": np.minimum, "max": np.maximum}.get(self.how, np.add)
        of_runs = [both.reduce(run, axis=1, dtype=np.float64) for run in runs]
        total: NDArray[np.float64] = of_runs[0] if len(of_runs) == 1 else both(*of_runs)
        return total * self.divisor if self.adds and self.divisor > 1 else total

    def read_at_least(self, rows: Rows, window: int) -> NDArray[np.float64]:
        """Totals of the `window` complete panes, the newest pane in place of the oldest where it has more, (k,)."""
        assert self.newest is not None
        oldest, newest = self._pane(self.newest - window)[rows], self._pane(self.newest)[rows]
        less = np.minimum(oldest, newest).astype(np.float64)
        both = self.read(rows, window + 1)
        return np.asarray(both - (less * self.divisor if self.adds else less))

    def _pane(self, number: int) -> NDArray[Any]:
        """One pane of every row."""
        return self.values[:, number % self.panes]

    def read_blocks(self, rows: Rows, window: int, blocks: int, skip: int = 0) -> NDArray[np.float64]:
        """Totals of the window and of the `blocks` windows before it, newest first, float64 (k, blocks + 1).

        The window ends before the newest `skip` panes.
        """
        assert self.newest is not None
        values = self.values[rows][:, window_slots(self.newest - skip, self.panes, window * (blocks + 1))]
        totals = values.reshape(len(rows), blocks + 1, window).sum(axis=2, dtype=np.float64)[:, ::-1]
        return np.asarray(totals * self.divisor, dtype=np.float64)

    def filled(self, rows: Rows, window: int) -> NDArray[np.bool_]:
        """Whether each of the last `window` panes has an event, newest first, bool (k, window)."""
        assert self.newest is not None
        filled: NDArray[np.bool_] = (
            self.values[rows][:, window_slots(self.newest, self.panes, window)[::-1]] != self.empty
        )
        return filled

    def last_pane(self, rows: Rows, window: int, reach: int) -> NDArray[np.int64]:
        """How many panes before the newest the last pane with events is, int64 (k,).

        Of the last `reach` panes only those before the window count; -1 where these have no events.
        """
        assert self.newest is not None
        if reach <= window:
            return np.full(len(rows), -1, dtype=np.int64)
        older = self.values[rows][:, window_slots(self.newest - window, self.panes, reach - window)[::-1]]
        filled = older != self.empty
        return np.where(filled.any(axis=1), filled.argmax(axis=1) + window, -1)

    def read_pane(self, rows: Rows, ago: NDArray[np.int64]) -> NDArray[np.float64]:
        """Count, millionths, minimum or maximum of the pane `ago` (k,) panes before the newest, float64 (k,)."""
        assert self.newest is not None
        values = self.values[rows, (self.newest - ago) % self.panes].astype(np.float64)
        return values * self.divisor if self.adds else values

    def load(self, rows: Rows, record: NDArray[np.void], as_of_ms: NDArray[np.int64]) -> None:
        """Fill rows from the saved rings of `record` (k,), of any length and type, by pane number.

        `as_of_ms` (k,) are the times that the rings were saved at; panes that are not in this ring are dropped.
        """
        if self.newest is None:
            return  # the partition has no event yet
        field = next((name for name in record.dtype.names or () if name.rpartition("#")[0] == self.name), None)
        if field is None:
            return
        saved, divisor = record[field], int(field.rpartition("#")[2])
        if self.adds:
            if divisor % self.divisor:
                self._refine(np.array([float(divisor)]))
            if divisor != self.divisor:
                saved = saved.astype(np.float64) * (divisor // self.divisor)
            if saved.dtype != self.values.dtype:
                self._widen(_largest(saved))
        if self._totals is not None:
            self._totals.forget()
        newest = self.calendar.panes_of(as_of_ms, self.unit)
        if saved.shape[1] == self.panes:
            self.values[rows] = self._without_passed(saved, np.clip(self.newest - newest, 0, self.panes))
            return
        panes = panes_in_slots(newest, saved.shape[1])
        self.values[rows] = self.empty
        row, slot = np.nonzero(panes > self.newest - self.panes)
        self.values[rows[row], panes[row, slot] % self.panes] = saved[row, slot]

    def _without_passed(self, rings: NDArray[Any], behind: NDArray[np.int64]) -> NDArray[Any]:
        """Rings (k, panes, ...), so many panes `behind` (k,) this one, without the panes that it has passed."""
        if not behind.any():
            return rings
        assert self.newest is not None
        ago = (self.newest - np.arange(self.panes)) % self.panes
        remains = (ago >= np.arange(self.panes + 1)[:, None])[behind]
        return np.where(remains.reshape(remains.shape + (1,) * (rings.ndim - 2)), rings, rings.dtype.type(self.empty))

    def save(self, rows: Rows, record: NDArray[np.void]) -> None:
        """Copy the rings of rows into the field of `record` (k,)."""
        record[self.fields()[0][0]] = self.values[rows]

    def excerpt(self, rows: Rows) -> PaneColumn:
        """A copy with only `rows`, renumbered from 0, to advance and read without changing this column."""
        excerpt = PaneColumn(self.name, self.unit, self.panes, self.how, self.calendar)
        excerpt.newest, excerpt.divisor, excerpt.values = self.newest, self.divisor, self.values[rows]
        return excerpt

    def at(self, newest: int) -> PaneColumn:
        """The same column, to be read only, as of an earlier pane, for rows without events in later ones."""
        earlier = copy.copy(self)
        earlier.newest, earlier._totals = newest, None  # noqa: SLF001
        return earlier

    def unite(self, row: int, other: PaneColumn, other_row: int) -> None:
        """Add the events of a row of another such column, which is at the same newest pane."""
        theirs = other.values[other_row]
        if self.how == "min":
            self.values[row] = np.minimum(self.values[row], theirs)
        elif self.how == "max":
            self.values[row] = np.maximum(self.values[row], theirs)
        elif theirs.any():
            if other.divisor % self.divisor:
                self._refine(np.array([float(other.divisor)]))
            amounts = theirs.astype(np.float64) * (other.divisor // self.divisor)
            self._widen(_largest(self.values[row] + amounts))
            self.values[row] += amounts.astype(self.values.dtype)
            if self._totals is not None:
                self._totals.update_row(row, self.values, self.newest)

    def clear(self, row: int) -> None:
        """Forget all events of a row."""
        self.values[row] = self.empty
        if self._totals is not None:
            self._totals.update_row(row, self.values, self.newest)

    def nbytes(self) -> int:
        """Bytes of memory of the arrays."""
        return int(self.values.nbytes) + (0 if self._totals is None else self._totals.nbytes())


def _largest(numbers: NDArray[Any]) -> float:
    """The largest absolute number of an array; 0 of an empty one."""
    return float(np.maximum.reduce(np.abs(numbers, dtype=np.float64), axis=None, initial=0.0))


def _summed(
    slots: NDArray[np.int64], amounts: NDArray[np.float64] | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The distinct slots among `slots` (k,), at least one, and the sum of amounts of each, or how often it is there."""
    order = None if amounts is None else np.argsort(slots)
    ascending = np.sort(slots) if order is None else slots[order]
    first = np.flatnonzero(begins_of(ascending))
    if amounts is None:
        return ascending[first], np.diff(np.append(first, len(slots))).astype(np.float64)
    return ascending[first], np.add.reduceat(amounts[order], first)


class LatestColumn:
    """The latest event of each row: its time (epoch ms) and, where the column reads a field, the value of that."""

    def __init__(self, name: str, unit: Unit, calendar: Calendar = UTC_DAYS) -> None:
        """`unit` is the pane of the windows that read it."""
        self.name, self.calendar = name, calendar
        self.unit: Unit = unit
        self.newest: int | None = None
        self.times = np.full(0, NEVER, dtype=np.int64)
        self.values = np.zeros(0)

    def fields(self) -> list[tuple[str, np.dtype[Any], tuple[int, ...]]]:
        """Two changelog fields: time and value."""
        return [(self.name + "/time", np.dtype(np.int64), ()), (self.name + "/value", np.dtype(np.float64), ())]

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self.times, self.values = stretch(self.times, capacity, NEVER), stretch(self.values, capacity, 0)

    def advance(self, as_of_ms: int) -> None:
        """Move the newest pane, in which windows end, to that of `as_of_ms` (epoch ms); never back."""
        pane = self.calendar.pane_of(as_of_ms, self.unit)
        self.newest = pane if self.newest is None else max(pane, self.newest)

    def aggregate(self, rows: Rows, times: NDArray[np.int64], amounts: NDArray[np.float64] | None) -> None:
        """Keep the event with the largest (time, amount) of each row; rows, times (epoch ms) and amounts are (k,)."""
        values = np.zeros(len(rows)) if amounts is None else amounts
        order = np.lexsort((values, times, rows))
        last = np.append(rows[order][1:] != rows[order][:-1], True) if len(rows) else np.zeros(0, dtype=bool)
        rows, times, values = rows[order][last], times[order][last], values[order][last]
        newer = (times > self.times[rows]) | ((times == self.times[rows]) & (values > self.values[rows]))
        self.times[rows[newer]] = times[newer]
        self.values[rows[newer]] = values[newer]

    def read(self, rows: Rows, window: int | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Age in panes and value of the latest event, float64 (k,) each; NaN if not in the last `window` panes."""
        assert self.newest is not None
        times = self.times[rows]
        ages = self.newest - self.calendar.panes_of(times, self.unit)
        inside = times != NEVER
        if window is not None:
            inside &= ages < window
        return np.where(inside, ages, np.nan), np.where(inside, self.values[rows], np.nan)

    def load(self, rows: Rows, record: NDArray[np.void], as_of_ms: NDArray[np.int64]) -> None:
        """Fill rows from the saved times and values of `record` (k,)."""
        del as_of_ms
        if self.name + "/time" not in (record.dtype.names or ()):
            return
        self.times[rows] = record[self.name + "/time"]
        self.values[rows] = record[self.name + "/value"]

    def save(self, rows: Rows, record: NDArray[np.void]) -> None:
        """Copy the times and values of rows into the fields of `record` (k,)."""
        record[self.name + "/time"] = self.times[rows]
        record[self.name + "/value"] = self.values[rows]

    def excerpt(self, rows: Rows) -> LatestColumn:
        """A copy with only `rows`, renumbered from 0, to advance and read without changing this column."""
        copy = type(self)(self.name, self.unit, self.calendar)
        copy.newest, copy.times, copy.values = self.newest, self.times[rows], self.values[rows]
        return copy

    def unite(self, row: int, other: LatestColumn, other_row: int) -> None:
        """Add the event of a row of another such column."""
        if other.times[other_row] != NEVER:
            self.aggregate(np.array([row]), other.times[[other_row]], other.values[[other_row]])

    def clear(self, row: int) -> None:
        """Forget the latest event of a row."""
        self.times[row], self.values[row] = NEVER, 0

    def nbytes(self) -> int:
        """Bytes of memory of the arrays."""
        return int(self.times.nbytes + self.values.nbytes)
