"""Compile measures: columns of those that read events or profiles, inputs of those that are computed from others.

Owns `MeasurePlan` and `MeasureCompiler`. Knows no scores. Called by `stream.plan.plan.compile_plan`;
`stream.scoring.measure_values` reads the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Literal

from stream.columns.panes import Unit
from stream.measures import Need, Stat, stat_of
from stream.policy.account_conditions import Range
from stream.policy.fields import account_field
from stream.policy.formulas.formula import number_of_profile
from stream.policy.measures import FACTS_SOURCE, profile_measure
from stream.policy.normalisers import Normaliser
from stream.policy.policy import Measure

_HOURS = 24
IndexOf = Callable[[str, Need, Unit, int], int]
"""The index of a column: of a source, a need, a unit, for so many panes."""


@dataclass(frozen=True)
class MeasurePlan:
    """A measure, the indexes of the columns it reads, and the normalisers of segments that have their own.

    `inputs` are those of a derived measure, by the names in its expression. `applies` are conditions on the account, of
    which the measure is missing where one does not hold: columns, each with its range; None for a column of matches.
    """

    measure: Measure
    columns: tuple[int, ...]
    by_segment: tuple[tuple[int, Normaliser], ...]
    inputs: tuple[tuple[str, MeasurePlan], ...] = ()
    applies: tuple[tuple[int, Range | None], ...] = ()

    @cached_property
    def stat(self) -> Stat:
        """The statistic that reads its columns; a derived measure has none."""
        return stat_of(self.measure)

    @cached_property
    def is_plain(self) -> bool:
        """Whether its value is what its statistic reads: it is not derived, compared, held or of some accounts only."""
        measure = self.measure
        by_others = self.inputs or self.applies or measure.history is not None or measure.stale_after is not None
        return not by_others and measure.compare != "previous"

    @cached_property
    def with_previous_window(self) -> Measure | None:
        """The measure over its window and the previous one together, for `compare = "previous"`; else None."""
        if self.measure.compare != "previous":
            return None
        return replace(self.measure, window=self.measure.window.doubled)

    @cached_property
    def leaves(self) -> tuple[MeasurePlan, ...]:
        """The measures of events and profiles that it is computed from: itself, unless it is derived."""
        if self.measure.formula is None:
            return (self,)
        return tuple(dict.fromkeys(leaf for _, plan in self.inputs for leaf in plan.leaves))


class MeasureCompiler:
    """Compiles the measures of one policy, each once."""

    def __init__(
        self,
        measures: Sequence[Measure],
        segments: Sequence[str],
        index_of: IndexOf,
        more_days: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """Bind to the measures of a policy, the names of its segments, and where its columns come from.

        The columns of measures in `more_days` keep so many days more than the measures look back.
        """
        self._measures: Mapping[str, Measure] = {measure.name: measure for measure in measures}
        self._segments, self._index_of, self._more_days = segments, index_of, more_days
        self._plans: dict[tuple[str, bool], MeasurePlan] = {}

    def compile(self, name: str, *, with_previous: bool = False) -> MeasurePlan:
        """A measure of the policy, or a number of the profile; `with_previous` also over its previous window."""
        key = name, with_previous
        if key not in self._plans:
            self._plans[key] = self._compile(name, with_previous=with_previous)
        return self._plans[key]

    def _compile(self, name: str, *, with_previous: bool) -> MeasurePlan:
        measure = self._measures.get(name)
        if measure is None:
            measure = profile_measure(name, *number_of_profile(name))
        by_segment = tuple((self._segments.index(segment), normaliser) for segment, normaliser in measure.by_segment)
        if measure.formula is not None:
            both = with_previous or measure.compare is not None
            inputs = tuple((each, self.compile(each, with_previous=both)) for each in measure.formula.inputs)
            return MeasurePlan(measure, (), by_segment, inputs, self._applies(measure))
        if with_previous and measure.window.panes:
            measure = replace(measure, compare="previous", complete=None)  # two windows of complete panes
        columns = tuple(self._column(measure, need) for need in stat_of(measure).needs(measure))
        return MeasurePlan(measure, columns, by_segment, applies=self._applies(measure))

    def _column(self, measure: Measure, need: Need) -> int:
        if need.kind in {"fact", "date"}:
            return self._index_of(FACTS_SOURCE, need, "day", 0)
        more = self._more_days.get(measure.name, 0) * (1 if measure.window.pane == "day" else _HOURS)
        return self._index_of(measure.source, need, measure.window.pane, measure.reach + more)

    def _applies(self, measure: Measure) -> tuple[tuple[int, Range | None], ...]:
        """The columns of the condition on the account; numbers and dates share those of measures of the profile."""
        if measure.when is None:
            return ()
        columns: list[tuple[int, Range | None]] = []
        if measure.when.texts:
            columns.append((self._index_of(FACTS_SOURCE, Need("match", None, measure.when.texts), "day", 0), None))
        for bound in measure.when.ranges:
            field, days = bound.reads
            kind: Literal["date", "fact"] = "date" if days is not None and account_field(field) is not None else "fact"
            columns.append((self._index_of(FACTS_SOURCE, Need(kind, field, ()), "day", 0), bound))
        return tuple(columns)

    def plans(self) -> Iterator[MeasurePlan]:
        """Everything compiled so far."""
        yield from self._plans.values()
