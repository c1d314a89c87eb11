"""A step taken apart: its events and profiles in merged order, and folded into columns and accounts.

Owns the order of records that were read together: by the newest record time of their source partition so far, then by
source, then by offset (docs/ARCHITECTURE.md). Called by `stream.engine.engine`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.events import CONTROL_SOURCE, METRIC_SOURCES, PROFILE_SOURCE, ControlEvent, ProfileEvent
from stream.accounts.accounts import Accounts
from stream.columns.columns import NEVER, FactColumn, Rows
from stream.columns.panes import UNIT_MS, Unit, pane_of
from stream.ingest.batch import Candidates
from stream.measures.base import AnyColumn
from stream.plan.extractor import ColumnInput, Extractor
from stream.plan.plan import Plan
from stream.publishing.effects import Effects


@dataclass(slots=True)
class ProfileUpdate:
    """Profiles of a step and the segments they are read in."""

    profiles: Candidates
    segments: NDArray[np.int64]
    done: int = 0

    def until(self, number: int) -> slice:
        """The next of them, up to segment `number`."""
        piece = slice(self.done, int(np.searchsorted(self.segments, number, side="right")))
        self.done = piece.stop
        return piece


@dataclass(slots=True)
class Aggregation:
    """What one part of a step adds: its events that count, their segments, what columns take of them."""

    part: Candidates
    timely: NDArray[np.bool_]
    segments: NDArray[np.int64]
    taken: list[ColumnInput]
    heard: tuple[NDArray[np.int64], NDArray[np.int64]] | None
    """Times of all its events that are not late, fenced ones too, and their segments; only where sources can stall."""
    done: int = 0


class Aggregator:
    """Folds the events of steps into the columns and accounts of one partition."""

    def __init__(self, plan: Plan, accounts: Accounts, columns: Sequence[AnyColumn]) -> None:
        """Bind to one policy and one partition."""
        self._plan, self._accounts, self._columns = plan, accounts, columns
        self._extractors = {source: Extractor(plan, source) for source in METRIC_SOURCES}
        self.watermarks: dict[str, int] = {}
        """Largest event time applied (ms) by source."""

    def apply_profiles(self, update: ProfileUpdate, number: int) -> Rows:
        """Apply the next profiles of a step, up to segment `number`; returns rows whose score may change."""
        return self.apply(update.profiles, update.until(number))

    def apply(self, profiles: Candidates, piece: slice) -> Rows:
        """Let some profiles hold where they are the latest of their account; returns rows whose score may change."""
        accounts, changed = self._accounts, []
        events = profiles.batch.events
        for row, place in zip(profiles.rows[piece].tolist(), profiles.selected[piece].tolist(), strict=True):
            event = events[place]
            assert isinstance(event, ProfileEvent)
            if not accounts.apply_profile(row, event) or not accounts.applied[row]:
                continue
            if self._plan.reads_profiles:
                accounts.on_time[row] = accounts.changed[row] = True
                changed.append(row)
        return np.array(changed, dtype=np.int64)

    def tally(self, part: Candidates, late: NDArray[np.bool_], position: int, effects: Effects) -> None:
        """Count the outcomes of a part; records before `position` have been settled already."""
        source, outcomes = part.batch.source, effects.outcomes
        if part.offsets[0] >= position and not (late.any() or part.already_applied.any()):
            outcomes[source, "applied"] += len(late)
            return
        settled = part.offsets < position
        outcomes[source, "replayed"] += int(settled.sum())
        outcomes[source, "late"] += int((late & ~settled).sum())
        outcomes[source, "already_applied"] += int((part.already_applied & ~settled & ~late).sum())
        outcomes[source, "applied"] += int((~part.already_applied & ~late).sum())

    def prepare(
        self, part: Candidates, late: NDArray[np.bool_], running: NDArray[np.int64], segments: NDArray[np.int64]
    ) -> Aggregation:
        """What a part adds to the columns, once late and fenced events are out."""
        good = ~(late | part.already_applied)
        heard = (part.times[~late], segments[~late]) if self._plan.policy.idle_sources else None
        if not good.all():
            part, running, segments = part.pick(good), running[good], segments[good]
        if len(part.times) and heard is None:
            self._hear(part.batch.source, part.times)
        timely = part.times // self._plan.boundary_ms >= running // self._plan.boundary_ms
        return Aggregation(part, timely, segments, self._extractors[part.batch.source].extract(part.events()), heard)

    def _hear(self, source: str, times: NDArray[np.int64]) -> None:
        self.watermarks[source] = max(self.watermarks.get(source, 0), int(times.max()))

    def watch(self, aggregations: Sequence[Aggregation], number: int) -> None:
        """Let the watermarks know of events up to segment `number`, before these are folded."""
        for aggregate in aggregations:
            if aggregate.heard is None:
                continue
            times, segments = aggregate.heard
            inside = segments <= number
            if inside.any():
                self._hear(aggregate.part.batch.source, times[inside])

    def aggregate(self, aggregate: Aggregation, number: int) -> Rows:
        """Fold the next events of a part, up to segment `number`, into the columns; returns their rows."""
        part = aggregate.part
        piece = slice(aggregate.done, int(np.searchsorted(aggregate.segments, number, side="right")))
        aggregate.done = piece.stop
        rows, times = part.rows[piece], part.times[piece]
        if not len(rows):
            return rows
        for taken in aggregate.taken:
            column = self._columns[taken.column]
            assert not isinstance(column, FactColumn), "facts come from profiles"
            amounts = None if taken.amounts is None else taken.amounts[piece]
            if taken.mask is None:
                column.aggregate(rows, times, amounts)  # type: ignore[arg-type]  # the plan pairs column and amounts
                continue
            mask = taken.mask[piece]
            if mask.any():
                column.aggregate(rows[mask], times[mask], None if amounts is None else amounts[mask])  # type: ignore[arg-type]
        accounts = self._accounts
        np.add.at(accounts.applied, rows, 1)
        np.maximum.at(accounts.last_ms, rows, times)
        np.maximum.at(accounts.applied_offsets[:, part.batch.source_index], rows, part.offsets[piece])
        accounts.on_time[rows[aggregate.timely[piece]]] = True
        if part.batch.source == CONTROL_SOURCE:
            self._take_controls(part, piece)
        accounts.dirty[rows] = True
        accounts.changed[rows] = True
        return rows

    def _take_controls(self, part: Candidates, piece: slice) -> None:
        for row, place in zip(part.rows[piece].tolist(), part.selected[piece].tolist(), strict=True):
            control = part.batch.events[place]
            assert isinstance(control, ControlEvent)
            if control.kind == "pulse":
                self._accounts.pulse[row] = True
            elif control.kind in {"acknowledge", "snooze"}:
                self._accounts.acknowledgements.apply(row, control)
            else:
                self._accounts.apply_override(row, control)


def merge_order(parts: list[Candidates]) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
    """Merged order of all candidates (None: as they are), and their times in that order."""
    if len(parts) == 1:
        return None, parts[0].times
    times = np.concatenate([part.times for part in parts])
    stamps = np.concatenate([np.maximum.accumulate(part.stamps) for part in parts])
    ranks = np.concatenate([np.full(len(part.rows), part.batch.source_index) for part in parts])
    offsets = np.concatenate([part.offsets for part in parts])
    order = np.lexsort((offsets, ranks, stamps))
    return order, times[order]


def places(parts: list[Candidates], order: NDArray[np.int64] | None) -> list[Any]:
    """Where the candidates of each part, in its own order, lie in the merged order."""
    if order is None:
        return [slice(None)]
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    return np.split(inverse, np.cumsum([len(part.rows) for part in parts])[:-1])


def too_late(longest: Mapping[Unit, int], times: NDArray[np.int64], running: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which events lie before every window, judged by the largest time up to them."""
    earliest, latest = int(times.min()), int(running[-1])
    late = np.ones(len(times), dtype=bool)
    for unit, panes in longest.items():
        if pane_of(earliest, unit) > pane_of(latest, unit) - panes:
            return np.zeros(len(times), dtype=bool)
        late &= times // UNIT_MS[unit] <= running // UNIT_MS[unit] - panes
    return late


def fresh_profiles(found: Candidates, position: int, effects: Effects) -> Candidates:
    """The profiles that have not been settled yet; they hold from where they are in the log."""
    fresh = found.offsets >= position
    effects.outcomes[PROFILE_SOURCE, "applied"] += int(fresh.sum())
    effects.outcomes[PROFILE_SOURCE, "replayed"] += int((~fresh).sum())
    return replace(found.pick(fresh), times=np.full(int(fresh.sum()), NEVER))
