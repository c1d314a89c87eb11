"""Score the accounts of one partition: now, at window boundaries, and in the future if no event comes.

Owns how columns, segments, peer tables and boundary state become scores, and moves columns and boundary state forward
with time. It publishes nothing. Called by `stream.engine.engine`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.peers import PeersMessage
from stream.accounts.accounts import NO_BAND, Accounts
from stream.accounts.status import is_listed, status_of
from stream.alerts import boundary_state
from stream.columns.columns import Rows
from stream.engine.time import StreamTime
from stream.measures.base import AnyColumn
from stream.plan.plan import Plan
from stream.scoring.hysteresis import StickyBands, on_boundary, shown
from stream.scoring.idle_sources import without_outdated
from stream.scoring.measure_values import measure_values
from stream.scoring.peers import Peers, message_of
from stream.scoring.scoring import Matrix, Scored, score_values
from stream.scoring.silence import AtLastEvent, at_last_event


class _Readings(NamedTuple):
    """What scores of rows (k,) are computed from as of a moment (see `stream.scoring.scoring.score_values`)."""

    columns: Sequence[AnyColumn]
    rows: Rows
    as_of_ms: int
    segments: NDArray[np.int8] | None
    values: Matrix
    at_last_event: AtLastEvent | None


class Scorer:
    """Scores one partition's accounts."""

    def __init__(
        self, plan: Plan, accounts: Accounts, columns: Sequence[AnyColumn], time: StreamTime, peers: Peers
    ) -> None:
        """Bind to one policy and one partition."""
        self._plan, self._accounts, self._columns, self._time, self._peers = plan, accounts, columns, time, peers
        self._panes: tuple[int, int] | None = None
        """The hour and the day that all columns are at; None where they are at those of different clocks."""

    def advance_columns(self) -> None:
        """Bring all columns to stream time, those of sources that can go idle to the clocks of these.

        Without an event a source has no clock; its columns are empty at stream time, its first clock can lie before.
        """
        source_of = self._plan.idle_source_columns
        first = self._time.advance_source_clocks() if source_of else frozenset()
        as_of_ms, clocks = self._time.current_ms(), self._time.source_clocks
        before, self._panes = self._panes, None
        if all(clock == as_of_ms for clock in clocks.values()):
            calendar = self._plan.calendar
            self._panes = calendar.pane_of(as_of_ms, "hour"), calendar.pane_of(as_of_ms, "day")
            if self._panes == before and not first:
                return
        for number, column in enumerate(self._columns):
            source = source_of.get(number, "")
            if source in first:
                column.newest = None
            column.advance(clocks.get(source, as_of_ms))

    def score(self, rows: Rows, as_of_ms: int | None = None) -> Scored:
        """Scores of rows as of now, with the bands that they show; columns must have been advanced.

        `as_of_ms` is an earlier moment since the last window boundary.
        """
        scored = self._due(rows, self._time.current_ms() if as_of_ms is None else as_of_ms)
        return shown(self._plan, scored, self._accounts.sticky_band[rows]) if self._plan.has_sticky_bands else scored

    def _due(self, rows: Rows, as_of_ms: int) -> Scored:
        """Scores with the bands that are due; with hysteresis an account may still show another band."""
        sticky = self._accounts.sticky_band[rows] if self._plan.has_sticky_bands else None
        return self._scores(self._read(self._columns, rows, rows, as_of_ms), sticky)

    def _read(self, columns: Sequence[AnyColumn], column_rows: Rows, rows: Rows, as_of_ms: int) -> _Readings:
        """What the scores of `rows` are computed from; in `columns` they are `column_rows`."""
        segments = self._segments(rows, as_of_ms)
        values = self._values(columns, column_rows, segments)
        then = at_last_event(self._plan, columns, column_rows, self._accounts.life_ms[rows], as_of_ms)
        return _Readings(columns, rows, as_of_ms, segments, values, then)

    def _scores(self, readings: _Readings, sticky: NDArray[np.int8] | None) -> Scored:
        """Scores with the bands that are due for accounts with `sticky` bands."""
        columns, rows, as_of_ms, segments, values, then = readings
        scored = score_values(self._plan, values, segments, sticky, then)
        return self._with_status(rows, without_outdated(self._plan, scored, columns, as_of_ms), as_of_ms)

    def _with_status(self, rows: Rows, scored: Scored, at_ms: int) -> Scored:
        """The scores of rows with their status at a time (epoch ms): accounts that are not listed have no scores."""
        return scored.with_status(status_of(self._accounts, self._columns, rows, at_ms, scored.has_score))

    def _values(self, columns: Sequence[AnyColumn], rows: Rows, segments: NDArray[np.int8] | None) -> Matrix:
        """The value of every measure, with percentiles among peers where the policy wants them (see `Scored`)."""
        return self._peers.with_percentiles(measure_values(self._plan, columns, rows), segments)

    def _segments(self, rows: Rows, as_of_ms: int) -> NDArray[np.int8] | None:
        segmenter = self._accounts.segmenter
        return None if segmenter is None else segmenter.of(rows, as_of_ms)

    def peer_tables(self) -> PeersMessage:
        """The peer tables that these accounts make as of now."""
        alive, as_of_ms = self._accounts.alive(), self._time.current_ms()
        status = status_of(self._accounts, self._columns, alive, as_of_ms, np.ones(len(alive), dtype=np.bool_))
        rows = alive[is_listed(status)]
        values = measure_values(self._plan, self._columns, rows)[:, list(self._plan.peers)]
        return message_of(self._plan, as_of_ms, values, self._segments(rows, as_of_ms))

    # -- window boundaries --------------------------------------------------------------------------------------------

    def on_boundary(self, alive: Rows, boundary_ms: int) -> Scored | None:
        """Move the boundary state of bands, forecasts and alerts past the last window boundary (epoch ms).

        Rows that passed it before a crash keep their state. Returns the scores of all `alive` rows at the boundary if
        these were computed on the way, else None.
        """
        accounts, plan = self._accounts, self._plan
        rows = alive[accounts.boundary_passed[alive] < boundary_ms]
        if plan.has_sticky_bands:
            sticky = StickyBands(accounts.sticky_band[rows], accounts.due_since[rows])
            changed = on_boundary(plan, self._due(rows, boundary_ms), sticky, boundary_ms)
            accounts.sticky_band[rows], accounts.due_since[rows] = sticky
            accounts.dirty[rows[changed]] = True
        forecasts = plan.longest_forecast_days and plan.calendar.is_midnight(boundary_ms)
        scored = self.score(rows, boundary_ms) if plan.boundary_rules or forecasts else None
        if forecasts and scored is not None:
            listed = is_listed(scored.status)
            self._forecast(rows[listed], scored.pick(listed), boundary_ms)
        if plan.boundary_rules and scored is not None:
            changed = boundary_state.on_boundary(
                rows, scored, accounts.alerts, columns=self._columns, boundary_ms=boundary_ms
            )
            accounts.dirty[rows[changed]] = True
        accounts.boundary_passed[rows] = boundary_ms
        return scored if len(rows) == len(alive) else None

    # -- forecasts ----------------------------------------------------------------------------------------------------

    def _forecast(self, rows: Rows, now: Scored, now_ms: int) -> None:
        """Find the next change of band of each row, and the day on which it enters the band of each forecast rule.

        A row that has no data before its band changes has the day of that, with no band.
        """
        accounts, plan = self._accounts, self._plan
        days = np.zeros((len(rows), len(plan.scores)), dtype=np.int32)
        bands, values = np.full(days.shape, NO_BAND, dtype=np.int8), np.zeros(days.shape)
        entry_days = {rule: np.zeros(len(rows), dtype=np.int32) for rule in plan.forecasts}
        midnights = self._midnights_ahead(rows, now_ms, plan.longest_forecast_days)
        for days_ahead, (midnight_ms, scored) in enumerate(midnights, 1):
            day = plan.calendar.pane_of(midnight_ms, "day")
            for number, score_plan in enumerate(plan.scores):
                if days_ahead <= (score_plan.score.forecast_days or 0):
                    future_bands = scored.scores[number].bands
                    turns = (future_bands != now.scores[number].bands) & (days[:, number] == 0)
                    turns &= now.scores[number].bands != NO_BAND
                    days[turns, number], bands[turns, number] = day, future_bands[turns]
                    values[turns, number] = np.nan_to_num(scored.scores[number].values[turns])
            for rule, entry_day in entry_days.items():
                if rule.rule.within is not None and days_ahead <= rule.rule.within.panes:
                    future_bands = scored.scores[rule.score].bands
                    enters = (future_bands <= rule.band) & (future_bands != NO_BAND)
                    entry_day[enters & (entry_day == 0)] = day
        for rule, entry_day in entry_days.items():
            accounts.dirty[rows[boundary_state.set_forecast_day(rule, rows, entry_day, accounts.alerts)]] = True
        if plan.forecast_days:
            accounts.forecast_day[rows] = plan.calendar.pane_of(now_ms, "day")
            accounts.next_band_day[rows], accounts.next_band[rows], accounts.next_band_score[rows] = days, bands, values
            # Also where no change is ahead: the day until which the forecast looks has moved on.
            accounts.dirty[rows] = accounts.score_pending[rows] = True

    def _midnights_ahead(self, rows: Rows, now_ms: int, days: int) -> Iterator[tuple[int, Scored]]:
        plan, midnights = self._plan, self._plan.calendar.midnights_after(now_ms, days)
        boundaries = plan.boundaries_between(now_ms, midnights[-1]) if plan.has_sticky_bands else midnights
        return ((at_ms, scored) for at_ms, scored in self.forecast(rows, boundaries) if at_ms in midnights)

    def forecast(self, rows: Rows, boundaries: Iterable[int]) -> Iterator[tuple[int, Scored]]:
        """Scores of rows at `boundaries` (epoch ms, ascending) if no event comes; exact, since panes expire by time.

        Sources that are idle now stay idle, and no other source goes idle. Works on copies: no state changes.
        """
        accounts, plan = self._accounts, self._plan
        frozen = {number for number, source in plan.idle_source_columns.items() if source in self._time.idle}
        columns = [column.excerpt(rows) for column in self._columns]
        sticky = StickyBands(accounts.sticky_band[rows], accounts.due_since[rows])
        copied_rows = np.arange(len(rows), dtype=np.int64)
        for boundary in boundaries:
            for number, column in enumerate(columns):
                if number not in frozen:
                    column.advance(boundary)
            readings = self._read(columns, copied_rows, rows, boundary)
            if not plan.has_sticky_bands:
                yield boundary, self._scores(readings, None)
                continue
            on_boundary(plan, self._scores(readings, sticky.bands), sticky, boundary)
            yield boundary, shown(plan, self._scores(readings, sticky.bands), sticky.bands)
