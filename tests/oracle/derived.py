"""The oracle's values of all measures of a policy: of events, of the profile, and those computed from others.

Owns a second reading of docs/reference/policy/measures.md for measures with a `value`. Must not know scores, order or
the product's own code. Called by `tests.oracle.scores`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from tests.oracle.conditions import fits
from tests.oracle.events import Event
from tests.oracle.formulas import DECIMALS, names_in, value_of
from tests.oracle.measures import measure_value, two_windows
from tests.oracle.policy import Measure, Policy

Value = Fraction | None


@dataclass(frozen=True)
class Account:
    """What an account's values are computed from: its events, sorted by time, its profile, and the moment.

    Measures of a source in `clocks_ms` are read as of that moment.
    """

    policy: Policy
    events: Sequence[Event]
    as_of_ms: int
    profile: Event | None
    clocks_ms: Mapping[str, int]

    def value(self, name: str) -> Value:
        """Return the value of a measure, or of `account.NAME`; None when it is missing, or not for the account."""
        measure = self.policy.measure(name)
        return self._value(name) if self._is_for(measure) else None

    def _is_for(self, measure: Measure) -> bool:
        return fits(measure.settings.get("when", {}), self.profile, self.as_of_ms)

    def _value(self, name: str) -> Value:
        measure = self.policy.measure(name)
        if measure.expression is None:
            return measure_value(measure, self.events, self._moment_ms(measure), self.profile)
        if "compare" not in measure.settings:
            return value_of(measure.expression, self.value)
        now, before = self._pair(name)
        if now is None or before is None or before <= 0:
            return None
        return round(100 * (now - before) / before, DECIMALS)

    def _pair(self, name: str) -> tuple[Value, Value]:
        """Return what an input is over its window and over the one before; the profile is the same in both."""
        measure = self.policy.measure(name)
        if not self._is_for(measure):
            return None, None
        if measure.is_fact:
            return (self.value(name),) * 2
        if measure.expression is None:
            settings = {name: setting for name, setting in measure.settings.items() if name != "complete"}
            compared = replace(measure, settings=settings | {"compare": "previous"})
            return two_windows(compared, self.events, self._moment_ms(measure))
        pairs = {each: self._pair(each) for each in names_in(measure.expression)}
        now = value_of(measure.expression, lambda each: pairs[each][0])
        return now, value_of(measure.expression, lambda each: pairs[each][1])

    def _moment_ms(self, measure: Measure) -> int:
        return self.clocks_ms.get(measure.source, self.as_of_ms)


def sources_of(policy: Policy, measure: Measure) -> set[str]:
    """Return the sources of the events that a measure is computed from."""
    if measure.expression is None:
        return {measure.source}
    return {source for name in names_in(measure.expression) for source in sources_of(policy, policy.measure(name))}


def sources_in(policy: Policy) -> set[str]:
    """Return the sources of events that a policy reads."""
    return {measure.source for measure in policy.event_measures}


def outdated_measures(account: Account) -> set[str]:
    """Return the measures of stalled sources whose whole window has passed since the clock of the source stopped."""
    policy, outdated = account.policy, set()
    for measure in policy.event_measures:
        panes_behind = (account.as_of_ms // measure.pane_ms) - (
            account.clocks_ms.get(measure.source, account.as_of_ms) // measure.pane_ms
        )
        if 0 < measure.panes <= panes_behind:
            outdated.add(measure.name)
    return {measure.name for measure in policy.measures if not outdated.isdisjoint(_inputs(policy, measure))}


def _inputs(policy: Policy, measure: Measure) -> set[str]:
    """Return the measures that one is computed from: itself, unless it is arithmetic."""
    if measure.expression is None:
        return {measure.name}
    return {name for each in names_in(measure.expression) for name in _inputs(policy, policy.measure(each))}
