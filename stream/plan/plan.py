"""The compiled policy: which columns each measure reads, shared between measures, and its scores and alert rules.

Owns `Plan` and `compile_plan`, the step from a policy's names to column and row indexes. Knows no events and no state.
Called once per policy by whoever builds a `stream.engine.engine.Engine`; every room above reads it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

from stream.columns.columns import FactColumn, LatestColumn, PaneColumn
from stream.columns.histograms import HistogramColumn
from stream.columns.members import Members
from stream.columns.panes import UNIT_MS, Unit
from stream.measures import Need
from stream.measures.base import AnyColumn
from stream.plan.derived import MeasureCompiler, MeasurePlan
from stream.plan.models import ScorePlan, plan_score
from stream.plan.rules import SILENCE, RulePlan, compile_rules, silent_sources
from stream.policy.normalisers import Grid
from stream.policy.policy import Policy


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

    def build(self) -> AnyColumn:
        """An empty column."""
        if self.need.kind == "members":
            return Members(self.name, self.unit, self.panes)
        if self.need.kind == "histogram":
            return HistogramColumn(self.name, self.unit, self.panes)
        if self.need.kind == "latest":
            return LatestColumn(self.name, self.unit)
        if self.need.kind == "fact":
            return FactColumn(cast("str", self.need.field))
        return PaneColumn(self.name, self.unit, self.panes, self.need.kind)


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
    profile_inputs: tuple[MeasurePlan, ...] = ()
    """Numbers of the profile that expressions read and whose values are published; none of them is a measure."""

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
    def index_of(self) -> dict[str, int]:
        """The index of each measure by its name."""
        return {plan.measure.name: index for index, plan in enumerate(self.measures)}

    @cached_property
    def changes_by_calendar(self) -> bool:
        """Whether outputs can change with the date alone, after the last event has left every window."""
        by_day = any(bound.field != "arr" for segment in self.policy.segments for bound in segment.ranges)
        by_day |= any(rule_plan.rule.kind == "silent" for rule_plan in self.rules)
        return by_day or bool(self.peers) or any(column.need.kind == "fact" for column in self.columns)

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

    @cached_property
    def boundary_ms(self) -> int:
        """The distance of window boundaries, in milliseconds."""
        return UNIT_MS[self.boundary_unit]

    @cached_property
    def reads_profiles(self) -> bool:
        """Whether scores depend on profiles."""
        return bool(self.policy.segments) or any(column.need.kind == "fact" for column in self.columns)

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
    columns = _Columns()
    compiler = MeasureCompiler(policy.measures, [segment.name for segment in policy.segments], columns.index_of)
    measures = tuple(compiler.compile(measure.name) for measure in policy.measures)
    longest: dict[Unit, int] = {}
    for measure in (leaf.measure for plan in compiler.plans() for leaf in plan.leaves):
        if measure.reach:
            longest[measure.window.unit] = max(longest.get(measure.window.unit, 0), measure.reach)
    scores = tuple(plan_score(policy, score) for score in policy.scores)
    silence = {source: columns.index_of(source, SILENCE, "day", 0) for source in silent_sources(policy)}
    rules = compile_rules(policy, scores, silence)
    return Plan(policy, tuple(columns.plans), measures, longest, scores, rules, _profile_inputs(measures))


def _profile_inputs(measures: Sequence[MeasurePlan]) -> tuple[MeasurePlan, ...]:
    known = {plan.measure.name for plan in measures}
    plans = [plan for measure in measures if measure.measure.compare is None for _, plan in measure.inputs]
    return tuple({plan.measure.name: plan for plan in plans if plan.measure.name not in known}.values())


class _Columns:
    """The columns of a plan, each once: measures that need the same share it, with as many panes as the longest."""

    def __init__(self) -> None:
        self.plans: list[ColumnPlan] = []
        self._indexes: dict[str, int] = {}

    def index_of(self, source: str, need: Need, unit: Unit, panes: int) -> int:
        name = _column_name(source, need, unit)
        index = self._indexes.setdefault(name, len(self.plans))
        if index == len(self.plans):
            self.plans.append(ColumnPlan(name, source, need, unit, panes))
        elif self.plans[index].panes < panes:
            self.plans[index] = replace(self.plans[index], panes=panes)
        return index


def _column_name(source: str, need: Need, unit: Unit) -> str:
    """A column's name in the changelog: what it keeps, as JSON, so that different columns never share a name."""
    return json.dumps([source, need.kind, need.field, need.where, need.weights, unit], separators=(",", ":"))
