"""A policy compiled: which columns each measure needs, shared between measures, and what to take from each event.

Owns the step from words to arrays. Knows no events and no state. Called by `stream.engine.engine` once a policy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import cast

import numpy as np
from numpy.typing import NDArray

from schemas.events import Event
from stream.columns.columns import MILLIONTHS, FactColumn, LatestColumn, PaneColumn
from stream.columns.hash_index import HashCache, Hashes
from stream.columns.members import Members
from stream.columns.panes import UNIT_MS, Unit
from stream.measures import STATS, Need
from stream.measures.base import AnyColumn
from stream.plan.models import ScorePlan, plan_score
from stream.plan.rules import SILENCE, RulePlan, compile_rules, silent_sources
from stream.policy.normalisers import Normaliser
from stream.policy.policy import Measure, Policy

NULL_NUMBERS = {"count": 1.0, "duration_s": 0.0, "amount": 0.0, "days_late": 0.0}
"""What an explicit null means for a field that has a default; any other field is then absent."""

Amounts = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """One column: what it takes in and how many panes it keeps. `name` stays the same when only the window grows."""

    name: str
    source: str
    need: Need
    unit: Unit
    panes: int

    def build(self) -> AnyColumn:
        """An empty column."""
        if self.need.kind == "members":
            return Members(self.name, self.unit, self.panes)
        if self.need.kind == "latest":
            return LatestColumn(self.name, self.unit)
        if self.need.kind == "fact":
            return FactColumn(cast("str", self.need.field))
        return PaneColumn(self.name, self.unit, self.panes, self.need.kind)


@dataclass(frozen=True)
class MeasurePlan:
    """A measure, the positions of the columns it reads, and the normalisers of segments that have their own."""

    measure: Measure
    columns: tuple[int, ...]
    by_segment: tuple[tuple[int, Normaliser], ...]

    @cached_property
    def whole(self) -> Measure | None:
        """The same measure over its window and the one before it, where the two are compared."""
        if self.measure.compare != "previous":
            return None
        return replace(self.measure, window=replace(self.measure.window, panes=self.measure.reach))


@dataclass(frozen=True)
class Plan:
    """Everything the engine needs to know of a policy."""

    policy: Policy
    columns: tuple[ColumnPlan, ...]
    measures: tuple[MeasurePlan, ...]
    longest: dict[Unit, int]
    """Longest window by unit, in panes; a unit no measure uses is absent."""

    scores: tuple[ScorePlan, ...]
    rules: tuple[RulePlan, ...]

    @cached_property
    def clocked(self) -> bool:
        """Whether days alone may change what is said, long after the last event has left every window."""
        by_day = any(bound.field != "arr" for segment in self.policy.segments for bound in segment.ranges)
        by_day |= any(part.rule.kind == "silent" for part in self.rules)
        return by_day or bool(self.peers) or any(column.need.kind == "fact" for column in self.columns)

    @cached_property
    def peers(self) -> tuple[int, ...]:
        """Places of the measures that are seen among an account's peers."""
        return tuple(at for at, part in enumerate(self.measures) if part.measure.compare == "peers")

    @cached_property
    def memories(self) -> tuple[RulePlan, ...]:
        """The alert rules that remember borders."""
        return tuple(part for part in self.rules if part.memory >= 0)

    @cached_property
    def remembers(self) -> bool:
        """Whether bands depend on those of earlier borders."""
        return any(part.remembers for part in self.scores)

    @cached_property
    def held_columns(self) -> dict[int, str]:
        """Source of each column, by place, that stands still while its source has stalled."""
        idle_sources = {stall.source for stall in self.policy.idle_sources}
        return {at: column.source for at, column in enumerate(self.columns) if column.source in idle_sources}

    @property
    def needs_boundaries(self) -> bool:
        """Whether bands, alerts or outlooks depend on borders before: then each is minded, also while catching up."""
        return self.remembers or bool(self.memories) or self.forecast_days > 0

    @cached_property
    def forecasts(self) -> tuple[RulePlan, ...]:
        """The alert rules that look ahead."""
        return tuple(part for part in self.memories if part.rule.kind == "forecast")

    @cached_property
    def longest_forecast_days(self) -> int:
        """How many days ahead anything looks, 0 for not at all."""
        return max([self.forecast_days, *(part.rule.within.panes for part in self.forecasts if part.rule.within)])

    @cached_property
    def forecast_days(self) -> int:
        """How many days ahead changes of band are looked for, 0 for not at all."""
        return max(part.score.forecast_days or 0 for part in self.scores)

    @cached_property
    def boundary_ms(self) -> int:
        """Milliseconds from border to border."""
        return UNIT_MS[self.boundary_unit]

    @cached_property
    def reads_profiles(self) -> bool:
        """Whether scores depend on profiles."""
        return bool(self.policy.segments) or any(column.need.kind == "fact" for column in self.columns)

    @cached_property
    def boundary_unit(self) -> Unit:
        """The finest pane in use: at its borders scores are exact."""
        finer = any(part.rule.within and part.rule.within.unit == "hour" for part in self.rules)
        return "hour" if finer or "hour" in self.longest else "day"

    @property
    def label(self) -> str:
        """Name and content of the policy, as outputs carry it."""
        return f"{self.policy.name}@{self.policy.digest}"


def compile_plan(policy: Policy) -> Plan:
    """Lay out the columns of a policy."""
    order: dict[str, int] = {}
    plans: list[ColumnPlan] = []
    measures: list[MeasurePlan] = []
    longest: dict[Unit, int] = {}
    segments = [segment.name for segment in policy.segments]
    for measure in policy.measures:
        unit: Unit = measure.window.unit
        if measure.reach:
            longest[unit] = max(longest.get(unit, 0), measure.reach)
        positions = []
        for need in STATS[measure.stat].needs(measure):
            name = _column_name(measure.source, need, unit)
            position = order.setdefault(name, len(plans))
            if position == len(plans):
                plans.append(ColumnPlan(name, measure.source, need, unit, measure.reach))
            elif plans[position].panes < measure.reach:
                plans[position] = ColumnPlan(name, measure.source, need, unit, measure.reach)
            positions.append(position)
        by_segment = tuple((segments.index(name), normaliser) for name, normaliser in measure.by_segment)
        measures.append(MeasurePlan(measure, tuple(positions), by_segment))
    scores = tuple(plan_score(policy, score) for score in policy.scores)
    silence = {}
    for source in silent_sources(policy):
        name = _column_name(source, SILENCE, "day")
        silence[source] = order.setdefault(name, len(plans))
        if silence[source] == len(plans):
            plans.append(ColumnPlan(name, source, SILENCE, "day", 0))
    return Plan(policy, tuple(plans), tuple(measures), longest, scores, compile_rules(policy, scores, silence))


def _column_name(source: str, need: Need, unit: Unit) -> str:
    """What a column takes in, as text in which no two columns can look alike (the texts of a policy are free)."""
    return json.dumps([source, need.kind, need.field, need.where, need.weights, unit], separators=(",", ":"))


class Intake:
    """Turns the events of one source into what its columns fold: filters as masks, amounts as arrays.

    Texts named by the policy get small codes once, so that each filter is a table look-up.
    """

    def __init__(self, plan: Plan, source: str) -> None:
        """Prepare the look-up tables of one source."""
        self.columns = [(at, column) for at, column in enumerate(plan.columns) if column.source == source]
        self._vocabularies: dict[str, _Vocabulary] = {}
        for _, column in self.columns:
            for field, values in column.need.where:
                self._vocabulary(field).update_with(values)
            if column.need.weights is not None:
                self._vocabulary(cast("str", column.need.field)).update_with([text for text, _ in column.need.weights])
        self._hashes = HashCache()

    def _vocabulary(self, field: str) -> _Vocabulary:
        return self._vocabularies.setdefault(field, _Vocabulary())

    def take(self, events: Sequence[Event]) -> list[Taken]:
        """What each column of this source takes of these events."""
        cache: dict[str, NDArray[np.generic]] = {}

        def codes(field: str) -> NDArray[np.intp]:
            return cast(
                "NDArray[np.intp]",
                _once(cache, "codes " + field, lambda: self._vocabularies[field].codes(events, field)),
            )

        taken = []
        for at, column in self.columns:
            need = column.need
            mask: NDArray[np.bool_] | None = None
            for field, values in need.where:
                passed = self._vocabularies[field].table(values)[codes(field)]
                mask = passed if mask is None else mask & passed
            amounts: Amounts | Hashes | None = None
            if need.kind == "members":
                field = cast("str", need.field)
                texts = cast("Hashes", _once(cache, "hash " + field, partial(self._hash, events, field)))
                amounts = texts
            elif need.weights is not None:
                weights = self._vocabularies[cast("str", need.field)].weights(need.weights)
                amounts = weights[codes(cast("str", need.field))]
            elif need.field is not None:
                numbers = cast("Amounts", _once(cache, need.field, partial(_numbers, events, need.field)))
                absent = np.isnan(numbers)
                if absent.any():
                    mask = ~absent if mask is None else mask & ~absent
                amounts = np.rint(numbers * MILLIONTHS) if need.kind == "sum" else numbers
                amounts = None if need.kind == "count" else amounts
            taken.append(Taken(at, mask, amounts))
        return taken

    def _hash(self, events: Sequence[Event], field: str) -> Hashes:
        return self._hashes.hashes([getattr(event, field) for event in events])


@dataclass(slots=True)
class Taken:
    """What one column takes of a batch: its position, which events pass (None: all), and their amounts or hashes."""

    column: int
    mask: NDArray[np.bool_] | None
    amounts: Amounts | Hashes | None


def _once(
    cache: dict[str, NDArray[np.generic]], key: str, make: Callable[[], NDArray[np.generic]]
) -> NDArray[np.generic]:
    if key not in cache:
        cache[key] = make()
    return cache[key]


def _numbers(events: Sequence[Event], field: str) -> Amounts:
    numbers = np.array([getattr(event, field) for event in events], dtype=np.float64)
    if field in NULL_NUMBERS:
        numbers[np.isnan(numbers)] = NULL_NUMBERS[field]
    return numbers


class _Vocabulary(dict[str | None, int]):
    """Texts a policy names, coded 1, 2, ...; any other text is 0."""

    def __missing__(self, text: str | None) -> int:
        return 0

    def update_with(self, texts: Sequence[str]) -> None:
        for text in texts:
            if text not in self:
                self[text] = len(self) + 1

    def codes(self, events: Sequence[Event], field: str) -> NDArray[np.intp]:
        texts = [getattr(event, field) for event in events]
        if field == "priority":
            texts = [text or "normal" for text in texts]
        return np.fromiter(map(self.__getitem__, texts), dtype=np.intp, count=len(events))

    def table(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Which codes are among `texts`."""
        table = np.zeros(len(self) + 1, dtype=bool)
        table[[self[text] for text in texts]] = True
        return table

    def weights(self, weights: Sequence[tuple[str, float]]) -> Amounts:
        """The weight of each code, in millionths."""
        table = np.zeros(len(self) + 1)
        for text, weight in weights:
            table[self[text]] = np.rint(weight * MILLIONTHS)
        return table
