"""How a score is shown to people: on the policy's scale, and rounded. Presentation only.

Called by `stream.publishing.encoding`. The definition is in docs/reference/policy/scores.md#presentation.
"""

from __future__ import annotations

import math

from stream.policy.normalisers import FULL_POINTS
from stream.policy.scores import Shown

_EXACT = 6
"""Decimals that are left of a number before it is rounded: 100.49999999999999 is 100.5."""


def shown_text(value: float, shown: Shown) -> str | None:
    """A score as it is shown; a half is rounded away from zero. None for a missing score.

    >>> [shown_text(value, Shown(10, 0)) for value in (62.5, 65, 64.99, -65, 100)]
    ['6', '7', '6', '-7', '10']
    >>> shown_text(62.5, Shown(10, 2)), shown_text(1.005, Shown(100, 2)), shown_text(math.nan, Shown(10, 0))
    ('6.25', '1.01', None)
    """
    if math.isnan(value):
        return None
    units = math.floor(round(abs(value) * shown.scale / FULL_POINTS * 10**shown.decimals, _EXACT) + 0.5)
    return f"{math.copysign(units / 10**shown.decimals, value if units else 1):.{shown.decimals}f}"
