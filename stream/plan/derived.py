"""Compile measures: columns of those that read events or profiles, inputs of those that are computed from others.

Owns `MeasurePlan` and `MeasureCompiler`. Knows no scores. Called by `stream.plan.plan.compile_plan`;
`stream.scoring.measure_values` reads the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from stream.columns.panes import Unit
from stream.measures import STATS, Need
from stream.policy.formulas.formula import ACCOUNT, ACCOUNT_FIELDS
from stream.policy.measures import profile_measure
from stream.policy.normalisers import Normaliser
from stream.policy.policy import Measure

IndexOf = Callable[[str, Need, Unit, int], int]
"""The index of a column: of a source, a need, a unit, for so many panes."""


@dataclass(frozen=True)
class MeasurePlan:
    """A measure, the indexes of the columns it reads, and the normalisers of segments that have their own.

    `inputs` are those of a derived measure, by the names in its expression.
    """

    measure: Measure
    columns: tuple[int, ...]
    by_segment: tuple[tuple[int, Normaliser], ...]
    inputs: tuple[tuple[str, MeasurePlan], ...] = ()

    @cached_property
    def with_previous_window(self) -> Measure | None:
        """The measure over its window and the previous one together, for `compare = "previous"`; else None."""
        if self.measure.compare != "previous":
            return None
        return replace(self.measure, window=replace(self.measure.window, panes=2 * self.measure.window.panes))

    @cached_property
    def leaves(self) -> tuple[MeasurePlan, ...]:
        """The measures of events and profiles that it is computed from: itself, unless it is derived."""
        if self.measure.formula is None:
            return (self,)
        return tuple(dict.fromkeys(leaf for _, plan in self.inputs for leaf in plan.leaves))


class MeasureCompiler:
    """Compiles the measures of one policy, each once."""

    def __init__(self, measures: Sequence[Measure], segments: Sequence[str], index_of: IndexOf) -> None:
        """Bind to the measures of a policy, the names of its segments, and where its columns come from."""
        self._measures: Mapping[str, Measure] = {measure.name: measure for measure in measures}
        self._segments, self._index_of = segments, index_of
        self._plans: dict[tuple[str, bool], MeasurePlan] = {}

    def compile(self, name: str, *, with_previous: bool = False) -> MeasurePlan:
        """A measure of the policy, or `account.FIELD`; `with_previous` as an input that needs its previous window."""
        key = name, with_previous
        if key not in self._plans:
            self._plans[key] = self._compile(name, with_previous=with_previous)
        return self._plans[key]

    def _compile(self, name: str, *, with_previous: bool) -> MeasurePlan:
        measure = self._measures.get(name)
        if measure is None:
            measure = profile_measure(name, *ACCOUNT_FIELDS[name.removeprefix(f"{ACCOUNT}.")])
        by_segment = tuple((self._segments.index(segment), normaliser) for segment, normaliser in measure.by_segment)
        if measure.formula is not None:
            both = with_previous or measure.compare is not None
            inputs = tuple((each, self.compile(each, with_previous=both)) for each in measure.formula.inputs)
            return MeasurePlan(measure, (), by_segment, inputs)
        if with_previous and measure.window.panes:
            measure = replace(measure, compare="previous", complete=None)  # two windows of complete panes
        needs = STATS[measure.stat].needs(measure)
        indexes = tuple(self._index_of(measure.source, need, measure.window.unit, measure.reach) for need in needs)
        return MeasurePlan(measure, indexes, by_segment)

    def plans(self) -> Iterator[MeasurePlan]:
        """Everything compiled so far."""
        yield from self._plans.values()
