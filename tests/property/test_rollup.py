"""Roll-ups: after any order of changes to its children, a parent's record is that of its current children."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.outputs import RollupMessage, ScoreMessage, ScoreValue
from stream.consumers.rollup import Rollup

ACCOUNTS = ("a", "b", "c", "d")
PARENTS = (None, "p", "q", "a")


def message(
    account: str, parent: str | None, value: float, band: str = "good", arr: float | None = None
) -> ScoreMessage:
    scores = {"health": ScoreValue(value, band, [])}
    return ScoreMessage(account, int(value), 1, "p@1", None, scores, parent_id=parent, arr=arr)


def from_scratch(latest: dict[str, ScoreMessage | None], parent: str) -> tuple[float, float, str, float | None] | None:
    """Mean, worst, the worst account, and mean by ARR, exactly, computed from every account."""
    children = {
        child.account_id: child
        for child in latest.values()
        if child is not None and child.parent_id == parent != child.account_id
    }
    if not children:
        return None
    values = {name: Fraction(child.scores["health"].value) for name, child in children.items()}
    weights = {name: max(Fraction(child.arr or 0), Fraction(0)) for name, child in children.items()}
    total = sum(weights.values())
    weighted = float(sum(values[name] * weights[name] for name in values) / total) if total else None
    worst = min(values, key=lambda name: (values[name], name))
    return float(sum(values.values()) / len(values)), float(values[worst]), worst, weighted


def aggregates(rollup_message: RollupMessage | None) -> tuple[float, float, str, float | None] | None:
    if rollup_message is None:
        return None
    score = rollup_message.scores["health"]
    return score.mean, score.worst, score.worst_account, score.weighted


STEPS = st.lists(
    st.tuples(
        st.sampled_from(ACCOUNTS),
        st.sampled_from(PARENTS),
        st.floats(0, 100, allow_subnormal=False),
        st.sampled_from((None, 0.0, 10.0, 2.5, -1.0)),
        st.booleans(),
    ),
    max_size=30,
)


@given(STEPS)
def test_a_parent_has_the_aggregates_of_its_current_children(
    steps: list[tuple[str, str | None, float, float | None, bool]],
) -> None:
    rollup, latest, published = Rollup(), dict[str, ScoreMessage | None](), dict[str, RollupMessage | None]()
    for account, parent, value, arr, gone in steps:
        latest[account] = None if gone else message(account, parent, value, arr=arr)
        for changed in rollup.apply(account, latest[account]):
            published[changed] = rollup.message_of(changed)
    for parent in ("p", "q", "a"):
        expected = from_scratch(latest, parent)
        actual = aggregates(published.get(parent))
        assert actual == aggregates(rollup.message_of(parent))
        assert (expected is None) == (actual is None)
        if expected is not None and actual is not None:
            assert actual[1:3] == expected[1:3]
            assert actual[0] == pytest.approx(expected[0], rel=1e-12, abs=1e-9)
            assert actual[3] == (None if expected[3] is None else pytest.approx(expected[3], rel=1e-12, abs=1e-9))


def test_mean_worst_and_weighted_are_those_computed_by_hand() -> None:
    # 90 with ARR 1,000, 30 with 3,000, 60 without: mean 60; (90 x 1 + 30 x 3) / 4 = 45.
    rollup = Rollup()
    for account, value, band, arr in (("a", 90, "good", 1000), ("b", 30, "poor", 3000), ("c", 60, "good", None)):
        assert rollup.apply(account, message(account, "p", value, band, arr)) == {"p"}
    parent = rollup.message_of("p")
    assert parent is not None
    score = parent.scores["health"]
    assert (score.mean, score.weighted, score.worst, score.worst_account, score.worst_band) == (60, 45, 30, "b", "poor")
    assert (parent.children, score.children, score.bands, parent.as_of) == (3, 3, {"good": 2, "poor": 1}, 90)
    assert rollup.apply("b", message("b", "q", 30)) == {"p", "q"}
    assert rollup.apply("b", None) == {"q"}
    assert rollup.message_of("q") is None
