"""Time of one partition: stream time, lateness time, boundaries rescored and the clocks of the sources.

Every clock that the engine reads lives in `StreamTime`. An `Engine` holds one; the scorer, the aggregator, the alerts
of idle sources and the changelog read and move time through it. Nothing here reads a real clock: time is an argument.

| clock | what it is | moves when |
|---|---|---|
| `as_of_ms` | stream time: the moment that scores are as of | an event is applied, a boundary passes |
| `lateness_ms` | an event is late when every window was over by this time | a step begins, the clock ticks |
| last rescored | number of the last window boundary where all accounts were rescored | `mark_rescored` |
| `watermarks` | largest event time of each source | before events of the source are applied |
| `source_clocks` | time up to which windows of a source that can go idle are read | `advance_source_clocks` |
| `idle` | the idle sources, as they are published with scores | `detect_idle` |

All times are epoch milliseconds, UTC.

Time never goes back: every method takes the maximum of the time there is and the time it is given, so a caller can not
move a clock back, and no attribute can be set from outside. Each account's row has a clock of its own on top of these,
`Accounts.boundary_passed`: after a crash it keeps a row from passing the same boundary twice.

Between steps `as_of_ms` and `lateness_ms` differ only after a crash in the middle of a commit, when rows were written
and the state was not: the rows' `as_of` is ahead. Events are late by the time that was committed, as the first time.

The broker's clock (`agents.worker.tasks.clock.BrokerClock`) is outside. It meets this object in two arguments only:
`now_ms` of `Engine.step`, which refuses events from the future, and `now_ms` of `Engine.tick`, which lets boundaries
pass in an idle partition. Files (`agents.files.replay`) have no clock and give none.

A window boundary has a number: boundary `k` is where hour or day `k` begins, by the policy's boundary unit. An
event exactly on a boundary belongs to the interval that the boundary ends (`Calendar.boundary_number`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from stream.columns.calendar import UTC_DAYS, Calendar
from stream.columns.columns import NEVER
from stream.columns.panes import Unit
from stream.ingest.aggregation import EventTimes


class StreamTime:
    """The clocks of one partition. They only move forward."""

    def __init__(
        self,
        boundary_unit: Unit,
        idle_after_ms: Mapping[str, int] = MappingProxyType({}),
        calendar: Calendar = UTC_DAYS,
    ) -> None:
        """No time has passed yet.

        `boundary_unit` is the distance of window boundaries, `calendar` has the days; `idle_after_ms` says after how
        long (ms) without events a source is idle, for the sources that can go idle.
        """
        self._unit: Unit = boundary_unit
        self._calendar = calendar
        self._idle_after_ms = dict(idle_after_ms)
        self._as_of_ms: int | None = None
        self._lateness_ms: int | None = None
        self._rescored = NEVER
        self._watermarks: dict[str, int] = {}
        self._source_clocks: dict[str, int] = {}
        self._idle: tuple[str, ...] = ()
        self._none_idle_until_ms = -math.inf
        """No source is idle until then: the first limit of those that there were the last time."""

    # -- read ---------------------------------------------------------------------------------------------------------

    @property
    def as_of_ms(self) -> int | None:
        """Stream time: the largest event time applied, or the last window boundary passed. None before the first."""
        return self._as_of_ms

    @property
    def lateness_ms(self) -> int | None:
        """The time that decides whether an event is late. None before the first event."""
        return self._lateness_ms

    @property
    def watermarks(self) -> Mapping[str, int]:
        """The largest event time applied of each source (ms), read-only."""
        return MappingProxyType(self._watermarks)

    @property
    def source_clocks(self) -> Mapping[str, int]:
        """For each source that can go idle the time (ms) up to which its windows are read, read-only."""
        return MappingProxyType(self._source_clocks)

    @property
    def idle(self) -> tuple[str, ...]:
        """The idle sources, sorted, as `detect_idle` found them last."""
        return self._idle

    def current_ms(self) -> int:
        """`as_of_ms`, for callers that run only after the first event. Raises `RuntimeError` before it."""
        if self._as_of_ms is None:
            msg = "stream time has not begun: no event has been applied"
            raise RuntimeError(msg)
        return self._as_of_ms

    def idle_since(self) -> dict[str, int]:
        """For each source that is idle as of now the time (ms) since which it is, sorted by source."""
        if self._as_of_ms is None or self._as_of_ms <= self._none_idle_until_ms:
            return {}
        limits = ((source, self._watermarks.get(source), after) for source, after in self._idle_after_ms.items())
        since = [(source, watermark + after) for source, watermark, after in limits if watermark is not None]
        self._none_idle_until_ms = min((since_ms for _, since_ms in since), default=math.inf)
        return {source: since_ms for source, since_ms in sorted(since) if self._as_of_ms > since_ms}

    def boundaries_until(self, number: int) -> range:
        """The window boundaries to rescore at, up to and including number `number`; empty before the first event."""
        if self._as_of_ms is None:
            return range(0)
        return range(max(self._rescored + 1, self._calendar.boundary_number(self._as_of_ms, self._unit)), number + 1)

    def begins(self, source: str) -> bool:
        """Whether the next event of a source that can go idle is its first, or its first since it was idle."""
        return source in self._idle_after_ms and (source not in self._watermarks or source in self._idle)

    def enters_pane(self, as_of_ms: int) -> bool:
        """Whether stream time enters another pane when it advances to a moment; the first moment always does."""
        before = self._as_of_ms
        return before is None or self._calendar.pane_of(as_of_ms, self._unit) > self._calendar.pane_of(
            before, self._unit
        )

    # -- move forward -------------------------------------------------------------------------------------------------

    def advance(self, as_of_ms: int) -> bool:
        """Move stream time forward; returns whether it entered another pane. An earlier moment changes nothing."""
        enters = self.enters_pane(as_of_ms)
        self._as_of_ms = as_of_ms if self._as_of_ms is None else max(as_of_ms, self._as_of_ms)
        return enters

    def follow(self, times: NDArray[np.int64], *, untimed: bool) -> EventTimes:
        """Move lateness time through the events of a step, and say how each event finds the clocks.

        `times` (k,), at least one, are event times (ms) in merged order. `untimed` says that some are `NEVER`: records
        that move no clock (profiles). One of those holds as of the event before it; before every event of the step it
        holds as of now, or with the first event where nothing was applied yet. Stream time itself moves later, boundary
        by boundary, with `advance`.
        """
        running = np.maximum.accumulate(times)
        if untimed:
            running[running == NEVER] = times[times != NEVER][0] if self._as_of_ms is None else self._as_of_ms
            times = np.where(times == NEVER, running, times)
        lateness = running if self._lateness_ms is None else np.maximum(running, self._lateness_ms)
        self._lateness_ms = int(lateness[-1])
        if self._as_of_ms is not None:
            running = np.maximum(running, self._as_of_ms)
        return EventTimes(times, lateness, running, self._calendar.boundary_numbers(running, self._unit))

    def close_to_late_events(self) -> None:
        """Bring lateness time up to stream time, after time has passed without events."""
        if self._as_of_ms is not None:
            self._lateness_ms = max(self._as_of_ms, self._lateness_ms or self._as_of_ms)

    def mark_rescored(self, number: int) -> None:
        """Remember that all accounts were rescored at every boundary up to number `number`."""
        self._rescored = max(self._rescored, number)

    def mark_rescored_before_now(self) -> None:
        """Remember that all accounts were rescored as of now.

        A boundary at this very moment has not passed yet: events of the same time may still come.
        """
        self.mark_rescored(self._calendar.boundary_number(self.current_ms(), self._unit) - 1)

    def observe(self, source: str, event_ms: int) -> None:
        """Move a source's watermark up to an event time (ms)."""
        before = self._watermarks.get(source)
        if before is None:
            self._none_idle_until_ms = -math.inf  # the limit of a new source may be the first
        self._watermarks[source] = max(before or 0, event_ms)

    def advance_source_clocks(self) -> frozenset[str]:
        """Bring the clocks of sources that can go idle to stream time, or to where each source went idle.

        Returns the sources that have their first clock.

        A clock is stream time, but at most the source's watermark plus the time after which it is idle. While a source
        is idle its clock stands still, and so does every window that reads it. A source without an event has no clock:
        its first event may be so old that it is idle at once, and its clock lies before stream time then.
        """
        as_of_ms, clocks, first = self.current_ms(), self._source_clocks, []
        for source, after_ms in self._idle_after_ms.items():
            watermark, before = self._watermarks.get(source), clocks.get(source)
            if watermark is None and before is None:
                continue
            clock = as_of_ms if watermark is None else min(as_of_ms, watermark + after_ms)
            clocks[source] = clock if before is None else max(clock, before)
            if before is None:
                first.append(source)
        return frozenset(first)

    def detect_idle(self) -> bool:
        """Find the sources that are idle as of now; returns whether these are others than the last time."""
        before, self._idle = self._idle, tuple(self.idle_since())
        return self._idle != before

    def load(self, *, lateness_ms: int | None, watermarks: Mapping[str, int], source_clocks: Mapping[str, int]) -> None:
        """Restore the clocks that the changelog holds; `Engine.restart` then moves stream time."""
        if lateness_ms is not None:
            self._lateness_ms = max(lateness_ms, self._lateness_ms or lateness_ms)
        for source, event_ms in watermarks.items():
            self.observe(source, event_ms)
        for source, clock_ms in source_clocks.items():
            if clock_ms:  # 0: it had none
                self._source_clocks[source] = max(clock_ms, self._source_clocks.get(source, clock_ms))
