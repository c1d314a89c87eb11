"""Aggregate the events and profiles of a step into columns and accounts, in merged order.

Owns the order of records that were fetched together: by the newest record time of their source partition so far, then
by source, then by offset (docs/ARCHITECTURE.md). A step is prepared once and then aggregated interval by interval,
where an interval is the time up to the next window boundary. Called by `stream.engine.engine`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.events import CONTROL_SOURCE, PROFILE_SOURCE, ControlEvent, ProfileEvent
from stream.accounts.accounts import Accounts
from stream.columns.columns import NEVER, Rows
from stream.columns.facts import FactColumn
from stream.ingest.batch import Candidates
from stream.measures.base import AnyColumn
from stream.plan.extractor import ColumnInput, Extractor
from stream.plan.plan import Plan
from stream.publishing.effects import Effects


class EventTimes(NamedTuple):
    """The clocks as each record of a step finds them, in merged order: int64 (k,) each, epoch ms but for `boundaries`.

    `times` are event times; a record without one (a profile) has that of the event before it. `lateness` is the time
    that decides what is late, `as_of` is stream time, `boundaries` the number of the window boundary at or after that.
    """

    times: NDArray[np.int64]
    lateness: NDArray[np.int64]
    as_of: NDArray[np.int64]
    boundaries: NDArray[np.int64]

    def as_of_until(self, boundary: int) -> int:
        """Stream time after the last record up to boundary number `boundary`."""
        return int(self.as_of[self.boundaries.searchsorted(boundary, side="right") - 1])


@dataclass(slots=True)
class _PendingProfiles:
    """Profiles of a step that wait for their interval."""

    profiles: Candidates
    boundaries: NDArray[np.int64]
    done: int = 0

    def until(self, boundary: int) -> slice:
        """The next of them, up to boundary number `boundary`."""
        selected = slice(self.done, int(self.boundaries.searchsorted(boundary, side="right")))
        self.done = selected.stop
        return selected


@dataclass(slots=True)
class _PendingEvents:
    """Events of one batch that wait for their interval: those that count, and what columns read of them."""

    events: Candidates
    on_time: NDArray[np.bool_]
    boundaries: NDArray[np.int64]
    inputs: list[ColumnInput]
    observed: tuple[NDArray[np.int64], NDArray[np.int64]] | None
    """Times and boundaries of all events that are not late, applied ones too; only where sources can go idle."""
    done: int = 0


@dataclass(slots=True)
class PreparedStep:
    """A step that is ready to be aggregated."""

    events: list[_PendingEvents]
    profiles: list[_PendingProfiles]


class Aggregator:
    """Aggregates the events of steps into the columns and accounts of one partition."""

    def __init__(
        self, plan: Plan, accounts: Accounts, columns: Sequence[AnyColumn], observe: Callable[[str, int], None]
    ) -> None:
        """Bind to one policy and one partition; `observe` moves a source's watermark up to an event time (ms)."""
        self._plan, self._accounts, self._columns, self._observe = plan, accounts, columns, observe
        self._extractors = {source: Extractor(plan, source) for source in plan.sources.of_events}

    def apply_profiles(self, profiles: Candidates, selected: slice = slice(None)) -> Rows:
        """Make profiles current where they are the latest of their account; returns rows whose score may change."""
        accounts, changed = self._accounts, []
        events = profiles.batch.events
        for row, index in zip(profiles.rows[selected].tolist(), profiles.selected[selected].tolist(), strict=True):
            event = events[index]
            assert isinstance(event, ProfileEvent)
            end_day = accounts.profile_end_day[row]
            if not accounts.apply_profile(row, event) or not accounts.applied[row]:
                continue
            if self._plan.reads_profiles or accounts.profile_end_day[row] != end_day:
                accounts.on_time[row] = accounts.changed[row] = True
                changed.append(row)
        return np.array(changed, dtype=np.int64)

    def prepare(
        self,
        events: list[Candidates],
        profiles: list[Candidates],
        order: NDArray[np.int64] | None,
        moments: EventTimes,
        *,
        positions: Mapping[str, int],
        effects: Effects,
    ) -> PreparedStep:
        """Count outcomes in `effects`, drop late and applied events, and read what columns need.

        `order` is the merged order of `events` and `profiles` (see `merge_order`), `moments` are in that order.
        `positions` are the offsets by source before which records were settled in an earlier step.
        """
        late = too_late(self._plan, moments.times, moments.lateness)
        indexes = indexes_in_order([*events, *profiles], order)
        step = PreparedStep([], [])
        for batch, index in zip(events, indexes, strict=False):
            self._count(batch, late[index], positions[batch.batch.input], effects)
            step.events.append(self._pending(batch, late[index], moments.as_of[index], moments.boundaries[index]))
        for batch, index in zip(profiles, indexes[len(events) :], strict=True):
            step.profiles.append(_PendingProfiles(batch, moments.boundaries[index]))
        return step

    @staticmethod
    def _count(events: Candidates, late: NDArray[np.bool_], position: int, effects: Effects) -> None:
        """Count the outcomes of a batch; records before `position` were settled already."""
        source, outcomes = events.batch.source, effects.outcomes
        refused = np.count_nonzero(late) or np.count_nonzero(events.already_applied)
        if events.offsets[0] >= position and not refused:
            outcomes[source, "applied"] += len(late)
            return
        settled = events.offsets < position
        outcomes[source, "replayed"] += int(settled.sum())
        outcomes[source, "late"] += int((late & ~settled).sum())
        outcomes[source, "already_applied"] += int((events.already_applied & ~settled & ~late).sum())
        outcomes[source, "applied"] += int((~events.already_applied & ~late).sum())

    def _pending(
        self, events: Candidates, late: NDArray[np.bool_], as_of: NDArray[np.int64], boundaries: NDArray[np.int64]
    ) -> _PendingEvents:
        """What a batch adds to the columns, without events that are late or applied already."""
        counts = ~(late | events.already_applied)
        observed = (events.times[~late], boundaries[~late]) if self._plan.policy.idle_sources else None
        if np.count_nonzero(counts) < len(counts):
            events, as_of, boundaries = events.pick(counts), as_of[counts], boundaries[counts]
        source = events.batch.source
        if len(events.times) and observed is None:
            self._observe(source, int(events.times.max()))
        calendar, unit = self._plan.calendar, self._plan.boundary_unit
        on_time = calendar.panes_of(events.times, unit) >= calendar.panes_of(as_of, unit)
        return _PendingEvents(events, on_time, boundaries, self._extractors[source].extract(events.events()), observed)

    def observe(self, step: PreparedStep, boundary: int) -> None:
        """Move the watermarks of sources that can go idle, by events up to boundary number `boundary`.

        Called before stream time moves and before these events are aggregated: a source whose first event this is must
        not lose it to a clock that has passed it.
        """
        for pending in step.events:
            if pending.observed is None:
                continue
            times, boundaries = pending.observed
            inside = boundaries <= boundary
            if np.count_nonzero(inside):
                self._observe(pending.events.batch.source, int(times[inside].max()))

    def aggregate(self, step: PreparedStep, boundary: int) -> list[Rows]:
        """Aggregate the next events and profiles of a step, up to boundary number `boundary`; returns changed rows.

        The rows of each batch are an array of their own, and may repeat.
        """
        changed = [self._aggregate(pending, boundary) for pending in step.events]
        changed += [self.apply_profiles(pending.profiles, pending.until(boundary)) for pending in step.profiles]
        return [rows for rows in changed if len(rows)]

    def _aggregate(self, pending: _PendingEvents, boundary: int) -> Rows:
        events = pending.events
        selected = slice(pending.done, int(pending.boundaries.searchsorted(boundary, side="right")))
        pending.done = selected.stop
        rows, times = events.rows[selected], events.times[selected]
        if not len(rows):
            return rows
        for taken in pending.inputs:
            column = self._columns[taken.column]
            assert not isinstance(column, FactColumn), "facts come from profiles"
            amounts = None if taken.amounts is None else taken.amounts[selected]
            if taken.mask is None:
                column.aggregate(rows, times, amounts)  # type: ignore[arg-type]  # the plan pairs column and amounts
                continue
            mask = taken.mask[selected]
            if np.count_nonzero(mask):
                column.aggregate(rows[mask], times[mask], None if amounts is None else amounts[mask])  # type: ignore[arg-type]
        accounts = self._accounts
        np.add.at(accounts.applied, rows, 1)
        np.maximum.at(accounts.last_ms, rows, times)
        np.minimum.at(accounts.first_ms, rows, times)
        accounts.follow_first_events(rows)
        if events.batch.source != CONTROL_SOURCE:
            np.maximum.at(accounts.life_ms, rows, times)
        source_index = accounts.sources.index[events.batch.input]
        np.maximum.at(accounts.applied_offsets[:, source_index], rows, events.offsets[selected])
        accounts.on_time[rows[pending.on_time[selected]]] = True
        if events.batch.source == CONTROL_SOURCE:
            self._apply_controls(events, selected)
        accounts.dirty[rows] = True
        accounts.changed[rows] = True
        return rows

    def _apply_controls(self, events: Candidates, selected: slice) -> None:
        for row, index, time in zip(
            events.rows[selected].tolist(),
            events.selected[selected].tolist(),
            events.times[selected].tolist(),
            strict=True,
        ):
            control = events.batch.events[index]
            assert isinstance(control, ControlEvent)
            if control.kind == "pulse":
                self._accounts.pulse[row] = True
                self._accounts.life_ms[row] = max(time, self._accounts.life_ms[row])
            elif control.kind in {"acknowledge", "snooze"}:
                self._accounts.acknowledgements.apply(row, control)
            else:
                self._accounts.apply_override(row, control)


def merge_order(
    batches: list[Candidates], rank_of: Mapping[str, int]
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
    """Merged order of all candidates, int64 (k,), or None where they are in order; their times in that order.

    `rank_of` has the place of each input, which decides at equal record times.
    """
    if len(batches) == 1:
        return None, batches[0].times
    times = np.concatenate([batch.times for batch in batches])
    stamps = np.concatenate([np.maximum.accumulate(batch.stamps) for batch in batches])
    ranks = np.concatenate([np.full(len(batch.rows), rank_of[batch.batch.input]) for batch in batches])
    offsets = np.concatenate([batch.offsets for batch in batches])
    order = np.lexsort((offsets, ranks, stamps))
    return order, times[order]


def indexes_in_order(batches: list[Candidates], order: NDArray[np.int64] | None) -> list[Any]:
    """For each batch where its candidates, in their own order, lie in the merged order: an index for arrays (k,)."""
    if order is None:
        return [slice(None)]
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    return np.split(inverse, np.cumsum([len(batch.rows) for batch in batches])[:-1])


def too_late(plan: Plan, times: NDArray[np.int64], lateness: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which events (k,) lie before every window of a policy.

    `lateness` (k,) is the lateness time as of each event (ms, ascending).
    """
    calendar, earliest, latest = plan.calendar, int(np.minimum.reduce(times)), int(lateness[-1])
    late: NDArray[np.bool_] | None = None
    for unit, panes in plan.longest_windows.items():
        if calendar.pane_of(earliest, unit) > calendar.pane_of(latest, unit) - panes:
            return np.zeros(len(times), dtype=bool)
        over = calendar.panes_of(times, unit) <= calendar.panes_of(lateness, unit) - panes
        late = over if late is None else late & over
    return np.ones(len(times), dtype=bool) if late is None else late


def final_before(plan: Plan, lateness_ms: int) -> int:
    """The time (epoch ms) before which every event is late by `lateness_ms`, as `too_late` says."""
    calendar = plan.calendar
    return min(
        calendar.start_ms(calendar.pane_of(lateness_ms, unit) - panes + 1, unit)
        for unit, panes in plan.longest_windows.items()
    )


def unsettled_profiles(profiles: Candidates, position: int, effects: Effects) -> Candidates:
    """The profiles from offset `position` on, without event times; counts all in `effects`.

    A profile takes effect where it lies in the log, whatever its own time. One that lies before the erasure of its
    account is left out in a replay.
    """
    settled = profiles.offsets < position
    fresh = ~(settled | profiles.already_applied)
    effects.outcomes[PROFILE_SOURCE, "applied"] += int(fresh.sum())
    effects.outcomes[PROFILE_SOURCE, "replayed"] += int(settled.sum())
    effects.outcomes[PROFILE_SOURCE, "already_applied"] += int((profiles.already_applied & ~settled).sum())
    return replace(profiles.pick(fresh), times=np.full(int(fresh.sum()), NEVER))


def count_settled(effects: Effects, settled: Counter[tuple[str, str]]) -> None:
    """Add the outcomes of a step to `settled`, which has each record once; others see applied records as replayed."""
    for (source, outcome), count in effects.outcomes.items():
        if outcome != "replayed":
            settled[source, "applied" if outcome == "already_applied" else outcome] += count
    for source, outcome in list(effects.outcomes):
        if outcome == "already_applied":
            # The row was written before a crash and the position was not: new here, but a replay to the outside.
            effects.outcomes[source, "replayed"] += effects.outcomes.pop((source, outcome))
