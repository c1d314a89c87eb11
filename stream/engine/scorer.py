"""Score the accounts of one partition: now, at window boundaries, and in the future if no event comes.

Owns how columns, segments, peer tables and boundary state become scores, and moves columns and boundary state forward
with time. It publishes nothing. Called by `stream.engine.engine`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.peers import PeersMessage
from stream.accounts.accounts import NO_BAND, Accounts
from stream.alerts import boundary_state
from stream.columns.columns import Rows
from stream.columns.panes import UNIT_MS
from stream.engine.time import StreamTime
from stream.measures.base import AnyColumn
from stream.plan.plan import Plan
from stream.scoring.hysteresis import StickyBands, on_boundary, shown
from stream.scoring.measure_values import measure_values
from stream.scoring.peers import Peers, message_of
from stream.scoring.scoring import Matrix, Scored, score_values

DAY_MS = UNIT_MS["day"]


class Scorer:
    """Scores one partition's accounts."""

    def __init__(
        self, plan: Plan, accounts: Accounts, columns: Sequence[AnyColumn], time: StreamTime, peers: Peers
    ) -> None:
        """Bind to one policy and one partition."""
        self._plan, self._accounts, self._columns, self._time, self._peers = plan, accounts, columns, time, peers

    def advance_columns(self) -> None:
        """Bring all columns to stream time, those of sources that can go idle to the clocks of these."""
        source_of = self._plan.idle_source_columns
        if source_of:
            self._time.advance_source_clocks()
        as_of_ms, clocks = self._time.current_ms(), self._time.source_clocks
        for number, column in enumerate(self._columns):
            column.advance(clocks[source_of[number]] if number in source_of else as_of_ms)

    def score(self, rows: Rows) -> Scored:
        """Scores of rows as of now, with the bands that they show; columns must have been advanced."""
        scored = self._due(rows)
        return shown(self._plan, scored, self._accounts.sticky_band[rows]) if self._plan.has_sticky_bands else scored

    def _due(self, rows: Rows) -> Scored:
        """Scores with the bands that are due; with hysteresis an account may still show another band."""
        sticky = self._accounts.sticky_band[rows] if self._plan.has_sticky_bands else None
        segments = self._segments(rows, self._time.current_ms())
        scored = score_values(self._plan, self._values(self._columns, rows, segments), segments, sticky)
        return scored if self._plan.policy.new_accounts is None else scored._replace(new=self._new(rows))

    def _new(self, rows: Rows) -> NDArray[np.bool_]:
        """Which accounts are new now, (k,): their first event was fewer UTC days ago than the policy's `min_age`."""
        new_accounts = self._plan.policy.new_accounts
        assert new_accounts is not None
        first_days = self._accounts.first_ms[rows] // DAY_MS
        return np.asarray(self._time.current_ms() // DAY_MS - first_days < new_accounts.min_age_days, dtype=np.bool_)

    def _values(self, columns: Sequence[AnyColumn], rows: Rows, segments: NDArray[np.int8] | None) -> Matrix:
        """The value of every measure, with percentiles among peers where the policy wants them (see `Scored`)."""
        return self._peers.with_percentiles(measure_values(self._plan, columns, rows), segments)

    def _segments(self, rows: Rows, as_of_ms: int) -> NDArray[np.int8] | None:
        segmenter = self._accounts.segmenter
        return None if segmenter is None else segmenter.of(rows, as_of_ms)

    def peer_tables(self) -> PeersMessage:
        """The peer tables that these accounts make as of now."""
        rows, as_of_ms = self._accounts.alive(), self._time.current_ms()
        values = measure_values(self._plan, self._columns, rows)[:, list(self._plan.peers)]
        return message_of(self._plan, as_of_ms, values, self._segments(rows, as_of_ms))

    # -- window boundaries --------------------------------------------------------------------------------------------

    def on_boundary(self, alive: Rows) -> Scored | None:
        """Move the boundary state of bands, forecasts and alerts past the window boundary that stream time is at.

        Rows that passed it before a crash keep their state. Returns the scores of all `alive` rows at the boundary if
        these were computed on the way, else None.
        """
        accounts, plan, boundary_ms = self._accounts, self._plan, self._time.current_ms()
        rows = alive[accounts.boundary_passed[alive] < boundary_ms]
        if plan.has_sticky_bands:
            sticky = StickyBands(accounts.sticky_band[rows], accounts.due_since[rows])
            changed = on_boundary(plan, self._due(rows), sticky, boundary_ms)
            accounts.sticky_band[rows], accounts.due_since[rows] = sticky
            accounts.dirty[rows[changed]] = True
        forecasts = plan.longest_forecast_days and boundary_ms % DAY_MS == 0
        scored = self.score(rows) if plan.boundary_rules or forecasts else None
        if forecasts and scored is not None:
            self._forecast(rows, scored, boundary_ms)
        if plan.boundary_rules and scored is not None:
            changed = boundary_state.on_boundary(
                rows, scored, accounts.alerts, columns=self._columns, boundary_ms=boundary_ms
            )
            accounts.dirty[rows[changed]] = True
        accounts.boundary_passed[rows] = boundary_ms
        return scored if len(rows) == len(alive) else None

    # -- forecasts ----------------------------------------------------------------------------------------------------

    def _forecast(self, rows: Rows, now: Scored, now_ms: int) -> None:
        """Find the next change of band of each row, and the day on which it enters the band of each forecast rule."""
        accounts, plan = self._accounts, self._plan
        days = np.zeros((len(rows), len(plan.scores)), dtype=np.int32)
        bands, values = np.full(days.shape, NO_BAND, dtype=np.int8), np.zeros(days.shape)
        entry_days = {rule: np.zeros(len(rows), dtype=np.int32) for rule in plan.forecasts}
        midnights = self._midnights_ahead(rows, now_ms, plan.longest_forecast_days)
        for days_ahead, (midnight_ms, scored) in enumerate(midnights, 1):
            day = midnight_ms // DAY_MS
            for number, score_plan in enumerate(plan.scores):
                if days_ahead <= (score_plan.score.forecast_days or 0):
                    future_bands = scored.scores[number].bands
                    turns = (future_bands != now.scores[number].bands) & (days[:, number] == 0)
                    days[turns, number], bands[turns, number] = day, future_bands[turns]
                    values[turns, number] = scored.scores[number].values[turns]
            for rule, entry_day in entry_days.items():
                if rule.rule.within is not None and days_ahead <= rule.rule.within.panes:
                    entry_day[(scored.scores[rule.score].bands <= rule.band) & (entry_day == 0)] = day
        for rule, entry_day in entry_days.items():
            accounts.dirty[rows[boundary_state.set_forecast_day(rule, rows, entry_day, accounts.alerts)]] = True
        if plan.forecast_days:
            accounts.forecast_day[rows] = now_ms // DAY_MS
            accounts.next_band_day[rows], accounts.next_band[rows], accounts.next_band_score[rows] = days, bands, values
            # Also where no change is ahead: the day until which the forecast looks has moved on.
            accounts.dirty[rows] = accounts.score_pending[rows] = True

    def _midnights_ahead(self, rows: Rows, now_ms: int, days: int) -> Iterator[tuple[int, Scored]]:
        step_ms = self._plan.boundary_ms if self._plan.has_sticky_bands else DAY_MS
        boundaries = range((now_ms // step_ms + 1) * step_ms, (now_ms // DAY_MS + days) * DAY_MS + 1, step_ms)
        return ((at_ms, scored) for at_ms, scored in self.forecast(rows, boundaries) if at_ms % DAY_MS == 0)

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
            segments = self._segments(rows, boundary)
            values = self._values(columns, copied_rows, segments)
            if not plan.has_sticky_bands:
                yield boundary, score_values(plan, values, segments)
                continue
            on_boundary(plan, score_values(plan, values, segments, sticky.bands), sticky, boundary)
            yield boundary, shown(plan, score_values(plan, values, segments, sticky.bands), sticky.bands)
