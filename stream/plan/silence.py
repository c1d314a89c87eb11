"""Which measures silence could improve, and for how long an account without events is scored.

Owns the rule that no measure counts more while an account is silent: the measures that need it (`improved_by_silence`),
and after how many days without an event an account has no data (`dormant_days`). Until then, columns keep the panes of
the windows that ended with the last event of an account. Knows no accounts and no events. Called by
`stream.plan.plan.compile_plan`; `stream.scoring.silence` applies the rule. Definition:
docs/reference/policy/status.md#while-an-account-is-silent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from schemas.events import CONTROL_SOURCE
from stream.policy.measures import FACTS_SOURCE
from stream.policy.normalisers import Decay, Grid, Linear, Normaliser, Threshold, Tiers
from stream.policy.own.normaliser import OwnNormaliser
from stream.policy.policy import Measure, Policy, Score
from stream.policy.scores import MakeUp
from stream.policy.windows import LONGEST_WINDOW

COUNTING_STATS = (
    "count",
    "sum",
    "rate",
    "weighted_count",
    "distinct_users",
    "distinct_features",
    "distinct_roles",
    "distinct",
    "active",
    "active_share",
    "streak",
)
"""Statistics that have a value without events."""
_LEAST_DORMANT_DAYS = 35
"""A month and a few days: an account that has one event a month has data."""
_DAYS_LATE = 7
_HOURS = 24


def improved_by_silence(policy: Policy) -> frozenset[str]:
    """Names of the measures that could count more, or be missing, because no event comes; and of those they read.

    A number of events that counts more the larger it is can only fall. A field of the profile does not change by it.
    """
    if policy.status.while_silent == "now":
        return frozenset()
    names = [measure.name for measure in policy.measures if _may_improve(measure, policy)]
    return frozenset(measure.name for measure in with_reads(names, policy))


def with_reads(names: Iterable[str], policy: Policy) -> list[Measure]:
    """Measures, and those that they are computed from; grids may read each other."""
    by_name = {measure.name: measure for measure in policy.measures}
    waiting, measures = list(names), dict[str, Measure]()
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in measures:
            measures[name] = by_name[name]
            waiting += by_name[name].reads
    return list(measures.values())


def _may_improve(measure: Measure, policy: Policy) -> bool:
    if measure.source == FACTS_SOURCE or any(map(_is_left_out, with_reads([measure.name], policy))):
        return False
    counts = measure.stat in COUNTING_STATS and measure.compare is None and not measure.has_grid
    if not counts or measure.stat == "sum":  # amounts can be below 0
        return True
    rules = [rule for rule in (measure.normaliser, *(rule for _, rule in measure.by_segment)) if rule is not None]
    return any(map(falls, rules)) or any(impact < 0 for impact in impacts_of(measure.name, policy))


def _is_left_out(measure: Measure) -> bool:
    """Whether it depends on other accounts, or on controls other than a pulse, which are no events of the account."""
    by_people = measure.source == CONTROL_SOURCE and ("kind", ("pulse",)) not in measure.where
    return by_people or measure.compare == "peers"


def impacts_of(name: str, policy: Policy) -> Iterator[float]:
    """The impacts of a measure in additive scores and their segments."""
    for score in policy.scores:
        for make_up in _make_ups(score, policy):
            yield from (impact for measure, impact in make_up.impacts if measure == name)


def _make_ups(score: Score, policy: Policy) -> Iterator[MakeUp]:
    others = {other.name: other for other in policy.scores}
    for segment in ("", *(segment.name for segment in policy.segments)):
        make_up, _, _ = score.made_in(segment, others)
        if make_up is not None:
            yield make_up


def falls(rule: Normaliser) -> bool:
    """Whether a larger value can have fewer points."""
    if isinstance(rule, Grid):
        return any(falls(row) for _, row in rule.rows)
    if isinstance(rule, Linear):
        return rule.hundred_at < rule.zero_at
    if isinstance(rule, Decay | OwnNormaliser):  # of another package nothing is known
        return True
    if isinstance(rule, Threshold):
        ascending = rule.levels[::-1] if rule.good > rule.average else rule.levels
        return bool(np.any(np.diff(ascending) < 0))
    steps = rule.steps if isinstance(rule, Tiers) else rule.knots
    return bool(np.any(np.diff([points for _, points in steps]) < 0))


def dormant_days(policy: Policy) -> int:
    """Without an event for so many days an account has no data, unless all windows are empty before that.

    By default a week more than the shortest time that a measure looks back: it says how often events are expected.
    """
    if policy.status.dormant_days is not None:
        return policy.status.dormant_days
    spans = [_days(measure) for measure in policy.measures if measure.source != FACTS_SOURCE and not measure.formula]
    return max(_LEAST_DORMANT_DAYS, min(spans, default=0) + _DAYS_LATE)


def _days(measure: Measure) -> int:
    """How many days the measure looks back: it may hold a value for longer than its window, or have no window."""
    panes = measure.stale_after or measure.window.panes or LONGEST_WINDOW["day"]
    return panes if measure.window.pane == "day" else -(-panes // _HOURS)
