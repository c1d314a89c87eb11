"""Roll-ups: after any order of changes to its children, a parent's record is that of its current children."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.outputs import RollupMessage, ScoreMessage, ScoreValue, State
from stream.consumers.rollup import Rollup

ACCOUNTS = ("a", "b", "c", "d")
PARENTS = (None, "p", "q", "a")


def message(
    account: str, parent: str | None, value: float, band: str = "good", arr: float | None = None
) -> ScoreMessage:
    scores = {"health": ScoreValue(value, band, [])}
    return ScoreMessage(account, int(value), 1, "p@1", None, scores, parent_id=parent, arr=arr)


def from_scratch(latest: dict[str, ScoreMessage | None], parent: str) -> tuple[float, float, str, float | None] | None:
    """Mean, worst, whose, and mean by ARR, exactly, by looking at every account."""
    held = sorted(
        (score.account_id, score) for score in latest.values() if score is not None and score.parent_id == parent
    )
    held = [(name, score) for name, score in held if name != parent]
    if not held:
        return None
    values = {name: Fraction(score.scores["health"].value or 0) for name, score in held}
    weights = {name: max(Fraction(score.arr or 0), Fraction(0)) for name, score in held}
    total = sum(weights.values())
    weighted = float(sum(values[name] * weights[name] for name in values) / total) if total else None
    worst = min(values, key=lambda name: (values[name], name))
    return float(sum(values.values()) / len(values)), float(values[worst]), worst, weighted


def figures_of(rolled_up: RollupMessage | None) -> tuple[float, float, str, float | None] | None:
    if rolled_up is None:
        return None
    score = rolled_up.scores["health"]
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
    rollup, latest, scored_batch = Rollup(), dict[str, ScoreMessage | None](), dict[str, RollupMessage | None]()
    for account, parent, value, arr, gone in steps:
        latest[account] = None if gone else message(account, parent, value, arr=arr)
        for changed in rollup.apply(account, latest[account]):
            scored_batch[changed] = rollup.message_of(changed)
    for parent in ("p", "q", "a"):
        expected = from_scratch(latest, parent)
        rolled_up = figures_of(scored_batch.get(parent))
        assert rolled_up == figures_of(rollup.message_of(parent))
        assert (expected is None) == (rolled_up is None)
        if expected is not None and rolled_up is not None:
            assert rolled_up[1:3] == expected[1:3]
            assert rolled_up[0] == pytest.approx(expected[0], rel=1e-12, abs=1e-9)
            assert rolled_up[3] == (None if expected[3] is None else pytest.approx(expected[3], rel=1e-12, abs=1e-9))


def test_mean_worst_and_weighted_are_those_computed_by_hand() -> None:
    # 90 with ARR 1,000, 30 with 3,000, 60 without: mean 60; (90 x 1 + 30 x 3) / 4 = 45.
    rollup = Rollup()
    for account, value, band, arr in (("a", 90, "good", 1000), ("b", 30, "poor", 3000), ("c", 60, "good", None)):
        assert rollup.apply(account, message(account, "p", value, band, arr)) == {"p"}
    rolled_up = rollup.message_of("p")
    assert rolled_up is not None
    score = rolled_up.scores["health"]
    assert (score.mean, score.weighted, score.worst, score.worst_account, score.worst_band) == (60, 45, 30, "b", "poor")
    assert (rolled_up.children, score.children, score.bands, rolled_up.as_of) == (3, 3, {"good": 2, "poor": 1}, 90)
    assert rollup.apply("b", message("b", "q", 30)) == {"p", "q"}
    assert rollup.apply("b", None) == {"q"}
    assert rollup.message_of("q") is None


@pytest.mark.parametrize("state", ["ended", "no-data"])
def test_a_child_without_a_score_is_no_child(state: State) -> None:
    rollup = Rollup()
    rollup.apply("a", message("a", "p", 40))
    rollup.apply("b", message("b", "p", 80))
    gone = ScoreMessage("a", 90, 2, "p@1", None, {"health": ScoreValue(None, None, [])}, parent_id="p", state=state)
    assert rollup.apply("a", gone) == {"p"}
    assert figures_of(rollup.message_of("p")) == (80, 80, "b", None)
    assert rollup.apply("a", message("a", "p", 60)) == {"p"}
    assert figures_of(rollup.message_of("p")) == (70, 60, "a", None)


def test_a_score_that_only_some_children_have_is_of_those() -> None:
    rollup = Rollup()
    rollup.apply("a", ScoreMessage("a", 1, 1, "p@1", None, {"health": ScoreValue(None, None, [])}, parent_id="p"))
    rolled_up = rollup.message_of("p")
    assert rolled_up is not None
    assert (rolled_up.children, rolled_up.scores) == (1, {})
