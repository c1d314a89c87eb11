"""History: which measures do not have all events of their window yet, and since when they have all of them.

A policy change can need events that were not kept: a window became longer, or a measure reads what no measure read
before. Owns, for each column, the moment since which it has every event, and names the measures whose window begins
before that moment. They are published with it (`history_since`) until their windows are full. Called by
`stream.engine.engine` as time passes; `stream.recovery.history` fills it after a restore and saves it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stream.columns.columns import LatestColumn
from stream.columns.facts import FactColumn
from stream.columns.panes import Unit
from stream.measures.base import AnyColumn
from stream.plan.derived import MeasurePlan
from stream.plan.plan import Plan

Incomplete = tuple[tuple[str, int], ...]
"""Measures without full history: their name, and since when (epoch ms) they have all events."""
_HOURS = 24


class History:
    """Since when the columns of one partition have all events; complete unless `require` says otherwise."""

    def __init__(self, plan: Plan, columns: Sequence[AnyColumn]) -> None:
        """Bind to one policy and one partition."""
        self._plan, self._columns = plan, columns
        self.since: dict[str, int] = {}
        """By column name the moment (epoch ms) since which it has all events; a complete column is missing."""
        self.incomplete: Incomplete = ()
        """The measures whose window is not full, as of the last `detect`."""
        self.written: bytes | None = None
        """The history record of the changelog as it was written last."""
        self.saved_policy: str | None = None
        """The label of the policy that the saved state has; None before the first state."""

    def kept_panes(self) -> dict[str, int]:
        """How many panes before its newest each column keeps, by name; facts of the profile are not kept by panes."""
        return {
            column_plan.name: self._kept(column, column_plan.panes)
            for column_plan, column in zip(self._plan.columns, self._columns, strict=True)
            if not isinstance(column, FactColumn)
        }

    def _kept(self, column: AnyColumn, panes: int) -> int:
        """No column has events that were late, which are older than every window, and a latest event has no panes."""
        not_late = kept_by_latest(self._plan.longest_windows, column.unit)
        return not_late if isinstance(column, LatestColumn) else min(panes, not_late)

    def require(self, name: str, since_ms: int) -> None:
        """Record that a column may miss events from before `since_ms` (epoch ms)."""
        self.since[name] = max(since_ms, self.since.get(name, since_ms))

    def detect(self, peers_as_of_ms: int | None) -> bool:
        """Find the measures whose window is not full now; returns whether these are others than the last time.

        `peers_as_of_ms` is when the peer tables in use were made: they have values of windows as of then.
        """
        if not self.since and not self.incomplete:
            return False
        before = self.incomplete
        measures = ((plan.measure, self._measure_missing_before(plan)) for plan in self._plan.measures)
        peers = {
            self._plan.measures[index].measure.name: self._missing_before(
                self._plan.measures[index].columns, self._plan.measures[index].measure.reach, peers_as_of_ms
            )
            for index in self._plan.peers
        }
        since = [(measure.name, max(since_ms, peers.get(measure.name, 0))) for measure, since_ms in measures]
        self.incomplete = tuple((name, since_ms) for name, since_ms in since if since_ms)
        if not self.incomplete:
            self._forget()
        return self.incomplete != before

    def _measure_missing_before(self, plan: MeasurePlan) -> int:
        """The same as `_missing_before` for a measure; a derived one misses what its inputs miss."""
        return max(self._missing_before(leaf.columns, self._plan.reach_of(plan, leaf)) for leaf in plan.leaves)

    def _missing_before(self, columns: Sequence[int], reach: int, as_of_ms: int | None = None) -> int:
        """The moment before which a window of `reach` panes misses events of its columns (epoch ms); 0 if none."""
        latest = 0
        for index in columns:
            column, since_ms = self._columns[index], self.since.get(self._plan.columns[index].name, 0)
            if column.newest is None:
                continue
            newest = (
                column.newest
                if as_of_ms is None
                else min(column.newest, column.calendar.pane_of(as_of_ms, column.unit))
            )
            if since_ms > column.calendar.start_ms(newest - reach + 1, column.unit):
                latest = max(latest, since_ms)
        return latest

    def _forget(self) -> None:
        """Forget columns that have all events of all their panes."""
        panes = self.kept_panes()
        for column_plan, column in zip(self._plan.columns, self._columns, strict=True):
            since_ms, newest = self.since.get(column_plan.name), column.newest
            if since_ms is None or newest is None:
                continue
            if since_ms <= column.calendar.start_ms(newest - panes[column_plan.name] + 1, column.unit):
                del self.since[column_plan.name]

    def full_at(self, name: str) -> int:
        """When the window of an incomplete measure is full if time passes (epoch ms)."""
        plan = next(plan for plan in self._plan.measures if plan.measure.name == name)
        since_ms = dict(self.incomplete)[name]
        reaches = [(leaf, self._plan.reach_of(plan, leaf)) for leaf in plan.leaves]
        calendar = self._plan.calendar
        units = (
            (leaf.measure.window.pane, reach) for leaf, reach in reaches if self._missing_before(leaf.columns, reach)
        )
        return max(
            calendar.start_ms(calendar.boundary_number(since_ms, unit) + reach - 1, unit) for unit, reach in units
        )


def kept_by_latest(longest_windows: Mapping[Unit, int], unit: Unit) -> int:
    """For how many whole panes of `unit` no event was late: the longest window of any unit decides.

    >>> kept_by_latest({"hour": 48, "day": 30}, "day"), kept_by_latest({"hour": 48, "day": 30}, "hour")
    (30, 697)
    """
    days, hours = longest_windows.get("day", 0), longest_windows.get("hour", 0)
    if unit == "day":
        return max(days, hours // _HOURS)
    return max(hours, (days - 1) * _HOURS + 1)
