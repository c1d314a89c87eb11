"""Values of other systems: what is converted to the type of a field, and what stays as it is."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import BillingEvent, ProfileEvent, TicketEvent
from stream.mapping.values import (
    Kind,
    converted,
    decimal_of,
    is_finite,
    is_layout,
    kinds,
    minor_units,
    number_of,
    scaled,
    text_of,
    time_of,
    time_text,
)

NOON_MS = 1_774_612_800_000  # 2026-03-27T12:00:00Z
HOUR_MS = 3_600_000


def test_fields_have_the_kind_of_their_type() -> None:
    assert kinds(BillingEvent) == {
        "id": "text",
        "account_id": "text",
        "time": "time",
        "kind": "choice",
        "amount": "number",
        "currency": "text",
        "days_late": "number",
    }
    assert kinds(TicketEvent)["priority"] == "choice"
    profile = kinds(ProfileEvent)
    assert (profile["renewal_at"], profile["arr"], profile["owner"]) == ("time", "number", "text")
    assert not {"attributes", "cleared", "deletes", "stamps", "deleted"} & profile.keys()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (" acme ", "acme"),
        ("  ", None),
        (42, "42"),
        (2**70, str(2**70)),
        (-7, "-7"),
        (42.0, "42"),
        (True, "true"),
        (False, "false"),
        (0.5, 0.5),
        (1e300, 1e300),
        (float("inf"), float("inf")),
        (None, None),
        (["a"], ["a"]),
    ],
)
def test_a_text_is_trimmed_and_a_whole_number_or_flag_is_written(value: Any, expected: Any) -> None:
    assert text_of(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("12.50", 12.5),
        (" -3 ", -3.0),
        ("1e3", 1000.0),
        ("", None),
        (" ", None),
        ("1,5", "1,5"),
        ("1_000", "1_000"),
        ("inf", math.inf),
        ("-1e999", -math.inf),
        ("9" * 400, math.inf),
        (Decimal("12.50"), 12.5),
        ("abc", "abc"),
        (7, 7),
        (True, True),
        (None, None),
        ([1], [1]),
    ],
)
def test_a_number_is_read_from_a_text_that_is_one(value: Any, expected: Any) -> None:
    assert number_of(value) == expected


def test_a_text_that_says_it_is_no_number_is_not_finite() -> None:
    assert math.isnan(number_of("NaN"))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, {"a": [1, {"b": math.nan}]}, [math.inf]])
def test_what_is_not_finite_is_found_at_any_depth(value: Any) -> None:
    assert not is_finite(value)


@pytest.mark.parametrize("value", [0.0, 1e308, 10**400, "nan", None, True, {"a": [1, 2.5]}, []])
def test_everything_else_is_finite(value: Any) -> None:
    assert is_finite(value)


def test_what_is_beyond_a_float_after_conversion_is_not_finite() -> None:
    assert minor_units(10**400, "usd") == math.inf
    assert scaled(10**400, 2.0) == math.inf
    assert scaled(-(10**400), 0.5) == -math.inf
    assert scaled(1e308, 10) == math.inf
    assert (scaled(3, 2.0), scaled(True, 2.0), scaled("3", 2.0)) == (6.0, True, "3")


@given(
    st.integers(-(10**20), 10**20),
    st.sampled_from(
        [("s", Fraction(1000)), ("ms", Fraction(1)), ("us", Fraction(1, 1000)), ("ns", Fraction(1, 10**6))]
    ),
)
def test_a_whole_number_is_converted_exactly_in_every_unit(number: int, unit: tuple[str, Fraction]) -> None:
    name, milliseconds = unit
    assert time_of(number, name) == math.floor(number * milliseconds)
    assert time_of(str(number) + ".0" if abs(number) > 10**9 else number, name) == math.floor(number * milliseconds)


def test_a_number_with_a_fraction_is_converted_by_the_digits_that_it_is_written_with() -> None:
    assert time_of("1774612800999.999999", "ms") == 1_774_612_800_999
    assert time_of("1774612800123999999.5", "ns") == 1_774_612_800_123
    assert time_of(4.35, "s") == 4350, "4.35 * 1000 as floats is less than 4350"
    assert time_of(Decimal("1774612800.1239999"), "s") == 1_774_612_800_123


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        (1999, "usd", 19.99),
        (1999, "EUR", 19.99),
        (1999, None, 19.99),
        (1999, 7, 19.99),
        (1999, "jpy", 1999.0),
        (1999, "MGA", 1999.0),
        (12340, "kwd", 12.34),
        (50_000, "isk", 500.0),
        (50_000, "ugx", 500.0),
        (-500, "usd", -5.0),
        (True, "usd", True),
        ("1999", "usd", "1999"),
        (None, "usd", None),
    ],
)
def test_an_amount_in_the_smallest_unit_is_divided_by_that_of_its_currency(
    amount: Any, currency: Any, expected: Any
) -> None:
    assert minor_units(amount, currency) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-27T12:00:00Z", NOON_MS),
        ("2026-03-27T14:00:00+02:00", NOON_MS),
        ("2026-03-27T14:00:00+0200", NOON_MS),
        ("2026-03-27T14:00:00+02", NOON_MS),
        ("2026-03-27 12:00:00+00", NOON_MS),
        ("2026-03-27 12:00:00 UTC", NOON_MS),
        ("2026-03-27 12:00:00 GMT", NOON_MS),
        ("2026-03-27T12:00:00", NOON_MS),
        ("2026-03-27 12:00", NOON_MS),
        (" 2026-03-27T12:00:00.000Z ", NOON_MS),
        ("2026-03-27T12:00:00.123456Z", NOON_MS + 123),
        ("2026-03-27 12:00:00.123456789", NOON_MS + 123),
        ("2026-03-27", NOON_MS - 12 * HOUR_MS),
        ("20260327", NOON_MS - 12 * HOUR_MS),
        (str(NOON_MS), NOON_MS),
        (NOON_MS, NOON_MS),
        (float(NOON_MS), NOON_MS),
        (NOON_MS + 0.9, NOON_MS),
        (datetime(2026, 3, 27, 12, tzinfo=UTC), NOON_MS),
        (datetime(2026, 3, 27, 12), NOON_MS),  # noqa: DTZ001 -- TOML and Parquet have times without an offset
        (date(2026, 3, 27), NOON_MS - 12 * HOUR_MS),
        ("", None),
        ("  ", None),
        ("yesterday", "yesterday"),
        ("27.03.2026", "27.03.2026"),
        ("2026-13-01", "2026-13-01"),
        (
            "\u00b2\u00b2\u00b2\u00b2\u00b2\u00b2\u00b2\u00b2\u00b2",
            "\u00b2\u00b2\u00b2\u00b2\u00b2\u00b2\u00b2\u00b2\u00b2",
        ),
        ("9" * 5000, "9" * 5000),
        (True, True),
        (None, None),
        ([1], [1]),
        (float("inf"), float("inf")),
        (10**400, 10**400),
    ],
)
def test_a_time_is_read_in_its_usual_notations(value: Any, expected: Any) -> None:
    assert time_of(value) == expected


def test_what_is_not_a_number_is_no_time() -> None:
    nan = float("nan")
    assert time_of(nan) is nan


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        (NOON_MS // 1000, "s"),
        (NOON_MS, "ms"),
        (NOON_MS * 1000, "us"),
        (NOON_MS * 1_000_000, "ns"),
        (str(NOON_MS // 1000), "s"),
        (f"{NOON_MS // 1000}.0", "s"),
        ("2026-03-27T12:00:00Z", "s"),
    ],
)
def test_a_number_is_a_time_in_its_unit(value: Any, unit: str) -> None:
    assert time_of(value, unit) == NOON_MS


def test_fractions_of_a_unit_are_kept_to_the_millisecond() -> None:
    assert time_of(1.5, "s") == 1500
    assert time_of("1.9999", "s") == 1999
    assert time_of(-0.5, "ms") == -1
    assert time_of(20260327, "s") == 20_260_327_000


@pytest.mark.parametrize(
    ("value", "layout", "expected"),
    [
        ("27.03.2026 12:00", "%d.%m.%Y %H:%M", NOON_MS),
        ("03/27/2026", "%m/%d/%Y", NOON_MS - 12 * HOUR_MS),
        ("27.03.2026 14:00 +0200", "%d.%m.%Y %H:%M %z", NOON_MS),
        ("2026-03-27", "%d.%m.%Y", "2026-03-27"),
        (5, "%d.%m.%Y", 5),
    ],
)
def test_a_text_is_read_by_its_layout(value: Any, layout: str, expected: Any) -> None:
    assert time_of(value, None, layout) == expected


@pytest.mark.parametrize("layout", ["%d.%m.%Y", "%Y-%m-%dT%H:%M:%S.%f%z", "%b %d, %Y %I:%M %p", "%c", "week"])
def test_a_layout_can_be_read_back(layout: str) -> None:
    assert is_layout(layout)


@pytest.mark.parametrize("layout", ["%Q", "%d.%", "%G"])
def test_what_strptime_does_not_know_is_no_layout(layout: str) -> None:
    assert not is_layout(layout)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (NOON_MS, "2026-03-27T12:00:00Z"),
        (NOON_MS + 5, "2026-03-27T12:00:00.005Z"),
        (-1000, "1969-12-31T23:59:59Z"),
        (2**60, 2**60),
        ("soon", "soon"),
        (True, True),
        (None, None),
    ],
)
def test_a_time_of_an_attribute_is_a_text(value: Any, expected: Any) -> None:
    assert time_text(value) == expected


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (7, "text", "7"),
        (" Urgent ", "choice", "urgent"),
        (["x"], "choice", ["x"]),
        ("7", "number", 7.0),
        ("2026-03-27T12:00:00Z", "time", NOON_MS),
        (" as it is ", "any", " as it is "),
    ],
)
def test_a_value_is_converted_to_the_kind_of_its_field(value: Any, kind: Kind, expected: Any) -> None:
    assert converted(value, kind) == expected


@pytest.mark.parametrize(
    ("text", "mark", "number"),
    [
        ("12.000,50", ",", 12000.5),
        (" -1.234.567,8 ", ",", -1_234_567.8),
        ("12 000,50", ",", 12000.5),
        ("12\u00a0000\u202f000", ",", None),
        ("12\u202f000", ",", 12000.0),
        ("12'000", ".", 12000.0),
        ("12\u2019000.5", ".", 12000.5),
        ("4.800", ",", 4800.0),
        ("4.800", ".", 4.8),
        ("+7", ",", 7.0),
        ("7,5", ",", 7.5),
        ("4.8", ",", None),
        ("12.00,5", ",", None),
        ("1234.567", ",", None),
        ("7,", ",", None),
        (",5", ",", None),
        ("7 EUR", ",", None),
        ("", ",", None),
        ("\u0667", ",", None),
    ],
)
def test_a_number_is_read_with_the_decimal_mark_that_it_has(text: str, mark: str, number: float | None) -> None:
    assert decimal_of(text, mark) == (text if number is None else number)


@given(st.decimals(-(10**12), 10**12, places=2))
def test_a_number_as_it_is_written_elsewhere_is_the_number(number: Decimal) -> None:
    written = f"{number:,.2f}"
    assert decimal_of(written, ".") == float(number)
    assert decimal_of(written.translate(str.maketrans(",.", ".,")), ",") == float(number)
