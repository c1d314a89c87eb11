"""Statistics: how the events of an account, or its profile, become the value of a measure. One statistic a file.

`STATS` has every statistic by its name in policies (`stat = "rate"`). A statistic says which columns it needs, which
measures with equal needs share, and reads its value out of them. It knows nothing of points, weights or accounts beyond
row numbers. Called by `stream.plan.plan` (needs) and `stream.scoring.measure_values` (read).

The module docstring of each statistic has its formula and an example that a test runs
(tests/unit/stream/measures/test_examples.py defines `value_of`, `days_ago` and `profile` for them).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from stream.measures.activity import Activity
from stream.measures.base import FallbackStat, Need, Stat
from stream.measures.count import Count
from stream.measures.days_since_last import DaysSinceLast
from stream.measures.days_to_first import DaysToFirst
from stream.measures.distinct import Distinct
from stream.measures.last import Last
from stream.measures.mean import Mean
from stream.measures.min_max import MinMax
from stream.measures.nps import Nps
from stream.measures.open_things import OpenThings
from stream.measures.own.statistic import OwnReader
from stream.measures.percentile import Percentile
from stream.measures.profile_field import ProfileField
from stream.measures.rate import Rate
from stream.measures.share import Share
from stream.measures.sum import Sum
from stream.measures.weighted_count import WeightedCount
from stream.policy.policy import Measure

STATS: Mapping[str, Stat] = MappingProxyType(
    {
        "count": Count(),
        "sum": Sum(),
        "mean": Mean(),
        "min": MinMax("min"),
        "max": MinMax("max"),
        "last": Last(),
        "days_since_last": DaysSinceLast(),
        "distinct_users": Distinct("user_id"),
        "distinct_features": Distinct("feature"),
        "distinct_roles": Distinct("role"),
        "rate": Rate(),
        "share": Share(),
        "weighted_count": WeightedCount(),
        "distinct": Distinct(),
        "nps": Nps(),
        "active": Activity("active"),
        "active_share": Activity("active_share"),
        "streak": Activity("streak"),
        "percentile": Percentile(),
        "open": OpenThings("open"),
        "open_max_days": OpenThings("open_max_days"),
        "open_mean_days": OpenThings("open_mean_days"),
        "days_to_first": DaysToFirst(),
        "days_since": ProfileField(1),
        "days_until": ProfileField(-1),
        "value": ProfileField(),
    }
)

__all__ = ["STATS", "FallbackStat", "Need", "Stat", "stat_of"]

_OWN = OwnReader()


def stat_of(measure: Measure) -> Stat:
    """The statistic of a measure, built in or of another package."""
    return STATS[measure.stat] if measure.own is None else _OWN
