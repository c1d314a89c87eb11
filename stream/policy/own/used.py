"""Which extensions a policy uses.

Called by `vitals check`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream.policy.normalisers import Grid
from stream.policy.own.normaliser import OwnNormaliser

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stream.policy.measures import Measure
    from stream.policy.own.extension import Group, Own


def used_extensions(measures: Iterable[Measure]) -> list[tuple[Group, Own]]:
    """The statistics and normalisers of other packages that measures have, each once, by kind and name."""
    used: dict[tuple[Group, str], Own] = {}
    for measure in measures:
        if measure.own is not None:
            used["statistic", measure.own.name] = measure.own
        for rule in (measure.normaliser, *(rule for _, rule in measure.by_segment)):
            for simple in (row for _, row in rule.rows) if isinstance(rule, Grid) else (rule,):
                if isinstance(simple, OwnNormaliser):
                    used["normaliser", simple.name] = simple
    return [(group, own) for (group, _), own in sorted(used.items())]
