"""Statistics: how events become a measure's number. One file a family; `STATS` names them all.

A statistic says which columns it needs (shared with every measure that needs the same) and reads its value out of
them. It knows nothing of points, weights or accounts beyond row numbers. Called by `stream.plan.plan` (needs) and
`stream.scoring.scoring` (read).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from stream.measures.base import HeldStat, Need, Stat
from stream.measures.counting import Count, Rate, Share, WeightedCount
from stream.measures.distinct import Distinct
from stream.measures.extremes import Extreme
from stream.measures.facts import Fact
from stream.measures.latest import DaysSinceLast, Last
from stream.measures.summing import Mean, Sum

STATS: Mapping[str, Stat] = MappingProxyType(
    {
        "count": Count(),
        "sum": Sum(),
        "mean": Mean(),
        "min": Extreme("min"),
        "max": Extreme("max"),
        "last": Last(),
        "days_since_last": DaysSinceLast(),
        "distinct_users": Distinct("user_id"),
        "distinct_features": Distinct("feature"),
        "distinct_roles": Distinct("role"),
        "rate": Rate(),
        "share": Share(),
        "weighted_count": WeightedCount(),
        "days_since": Fact(1),
        "days_until": Fact(-1),
        "value": Fact(),
    }
)

__all__ = ["STATS", "HeldStat", "Need", "Stat"]
