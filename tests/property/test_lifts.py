"""What would lift an account: every change that is named is enough, possible, and the smallest of all tried."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.outputs import ScoreMessage, ScoreValue
from stream.engine.engine import Mode
from stream.explain.explain import Explanation, explain_message
from stream.explain.lifts import Lift
from stream.explain.selector import select_score
from stream.scoring.scoring import score_values
from tests.driving.engine import cuts, driven, partitions, plan_of, plausible_logs
from tests.driving.scores import has_segments, messages_of
from tests.oracle.lifts import Changes, is_stepped, range_of, step_of
from tests.oracle.policy import Measure, read_policy
from tests.strategies.effort import examples
from tests.strategies.policies import RICH
from tests.strategies.rich_policies import rich_policies

if TYPE_CHECKING:
    from stream.engine.engine import Engine
    from tests.oracle.engine import Record

CLOSE = Fraction(1, 10**7)


def exact(value: float | None) -> Fraction | None:
    return None if value is None else Fraction(repr(value))


def explained(engine: Engine, policy_text: str) -> list[tuple[Explanation, Changes]]:
    """Every score of every account, with the oracle's way to try changes."""
    plan, result = engine.plan, []
    names = [measure.name for measure in read_policy(policy_text).measures]
    for account, message in messages_of(engine).items():
        row = engine.accounts.index.rows([account])
        values = [None if value != value else value for value in engine.score(row).values[0].tolist()]  # noqa: PLR0124
        readings = dict(zip(names, values, strict=False))  # numbers of the profile follow
        typed = msgspec.json.decode(json.dumps(message), type=ScoreMessage)
        segment = message["segment"] if has_segments(policy_text) else None
        for name, score in message["scores"].items():
            explanation = explain_message(typed, plan, select_score(plan.policy, name), readings)
            if score["value"] is None:
                assert (explanation.lifts, explanation.next_band, explanation.notes) == ([], None, [])
                continue
            exact_values = {measure: exact(value) for measure, value in readings.items()}
            result.append((explanation, Changes(policy_text, name, segment, exact_values, score["band"])))
    return result


def assert_possible(measure: Measure, changes: Changes, needed: Fraction) -> None:
    low, high = range_of(measure)
    assert low <= needed <= high
    if is_stepped(measure, changes.values[measure.name]):
        steps = needed / step_of(measure)
        assert abs(steps - round(steps)) <= CLOSE, "between two possible values"


def assert_smallest(measure: Measure, changes: Changes, needed: Fraction) -> None:
    """No value that was tried is enough and a smaller change."""
    start, resolution = changes.values[measure.name], changes.resolution(measure)
    if start is None and changes.score.additive:
        start = Fraction(0)
    enough = [value for value in changes.tries(measure) if changes.is_enough(measure.name, value)]
    if start is not None:
        smallest = min([abs(value - start) for value in enough], default=abs(needed - start))
        assert abs(needed - start) <= smallest + resolution + CLOSE
        return
    fewest = min([changes.points(measure, value) for value in enough], default=Fraction(100))
    near = [changes.points(measure, needed + shift) for shift in (-resolution, 0, resolution)]
    assert min(near) <= fewest + CLOSE


def check(explanation: Explanation, changes: Changes) -> None:
    best = max(changes.score.bands, key=lambda band: band.lowest).name
    lifts: dict[str, Lift] = {lift.measure: lift for lift in explanation.lifts}
    assert (explanation.next_band is None) == (changes.band == best)
    if explanation.next_band is None or changes.is_enough():
        assert not lifts
        return
    names = [measure.name for measure in changes.measures]
    assert set(lifts) <= set(names)
    for measure in changes.measures:
        lift = lifts.get(measure.name)
        if lift is None:
            assert not [value for value in changes.tries(measure) if changes.is_enough(measure.name, value)]
            continue
        needed = exact(lift.needed)
        assert needed is not None
        assert exact(lift.value) == changes.values[measure.name]
        assert changes.is_enough(measure.name, needed)
        assert_possible(measure, changes, needed)
        assert_smallest(measure, changes, needed)


@settings(max_examples=examples(40))
@given(st.data(), plausible_logs(partitions=1, **RICH), rich_policies(max_measures=3))
def test_the_smallest_change_that_is_enough_is_named(data: st.DataObject, log: list[Record], policy_text: str) -> None:
    (records,) = partitions(log).values()
    engine = driven(data.draw(cuts(records, (Mode.HEAD,))), plan_of(policy_text)).engine
    if engine.as_of is None:
        return
    for explanation, changes in explained(engine, policy_text):
        check(explanation, changes)


@st.composite
def drawn_values(draw: st.DrawFn, policy_text: str) -> dict[str, Fraction | None]:
    """Draw a value for every measure, or none."""
    values: dict[str, Fraction | None] = {}
    for measure in read_policy(policy_text).measures:
        changes = Changes(policy_text, next(iter(read_policy(policy_text).tables)), None, {measure.name: None}, "")
        tries = st.sampled_from([value for value in changes.tries(measure) if abs(value) <= 500])
        values[measure.name] = exact(float(draw(tries))) if draw(st.integers(0, 4)) else None
    return values


@settings(max_examples=examples(60))
@given(st.data(), rich_policies(max_measures=4))
def test_the_smallest_change_from_any_values_and_any_band_is_named(data: st.DataObject, policy_text: str) -> None:
    plan = plan_of(policy_text)
    values = data.draw(drawn_values(policy_text))
    segment = data.draw(st.sampled_from([None, *(segment.name for segment in plan.policy.segments)]))
    names = [segment.name for segment in plan.policy.segments]
    numbers = np.array([[np.nan if value is None else float(value) for value in values.values()]])
    inside = np.array([-1 if segment is None else names.index(segment)], dtype=np.int8) if names else None
    scored = score_values(plan, numbers, inside)
    scores = {}
    for score_plan, score in zip(plan.scores, scored.scores, strict=True):
        model = score_plan.models[0 if inside is None else int(inside[0]) + 1]
        limited = [] if score.limited is None else score.limited[0].tolist()
        holding = [limit.name for limit, holds in zip(model.limits, limited, strict=False) if holds]
        band = data.draw(st.sampled_from([band.name for band in score_plan.score.bands]))
        value = float(score.values[0])
        scores[score_plan.score.name] = (
            ScoreValue(None, None, []) if np.isnan(value) else ScoreValue(value, band, [], holding or None)
        )
    message = ScoreMessage("a", 0, 1, plan.label, segment, scores)
    readings = {name: None if value is None else float(value) for name, value in values.items()}
    for name, score_value in scores.items():
        explanation = explain_message(message, plan, select_score(plan.policy, name), readings)
        if score_value.band is None:
            assert (explanation.lifts, explanation.next_band, explanation.notes) == ([], None, [])
        else:
            check(explanation, Changes(policy_text, name, segment, values, score_value.band))
