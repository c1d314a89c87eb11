"""How a score is shown: on another scale, rounded; in records as the policy says, and compared nowhere."""

from __future__ import annotations

import doctest
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.policy.policy import parse_policy
from stream.policy.scores import Shown
from stream.publishing import shown
from tests.golden.test_documented_policies import SHOWN


def test_the_examples_give_what_they_say() -> None:
    result = doctest.testmod(shown)
    assert result.attempted
    assert not result.failed


@given(st.integers(-200_000, 200_000), st.sampled_from((1, 5, 10, 20, 100, 1000)), st.integers(0, 3))
def test_a_half_is_rounded_away_from_zero_as_decimal_numbers_are(thousandths: int, scale: int, decimals: int) -> None:
    exact = Decimal(thousandths) / 1000 * scale / 100
    rounded = abs(exact).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    sign = "-" if exact < 0 and rounded else ""
    assert shown.shown_text(thousandths / 1000, Shown(scale, decimals)) == f"{sign}{rounded}"


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("{ scale = 10 }", Shown(10, 0)),
        ("{ decimals = 1 }", Shown(100, 1)),
        ("{ scale = 5, decimals = 2 }", Shown(5, 2)),
    ],
)
def test_scale_and_decimals_have_defaults(table: str, expected: Shown) -> None:
    text = SHOWN["out-of-ten"].replace("{ scale = 10, decimals = 0 }", table)
    assert parse_policy(text).score.shown == expected


def test_a_policy_without_it_has_the_digest_that_it_had() -> None:
    text = SHOWN["out-of-ten"]
    without = text.replace("shown = { scale = 10, decimals = 0 }", "")
    assert parse_policy(without).score.shown is None
    assert parse_policy(without).digest != parse_policy(text).digest
