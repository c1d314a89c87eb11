"""The oracle's rule for silent accounts: the worse of a measure now, and at the end of the day of the last event.

Owns a second reading of docs/reference/policy/status.md#while-an-account-is-silent. Must not know scores, order or the
product's own code. Called by `tests.oracle.scores`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.oracle.formulas import names_in
from tests.oracle.policy import DAY_MS
from tests.oracle.status import is_alive_by

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction

    from tests.oracle.events import Event
    from tests.oracle.policy import Measure, Policy

    Rating = tuple[Fraction | None, Fraction | None]


def last_moment_ms(policy: Policy, events: Sequence[Event], as_of_ms: int) -> int | None:
    """Return the midnight after the account's last event, if that is in the past and the account is not dormant."""
    if policy.status.get("while_silent") == "now":
        return None
    days = [event.time_ms // DAY_MS for event in events if event.time_ms <= as_of_ms and is_alive_by(event)]
    silent_days = as_of_ms // DAY_MS - max(days, default=as_of_ms // DAY_MS)
    return (max(days) + 1) * DAY_MS if 1 < silent_days < policy.dormant_days else None


def worse(policy: Policy, now: Mapping[str, Rating], then: Mapping[str, Rating]) -> dict[str, Rating]:
    """Return the value and points of each measure: those of then where they are worse, or where one is missing."""
    return {
        measure.name: _worse(policy, measure, now[measure.name], then[measure.name])
        if _is_of_the_account(policy, measure)
        else now[measure.name]
        for measure in policy.measures
    }


def _worse(policy: Policy, measure: Measure, now: Rating, then: Rating) -> Rating:
    sign, index = (1, 1) if {"normalise", "segments"} & measure.settings.keys() else (_first_impact(policy, measure), 0)
    if sign == 0:
        return now
    before, after = then[index], now[index]
    if before is None or after is None:
        return now if before is after else then
    return then if sign * before < sign * after else now


def _first_impact(policy: Policy, measure: Measure) -> Fraction | int:
    """Return the first impact of a measure among the scores and their segments."""
    segments = [None, *(segment.name for segment in policy.segments)]
    by_segment = [policy.scores_in(segment) for segment in segments]
    impacts = (score.impacts.get(measure.name) for scores in zip(*by_segment, strict=True) for score in scores)
    return next((impact for impact in impacts if impact is not None), 0)


def _is_of_the_account(policy: Policy, measure: Measure) -> bool:
    """Say whether it depends on nothing but the account's events: not on peers, nor on what people say of it."""
    waiting, known = [measure], {measure.name}
    while waiting:
        each = waiting.pop()
        if each.source == "controls" and each.settings.get("where", {}).get("kind") != ["pulse"]:
            return False
        if each.settings.get("compare") == "peers":
            return False
        waiting += [policy.measure(name) for name in _reads(each) if name not in known]
        known |= _reads(each)
    return True


def _reads(measure: Measure) -> set[str]:
    """Return the names in a measure's arithmetic, and those of the measures that select rows of its grids."""
    rules = [measure.settings, *measure.settings.get("segments", {}).values()]
    grids = {rule["normalise"]["by"] for rule in rules if rule.get("normalise", {}).get("kind") == "grid"}
    return grids | (set(names_in(measure.expression)) if measure.expression else set())
