"""Explanations of values from other measures, of grids and curves, and of limits that do not belong to their tier."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.explain.explain import Explanation, explain_message
from stream.explain.selector import select_score
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy
from tests.golden.replays import Log, replay

USERS = """
[measures.users]
source = "product-usage"
stat = "distinct_users"
window = "30d"
"""
SCORE = """
[scores.health]
min_change = 1
bands = [{ name = "good", from = 60 }, { name = "poor", from = 0 }]
"""


def explained(folder: Path, measures: str, log: Log, score: str = SCORE) -> Explanation:
    text = f'name = "p"\n{measures}\n{score}'
    replayed = replay(folder, text, log)
    policy = parse_policy(text)
    return explain_message(replayed.accounts["a"], compile_plan(policy), select_score(policy))


def derived(value: str, normalise: str, more: str = "") -> str:
    return f'{USERS}\n[measures.use]\nvalue = "{value}"\nweight = 1\nnormalise = {normalise}\n{more}\n'


LINE = '{ kind = "linear", zero_at = 0, hundred_at = 100 }'


def test_a_derived_value_is_one_factor_and_shows_its_inputs(tmp_path: Path) -> None:
    log = Log().users("a", 5).add("accounts", "a", 1, arr=20)
    explanation = explained(tmp_path, derived("100 * users / account.arr", LINE), log)
    assert explanation.words == [
        (
            "use: 100 * users / account.arr is 25 (users 5, arr 20); "
            "25.0 of 100 points, weight 100%: gives 25.0, costs 75.0."
        )
    ]
    (lift,) = explanation.lifts
    assert (lift.value, lift.needed, lift.points) == (25, 60, 60)


def test_a_derived_value_names_the_input_that_is_missing(tmp_path: Path) -> None:
    explanation = explained(tmp_path, derived("users / account.arr", LINE, "missing = 10"), Log().users("a", 5))
    assert explanation.words[0].startswith("use: users / account.arr has no value (users 5, arr missing); 10.0")


@pytest.mark.parametrize(
    ("before", "finding"), [(4, "-50 % against the windows before"), (0, "has nothing to compare")]
)
def test_a_derived_value_that_is_compared_has_a_sentence(tmp_path: Path, before: int, finding: str) -> None:
    logins = '[measures.logins]\nsource = "product-usage"\nstat = "count"\nwindow = "7d"\n'
    use = derived("2 * logins", LINE, 'compare = "previous"\nmissing = 50')
    log = Log().add("product-usage", "a", 3, times=2).add("product-usage", "a", 11, times=before)
    explanation = explained(tmp_path, use.replace(USERS, logins), log)
    assert finding in explanation.words[0]


@pytest.mark.parametrize(("tenure", "needed"), [("2026-03-01T00:00:00Z", 3), ("2025-01-01T00:00:00Z", 12)])
def test_a_lift_of_a_grid_uses_the_row_of_the_account(tmp_path: Path, tenure: str, needed: float) -> None:
    line = "kind = 'linear', zero_at = 0, hundred_at ="
    rows = f"[{{ from = 0, {line} 5 }}, {{ from = 90, {line} 20 }}]"
    measures = f"""{USERS}weight = 1\nnormalise = {{ kind = "grid", by = "tenure", rows = {rows} }}
[measures.tenure]
source = "accounts"
stat = "days_since"
field = "started_at"
"""
    explanation = explained(tmp_path, measures, Log().users("a", 2).add("accounts", "a", 1, started_at=tenure))
    (lift,) = explanation.lifts
    assert (lift.measure, lift.value, lift.needed) == ("users", 2, needed)


def test_a_lift_over_an_exclusive_limit_goes_above_it(tmp_path: Path) -> None:
    tiers = "[{ from = 0, points = 0 }, { above = 5, points = 100 }]"
    measures = f'{USERS}weight = 1\nnormalise = {{ kind = "tiers", tiers = {tiers} }}\n'
    (lift,) = explained(tmp_path, measures, Log().users("a", 5)).lifts
    assert (lift.value, lift.needed, lift.points) == (5, 6, 100)


def test_a_lift_of_a_curve_is_where_it_passes_the_points(tmp_path: Path) -> None:
    curve = "[{ at = 0, points = 0 }, { at = 10, points = 30 }, { at = 20, points = 100 }]"
    measures = f'{USERS}weight = 1\nnormalise = {{ kind = "curve", curve = {curve} }}\n'
    (lift,) = explained(tmp_path, measures, Log().users("a", 5)).lifts
    assert (lift.value, lift.needed) == (5, 15)  # 30 + 4.29 x 7 points reach 60 at 14.29


def test_inputs_share_columns_with_measures_and_a_policy_without_expressions_has_none() -> None:
    text = f'name = "p"\n{USERS}weight = 1\nnormalise = {LINE}\n{SCORE}'
    plain = compile_plan(parse_policy(text))
    both = compile_plan(
        parse_policy(text.replace(SCORE, derived("users / account.arr", LINE).replace(USERS, "") + SCORE))
    )
    assert (plain.inputs, plain.profile_inputs) == ((), ())
    assert {column.name for column in plain.columns} < {column.name for column in both.columns}
    assert [column.need.kind for column in both.columns] == ["members", "fact", "latest"]
    assert both.inputs == (("users", 0), ("account.arr", 2))
