"""Scores of the accounts of one partition: now, at a border that is being passed, and ahead.

Owns how columns, segments and what is remembered come together to scores, and lets columns and memories move on with
time. It publishes nothing. Called by `stream.engine.engine`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.peers import PeersMessage
from stream.accounts.accounts import NO_BAND, Accounts
from stream.alerts import boundary_state as remembering
from stream.alerts.idle_sources import IdleSources
from stream.columns.columns import Rows
from stream.columns.panes import UNIT_MS
from stream.measures.base import AnyColumn
from stream.plan.plan import Plan
from stream.scoring.hysteresis import StickyBands, on_boundary, shown
from stream.scoring.measure_values import measure_values
from stream.scoring.peers import Peers, message_of
from stream.scoring.scoring import Matrix, Scored, score_values


class Scorer:
    """Scores one partition's accounts."""

    def __init__(
        self,
        plan: Plan,
        accounts: Accounts,
        columns: Sequence[AnyColumn],
        idle_sources: IdleSources,
        peers: Peers,
    ) -> None:
        """Bind to one policy and one partition."""
        self._plan, self._accounts, self._columns, self._idle_sources = plan, accounts, columns, idle_sources
        self._peers = peers

    def advance(self, as_of_ms: int) -> None:
        """Bring all columns to a moment, those of sources that can stall to their clocks."""
        held = self._plan.idle_source_columns
        if held:
            self._idle_sources.advance(as_of_ms)
        for at, column in enumerate(self._columns):
            column.advance(self._idle_sources.clocks[held[at]] if at in held else as_of_ms)

    def score(self, rows: Rows, as_of_ms: int) -> Scored:
        """Scores of rows as of a moment that the columns have been brought to."""
        due = self._due(rows, as_of_ms)
        return shown(self._plan, due, self._accounts.sticky_band[rows]) if self._plan.has_sticky_bands else due

    def _due(self, rows: Rows, as_of_ms: int) -> Scored:
        """Scores with the bands that are due, which policies with memory may not show yet."""
        held = self._accounts.sticky_band[rows] if self._plan.has_sticky_bands else None
        segments = self._segments(rows, as_of_ms)
        return score_values(self._plan, self._values(self._columns, rows, segments), segments, held)

    def _values(self, columns: Sequence[AnyColumn], rows: Rows, segments: NDArray[np.int8] | None) -> Matrix:
        """The value of every measure, with percentiles among peers where the policy wants them (see `Scored`)."""
        return self._peers.with_percentiles(measure_values(self._plan, columns, rows), segments)

    def table(self, as_of_ms: int) -> PeersMessage:
        """The tables of peers that these accounts make as of a moment that the columns have been brought to."""
        rows = self._accounts.alive()
        values = measure_values(self._plan, self._columns, rows)[:, list(self._plan.peers)]
        return message_of(self._plan, as_of_ms, values, self._segments(rows, as_of_ms))

    def _segments(self, rows: Rows, as_of_ms: int) -> NDArray[np.int8] | None:
        segmenter = self._accounts.segmenter
        return None if segmenter is None else segmenter.of(rows, as_of_ms)

    def on_boundary(self, alive: Rows, boundary_ms: int, idle: Sequence[str]) -> Scored | None:
        """Let bands and alerts that remember borders take one in, but for rows that have done so before a crash.

        Returns the scores of all `alive` rows at the border, where it had to find them out.
        """
        accounts, plan = self._accounts, self._plan
        rows = alive[accounts.boundary_passed[alive] < boundary_ms]
        if plan.has_sticky_bands:
            sticky = StickyBands(accounts.sticky_band[rows], accounts.due_since[rows])
            changed = on_boundary(plan, self._due(rows, boundary_ms), sticky, boundary_ms)
            accounts.sticky_band[rows], accounts.due_since[rows] = sticky
            accounts.dirty[rows[changed]] = True
        looks = plan.longest_forecast_days and boundary_ms % UNIT_MS["day"] == 0
        scored = self.score(rows, boundary_ms) if plan.boundary_rules or looks else None
        if looks and scored is not None:
            self._look_ahead(rows, scored, boundary_ms, idle)
        if plan.boundary_rules and scored is not None:
            changed = remembering.on_boundary(
                rows, scored, accounts.alerts, columns=self._columns, boundary_ms=boundary_ms
            )
            accounts.dirty[rows[changed]] = True
        accounts.boundary_passed[rows] = boundary_ms
        return scored if len(rows) == len(alive) else None

    def _look_ahead(self, rows: Rows, now: Scored, now_ms: int, idle: Sequence[str]) -> None:
        """Find the next change of band of each row, and the day on which it will be in the band of each forecast."""
        accounts, plan, day = self._accounts, self._plan, UNIT_MS["day"]
        days = np.zeros((len(rows), len(plan.scores)), dtype=np.int32)
        bands, values = np.full(days.shape, NO_BAND, dtype=np.int8), np.zeros(days.shape)
        foreseen = {part: np.zeros(len(rows), dtype=np.int32) for part in plan.forecasts}
        for count, (at_ms, scored) in enumerate(
            self._midnights_ahead(rows, now_ms, plan.longest_forecast_days, idle), 1
        ):
            for at, score in enumerate(plan.scores):
                if count <= (score.score.forecast_days or 0):
                    ahead = scored.scores[at].bands
                    turns = (ahead != now.scores[at].bands) & (days[:, at] == 0)
                    days[turns, at], bands[turns, at] = at_ms // day, ahead[turns]
                    values[turns, at] = scored.scores[at].values[turns]
            for part, found in foreseen.items():
                if part.rule.within is not None and count <= part.rule.within.panes:
                    found[(scored.scores[part.score].bands <= part.band) & (found == 0)] = at_ms // day
        for part, found in foreseen.items():
            accounts.dirty[rows[remembering.foresee(part, rows, found, accounts.alerts)]] = True
        if plan.forecast_days:
            accounts.forecast_day[rows] = now_ms // day
            accounts.next_band_day[rows], accounts.next_band[rows], accounts.next_band_score[rows] = days, bands, values
            # Also where nothing changes: until when it was looked has moved on.
            accounts.dirty[rows] = accounts.score_pending[rows] = True

    def _midnights_ahead(self, rows: Rows, now_ms: int, days: int, idle: Sequence[str]) -> Iterator[tuple[int, Scored]]:
        day = UNIT_MS["day"]
        every = self._plan.boundary_ms if self._plan.has_sticky_bands else day
        boundaries = range((now_ms // every + 1) * every, (now_ms // day + days) * day + 1, every)
        return ((at_ms, scored) for at_ms, scored in self.ahead(rows, boundaries, idle) if at_ms % day == 0)

    def ahead(self, rows: Rows, boundaries: Iterable[int], idle: Sequence[str]) -> Iterator[tuple[int, Scored]]:
        """Scores of rows at `boundaries` (epoch ms, ascending) if no event comes; exact, since panes expire by time.

        Sources that have `idle` stay so, and no other does. Nothing but copies is touched.
        """
        accounts, plan = self._accounts, self._plan
        still = {at for at, source in plan.idle_source_columns.items() if source in idle}
        columns = [column.excerpt(rows) for column in self._columns]
        sticky = StickyBands(accounts.sticky_band[rows], accounts.due_since[rows])
        mine = np.arange(len(rows), dtype=np.int64)
        for boundary in boundaries:
            for at, column in enumerate(columns):
                if at not in still:
                    column.advance(boundary)
            segments = self._segments(rows, boundary)
            values = self._values(columns, mine, segments)
            if not plan.has_sticky_bands:
                yield boundary, score_values(plan, values, segments)
                continue
            on_boundary(plan, score_values(plan, values, segments, sticky.bands), sticky, boundary)
            yield boundary, shown(plan, score_values(plan, values, segments, sticky.bands), sticky.bands)
