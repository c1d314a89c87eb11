"""A Hypothesis strategy for `complete`: how the unfinished pane of a measure counts.

Must not know the engine. Called by the strategies of policies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

COMPLETE: dict[str, tuple[bool | str, ...]] = {
    **dict.fromkeys(("count", "sum", "weighted_count"), (True, "at-least", False)),
    **dict.fromkeys(("mean", "min", "max", "share", "nps", "days_since_last", "rate"), (True, False)),
    **dict.fromkeys(("distinct_users", "distinct_features", "distinct_roles", "distinct"), ("at-least",)),
}
"""What `complete` may say, by statistic."""


@st.composite
def completeness(draw: DrawFn, measure: dict[str, Any]) -> dict[str, Any]:
    """Draw what a measure says of its unfinished pane, mostly nothing."""
    able = COMPLETE.get(measure["stat"], ())
    if "compare" in measure:  # the value that it has by itself, which is written out here, or false
        able = ("at-least" if able == ("at-least",) else True, False)
    return {"complete": draw(st.sampled_from(able))} if able and draw(st.integers(0, 2)) == 0 else {}
