"""Expressions are read as arithmetic, written back for people, and part of a policy's digest by their meaning."""

from __future__ import annotations

import contextlib
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.measures.formula import change_in_percent, evaluate
from stream.policy.formulas.formula import FormulaError, parse_formula
from stream.policy.policy import parse_policy
from tests.oracle.formulas import names_in, value_of
from tests.strategies.derived import expressions

NAMES = ("a", "b", "open tickets")
POLICY = (Path(__file__).parents[1] / "policies" / "derived.toml").read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" a+b ", "a + b"),
        ("(a / (b))", "a / b"),
        ("a - (b - 1)", "a - (b - 1)"),
        ("a - b - 1", "a - b - 1"),
        ("(a + b) * 100", "(a + b) * 100"),
        ("-(a + b)", "-(a + b)"),
        ("min(a,b , 3.50)", "min(a, b, 3.5)"),
        ("'open tickets'/account.arr", '"open tickets" / account.arr'),
        ("a\n  / b", "a / b"),
        ("a / account.seats", "a / account.seats"),
        ("'account.seats' * 2", "account.seats * 2"),
        ("'account.seats bought' - 'account.class'", '"account.seats bought" - "account.class"'),
        ("days_since( account.trained_at )", "days_since(account.trained_at)"),
        ("a / days_until('account.go live')", 'a / days_until("account.go live")'),
        (
            "days_since('account.started_at') - account.days_since_start",
            "days_since(account.started_at) - account.days_since_start",
        ),
    ],
)
def test_an_expression_is_written_back_with_the_parentheses_it_needs(text: str, shown: str) -> None:
    formula = parse_formula(text, NAMES)
    assert formula.text == shown
    assert parse_formula(shown, NAMES) == formula


def test_inputs_are_named_once_in_the_order_of_the_text() -> None:
    assert parse_formula("b + a / account.arr - b", NAMES).inputs == ("b", "a", "account.arr")
    text = "a / 'account.seats' + days_since(account.x) + account.seats - days_until('account.x')"
    inputs = ("a", "account.seats", "days_since(account.x)", "days_until(account.x)")
    assert parse_formula(text, NAMES).inputs == inputs


@given(expressions(NAMES, 3), st.lists(st.fractions(-5, 5, max_denominator=8) | st.none(), min_size=10, max_size=10))
def test_values_are_those_of_the_oracle(text: str, drawn: list[Fraction | None]) -> None:
    numbers = ("account.arr", "account.days_since_start", "account.days_to_renewal", "account.seats")
    dates = ("days_since(account.trained)", "days_until(account.trained)", "days_until(account.renewal_at)")
    exact = dict(zip((*NAMES, *numbers, *dates), drawn, strict=True))
    formula = parse_formula(text, NAMES)
    assert set(formula.inputs) == set(names_in(text))
    inputs = {name: np.array([np.nan if value is None else float(value)]) for name, value in exact.items()}
    (value,) = evaluate(formula, inputs).tolist()
    expected = value_of(text, exact.__getitem__)
    assert value == pytest.approx(np.nan if expected is None else float(expected), rel=1e-7, abs=1e-7, nan_ok=True)
    assert parse_formula(formula.text, NAMES) == formula


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1 + 0.2 - 0.3 + a - a", 0.0),
        ("a / (0.1 + 0.2 - 0.3)", None),
        ("a / b * 100", 7.0),
        ("1e300 * 1e300 * a", None),
        ("min(1e300 * 1e300, a)", None),
        ("max(a, missing)", None),
        ("clamp(a, 10, 20)", 10.0),
        ("clamp(a, 20, 10)", 10.0),
        ("-a * 0", 0.0),
    ],
)
def test_every_expression_has_a_value_or_is_missing(text: str, value: float | None) -> None:
    inputs = {"a": np.array([7.0]), "b": np.array([100.0]), "missing": np.array([np.nan])}
    (result,) = evaluate(parse_formula(text, tuple(inputs)), inputs)
    assert (None if np.isnan(result) else result) == value
    assert np.isnan(result) or np.copysign(1.0, result) == 1.0


def test_a_change_is_exact_and_missing_without_something_before() -> None:
    now, before = np.array([0.2, 3.0, 3.0, np.nan]), np.array([0.25, 0.0, -1.0, 2.0])
    assert np.array_equal(change_in_percent(now, before), [-20.0, np.nan, np.nan, np.nan], equal_nan=True)


def test_a_long_or_deep_expression_is_refused() -> None:
    with pytest.raises(FormulaError, match="column 1000: longer than 1000 characters"):
        parse_formula("a" + " + 1" * 400, NAMES)
    with pytest.raises(FormulaError, match="nested more than 50 deep"):
        parse_formula("-" * 300 + "a", NAMES)
    with pytest.raises(FormulaError):
        parse_formula("(" * 400 + "a" + ")" * 400, NAMES)


def test_a_number_of_the_profile_must_not_have_the_name_of_a_measure() -> None:
    for name in ("account.arr", "account.seats", "days_since(account.signed)"):
        words = "is a number of the profile, and also the name"
        with pytest.raises(FormulaError, match=rf"column \d+: {re.escape(name)} {words}"):
            parse_formula(f"{name} + 1", (name,))


def test_a_quoted_name_is_a_measure_first() -> None:
    assert parse_formula("'account.seats' + 1", ("account.seats",)).inputs == ("account.seats",)


@given(st.text(max_size=40))
def test_any_text_is_an_expression_or_a_mistake(text: str) -> None:
    with contextlib.suppress(FormulaError):
        assert parse_formula(text, NAMES).inputs


def test_spaces_and_parentheses_do_not_change_the_digest_but_the_meaning_does() -> None:
    digest = parse_policy(POLICY).digest
    old = '"100 * active_users / account.arr"'
    for text, same in (
        ('"(100*active_users)/ account.arr"', True),
        ('"100.0 * active_users / account.arr"', True),
        ('"100 * (active_users / account.arr)"', False),
        ('"100 * active_users / account.days_since_start"', False),
    ):
        assert (parse_policy(POLICY.replace(old, text)).digest == digest) == same
    for old, new in (('by = "logins"', 'by = "trend"'), ("above = 20", "from = 20"), ("above = 50", "from = 50")):
        assert parse_policy(POLICY.replace(old, new)).digest != digest
