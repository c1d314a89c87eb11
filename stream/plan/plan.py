"""The compiled policy: which columns each measure reads, shared between measures, and its scores and alert rules.

Owns `Plan` and `compile_plan`, the step from a policy's names to column and row indexes. Knows no events and no state.
Called once per policy by whoever builds a `stream.engine.engine.Engine`; every room above reads it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import numpy as np

from schemas.properties import Properties, property_name, united
from schemas.sources import BUILT_IN, Sources
from stream.columns.calendar import Calendar
from stream.columns.columns import LatestColumn, PaneColumn
from stream.columns.facts import FactColumn
from stream.columns.first import FirstColumn
from stream.columns.histograms import HistogramColumn
from stream.columns.members import Members
from stream.columns.panes import Unit
from stream.columns.things import Things
from stream.measures import Need
from stream.measures.base import AnyColumn
from stream.plan.derived import MeasureCompiler, MeasurePlan
from stream.plan.models import ScorePlan, plan_score
from stream.plan.points import PointsPlan, plan_points
from stream.plan.rules import SILENCE, RulePlan, compile_rules, silent_sources
from stream.plan.segments import NO_PROFILE, matches
from stream.plan.silence import dormant_days, impacts_of, improved_by_silence, with_reads
from stream.policy.normalisers import Grid
from stream.policy.policy import Policy

_HOURS = 24


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """One column: its source, what it keeps of events, and how many panes.

    `name` stays the same when only the number of panes changes, so that a longer window reads the saved history.
    """

    name: str
    source: str
    need: Need
    unit: Unit
    panes: int
    calendar: Calendar

    @property
    def of_profile(self) -> bool:
        """Whether it keeps a field of the profile, not of events."""
        return self.need.kind in {"fact", "date", "match"}

    def build(self) -> AnyColumn:
        """An empty column."""
        if self.need.kind in {"things", "latest-things", "latest", "first"}:
            return self._build_by_events()
        if self.need.kind == "members":
            return Members(self.name, self.unit, self.panes, self.calendar)
        if self.need.kind == "histogram":
            return HistogramColumn(self.name, self.unit, self.panes, self.calendar)
        if self.need.kind == "match":
            empty = 1.0 if matches(NO_PROFILE, self.need.where) else math.nan
            return FactColumn(self.name, where=self.need.where, empty=empty, calendar=self.calendar)
        if self.of_profile:
            return FactColumn(cast("str", self.need.field), as_day=self.need.kind == "date", calendar=self.calendar)
        return PaneColumn(self.name, self.unit, self.panes, self.need.kind, self.calendar)

    def _build_by_events(self) -> AnyColumn:
        """An empty column that keeps single events."""
        if self.need.kind in {"things", "latest-things"}:
            return Things(
                self.name, self.unit, self.panes, self.calendar, latest_only=self.need.kind == "latest-things"
            )
        return (LatestColumn if self.need.kind == "latest" else FirstColumn)(self.name, self.unit, self.calendar)


@dataclass(frozen=True)
class Plan:
    """A compiled policy: everything that the engine reads of it."""

    policy: Policy
    columns: tuple[ColumnPlan, ...]
    measures: tuple[MeasurePlan, ...]
    longest_windows: dict[Unit, int]
    """The longest window by unit, in panes; a unit that no measure uses is missing."""

    scores: tuple[ScorePlan, ...]
    rules: tuple[RulePlan, ...]
    ending_columns: tuple[int, ...] = ()
    """Indexes of the columns that keep the latest event that ended each account."""

    profile_inputs: tuple[MeasurePlan, ...] = ()
    """Numbers of the profile that expressions read and whose values are published; none of them is a measure."""
    sources: Sources = BUILT_IN
    """What the engine reads."""

    @cached_property
    def dormant_days(self) -> int:
        """Without an event for so many UTC days an account has no data; by default at the latest with empty windows."""
        if self.policy.status.dormant_days is not None:
            return self.policy.status.dormant_days
        days, hours = self.longest_windows.get("day", 0), self.longest_windows.get("hour", 0)
        return min(max(days, hours // _HOURS + 1 if hours else 0), dormant_days(self.policy))

    @cached_property
    def points(self) -> PointsPlan:
        """How values become points."""
        return plan_points(self.measures)

    @cached_property
    def value_plans(self) -> tuple[MeasurePlan, ...]:
        """The measures, and the profile inputs after them: a value of each is computed."""
        return (*self.measures, *self.profile_inputs)

    @cached_property
    def inputs(self) -> tuple[tuple[str, int], ...]:
        """What scores are computed from without being a factor themselves: names, and their columns of `Scored.values`.

        They are the inputs of derived measures that are not compared, and the measures that select rows of grids.
        """
        names: dict[str, None] = {}
        for plan in self.measures:
            if plan.measure.compare is None:
                names |= dict.fromkeys(name for name, _ in plan.inputs)
            rules = (plan.measure.normaliser, *(rule for _, rule in plan.by_segment))
            names |= dict.fromkeys(rule.by for rule in rules if isinstance(rule, Grid))
        first = len(self.measures)
        profile = {plan.measure.name: first + number for number, plan in enumerate(self.profile_inputs)}
        index_of = self.index_of | profile
        return tuple((name, index_of[name]) for name in names)

    @cached_property
    def improved_by_silence(self) -> tuple[int, ...]:
        """Indexes of the measures that are read as of the last event of a silent account, too."""
        names = improved_by_silence(self.policy)
        return tuple(index for index, plan in enumerate(self.measures) if plan.measure.name in names)

    def reach_of(self, plan: MeasurePlan, leaf: MeasurePlan) -> int:
        """Panes up to now that a measure reads of what it is computed from, of silent accounts too."""
        if self.index_of.get(plan.measure.name) not in self.improved_by_silence:
            return leaf.measure.reach
        return leaf.measure.reach + self.dormant_days * (1 if leaf.measure.window.pane == "day" else _HOURS)

    @cached_property
    def silence_columns(self) -> tuple[int, ...]:
        """Indexes of the columns of events that these measures read."""
        plans = [self.measures[index] for index in self.improved_by_silence]
        indexes = dict.fromkeys(column for plan in plans for leaf in plan.leaves for column in leaf.columns)
        return tuple(index for index in indexes if not self.columns[index].of_profile)

    @cached_property
    def impact_signs(self) -> dict[int, float]:
        """For measures that give no points the sign of their impact, 0 without one, by index."""
        without_points = (
            (index, plan.measure.name)
            for index, plan in enumerate(self.measures)
            if plan.measure.normaliser is None and not plan.by_segment
        )
        return {index: float(np.sign(next(impacts_of(name, self.policy), 0.0))) for index, name in without_points}

    @cached_property
    def read_for_others(self) -> tuple[tuple[int, int], ...]:
        """Pairs of a measure that silence could improve, and one that it reads and that is in no score itself."""
        return tuple(
            (index, read)
            for index in self.improved_by_silence
            for measure in with_reads(self.measures[index].measure.reads, self.policy)
            if self.impact_signs.get(read := self.index_of[measure.name]) == 0
        )

    @cached_property
    def index_of(self) -> dict[str, int]:
        """The index of each measure by its name."""
        return {plan.measure.name: index for index, plan in enumerate(self.measures)}

    @cached_property
    def changes_by_calendar(self) -> bool:
        """Whether outputs can change with the date alone, after the last event has left every window."""
        bounds = [bound for segment in self.policy.segments for bound in segment.ranges]
        by_day = any(days in {"days_since", "days_until"} for _, days in (bound.reads for bound in bounds))
        by_day |= any(rule_plan.rule.kind == "silent" for rule_plan in self.rules)
        by_day |= any(column.of_profile or column.need.kind == "things" for column in self.columns)
        return by_day or bool(self.peers)

    @cached_property
    def properties(self) -> Properties:
        """The properties of events that columns read, by source."""
        fields = [
            (column.source, field)
            for column in self.columns
            for field in (column.need.field, *(each[0] for each in (*column.need.where, *column.need.of)))
        ]
        named = [(source, name) for source, field in fields if (name := property_name(field)) is not None]
        return united({source: (name,)} for source, name in named)

    @cached_property
    def peers(self) -> tuple[int, ...]:
        """Indexes of the measures with `compare = "peers"`."""
        return tuple(index for index, plan in enumerate(self.measures) if plan.measure.compare == "peers")

    @cached_property
    def band_names(self) -> tuple[str, ...]:
        """The names of the bands of all scores, each once, best bands first."""
        return tuple(dict.fromkeys(band.name for score in self.policy.scores for band in reversed(score.bands)))

    @cached_property
    def boundary_rules(self) -> tuple[RulePlan, ...]:
        """The alert rules with boundary state, by `boundary_index`."""
        return tuple(rule_plan for rule_plan in self.rules if rule_plan.boundary_index >= 0)

    @cached_property
    def has_sticky_bands(self) -> bool:
        """Whether bands depend on the bands at earlier window boundaries."""
        return any(score_plan.has_sticky_bands for score_plan in self.scores)

    @cached_property
    def idle_source_columns(self) -> dict[int, str]:
        """The source of each column (by index) whose windows stop moving while that source is idle."""
        idle_sources = {idle_source.source for idle_source in self.policy.idle_sources}
        return {index: column.source for index, column in enumerate(self.columns) if column.source in idle_sources}

    @property
    def needs_boundaries(self) -> bool:
        """Whether bands, alerts or forecasts depend on earlier boundaries: then none is skipped while catching up."""
        return self.has_sticky_bands or bool(self.boundary_rules) or self.forecast_days > 0

    @cached_property
    def forecasts(self) -> tuple[RulePlan, ...]:
        """The alert rules of kind `forecast`."""
        return tuple(rule_plan for rule_plan in self.boundary_rules if rule_plan.rule.kind == "forecast")

    @cached_property
    def longest_forecast_days(self) -> int:
        """The longest forecast, of a score or an alert rule, in days; 0 for none."""
        return max([self.forecast_days, *(plan.rule.within.panes for plan in self.forecasts if plan.rule.within)])

    @cached_property
    def forecast_days(self) -> int:
        """The longest forecast of a score, in days; 0 for none."""
        return max(score_plan.score.forecast_days or 0 for score_plan in self.scores)

    @property
    def calendar(self) -> Calendar:
        """The days of the policy."""
        return self.policy.calendar

    def boundary_at(self, time_ms: int) -> int:
        """The last window boundary (epoch ms) at or before a time."""
        return self.calendar.start_ms(self.calendar.pane_of(time_ms, self.boundary_unit), self.boundary_unit)

    def boundaries_between(self, after_ms: int, until_ms: int) -> list[int]:
        """The window boundaries (epoch ms, ascending) after one time, and at or before another."""
        unit = self.boundary_unit
        first, last = (self.calendar.pane_of(time_ms, unit) for time_ms in (after_ms, until_ms))
        boundaries: list[int] = self.calendar.starts_ms(np.arange(first + 1, last + 1, dtype=np.int64), unit).tolist()
        return boundaries

    @cached_property
    def reads_profiles(self) -> bool:
        """Whether scores depend on profiles."""
        return bool(self.policy.segments) or any(column.of_profile for column in self.columns)

    @cached_property
    def boundary_unit(self) -> Unit:
        """The unit of the shortest pane in use. Every account's score is exact where such a pane ends."""
        by_hour = any(plan.rule.within and plan.rule.within.unit == "hour" for plan in self.rules)
        return "hour" if by_hour or "hour" in self.longest_windows else "day"

    @property
    def label(self) -> str:
        """Name and digest of the policy, as outputs carry it: `name@digest`."""
        return f"{self.policy.name}@{self.policy.digest}"


def compile_plan(policy: Policy) -> Plan:
    """Compile a policy."""
    columns = _Columns(policy.calendar)
    silence = dict.fromkeys(improved_by_silence(policy), dormant_days(policy))
    segments = [segment.name for segment in policy.segments]
    compiler = MeasureCompiler(policy.measures, segments, columns.index_of, silence)
    measures = tuple(compiler.compile(measure.name) for measure in policy.measures)
    longest: dict[Unit, int] = {}
    for measure in (leaf.measure for plan in compiler.plans() for leaf in plan.leaves):
        if measure.reach:
            longest[measure.window.pane] = max(longest.get(measure.window.pane, 0), measure.reach)
    scores = tuple(plan_score(policy, score) for score in policy.scores)
    latest = {source: columns.index_of(source, SILENCE, "day", 0) for source in silent_sources(policy)}
    rules = compile_rules(policy, scores, latest)
    ending = tuple(
        columns.index_of(events.source, Need("latest", None, events.where), "day", 0)
        for events in policy.status.ended_by
    )
    inputs = _profile_inputs(measures)
    return Plan(policy, tuple(columns.plans), measures, longest, scores, rules, ending, inputs, policy.sources)


def _profile_inputs(measures: Sequence[MeasurePlan]) -> tuple[MeasurePlan, ...]:
    known = {plan.measure.name for plan in measures}
    plans = [plan for measure in measures if measure.measure.compare is None for _, plan in measure.inputs]
    return tuple({plan.measure.name: plan for plan in plans if plan.measure.name not in known}.values())


class _Columns:
    """The columns of a plan, each once: measures that need the same share it, with as many panes as the longest."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self.plans: list[ColumnPlan] = []
        self._indexes: dict[str, int] = {}

    def index_of(self, source: str, need: Need, unit: Unit, panes: int) -> int:
        name = _column_name(source, need, unit, self._calendar.timezone)
        index = self._indexes.setdefault(name, len(self.plans))
        if index == len(self.plans):
            self.plans.append(ColumnPlan(name, source, need, unit, panes, self._calendar))
        elif self.plans[index].panes < panes:
            self.plans[index] = replace(self.plans[index], panes=panes)
        return index


_KEPT_BY_TIME = ("latest", "first", "things", "latest-things")
"""Needs whose columns keep the times of events: they are read by the days of any zone."""


def _column_name(source: str, need: Need, unit: Unit, timezone: str | None) -> str:
    """A column's name in the changelog: what it keeps, as JSON, so that different columns never share a name.

    The days of another zone are other panes. What is kept by its time is the same in every zone.
    """
    zone = [timezone] if timezone is not None and unit == "day" and need.kind not in _KEPT_BY_TIME else []
    of = [need.of] if need.of else []
    content = [source, need.kind, need.field, need.where, need.weights, *of, *zone, unit]
    return json.dumps(content, separators=(",", ":"))
