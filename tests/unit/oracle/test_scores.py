"""The oracle's scores, exceptions and segments, judged by numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracle.cases import (
    BANDS,
    DAY,
    NOON,
    NOW,
    ONE_BAND,
    event,
    log,
    measure,
    policy,
    profile,
    score,
    scored,
    signal,
    weights_of,
)
from tests.oracle.engine import boundary_scores_all
from tests.strategies.policies import DAY_MS

# ---------------------------------------------------------------------------------------------------------------------
# Weights

ZUDO = {"usage": 20, "tickets": 16, "nps": 16, "billing": 16, "events": 12, "pulse": 20}


def test_zudo_shares_the_weight_of_a_missing_pulse() -> None:
    text = policy(*(measure(name, f"weight = {weight}") for name, weight in ZUDO.items()), "[scores.health]", BANDS)
    whole = score(log(*(signal(name, 50) for name in ZUDO)), text)
    assert weights_of(whole) == {name: weight / 100 for name, weight in ZUDO.items()}
    assert (whole.value, whole.redistribution) == (50, 0)
    less = score(log(*(signal(name, 50) for name in ZUDO if name != "pulse")), text)
    assert weights_of(less) == {"usage": 0.25, "tickets": 0.2, "nps": 0.2, "billing": 0.2, "events": 0.15, "pulse": 0}
    assert less.nominal == {"usage": 10, "tickets": 8, "nps": 8, "billing": 8, "events": 6, "pulse": 0}
    assert (less.value, less.redistribution, less.extras) == (50, 10, {})


def test_vitally_thirds_on_a_scale_of_ten() -> None:
    points = 'normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }'
    text = policy(*(measure(name, "weight = 1", points=points) for name in "xyz"), "[scores.health]", BANDS)
    actual = score(log(signal("x", 10), signal("y", 10), signal("z", 0)), text)
    assert actual.value == 200 / 3
    assert (round(actual.value, 2), actual.band) == (66.67, "fair")


def test_natero_linear() -> None:
    points = 'normalise = { kind = "linear", zero_at = 7, hundred_at = 30 }'
    text = policy(measure("m", "weight = 1", points=points), "[scores.health]", ONE_BAND)
    for value, expected in ((18, 1100 / 23), (7, 0), (5, 0), (30, 100), (35, 100)):
        assert score(log(signal("m", value)), text).value == expected
    assert round(1100 / 23) == 48


GROUPED = policy(
    *(measure(name) for name in "abcd"),
    "[scores.health]\n" + BANDS,
    "[scores.health.groups.one]\nweight = 3\nmeasures = { a = 2, b = 1 }",
    "[scores.health.groups.two]\nweight = 1\nmeasures = { c = 1, d = 3 }",
)


@pytest.mark.parametrize(
    ("present", "weights", "value"),
    [
        ("abcd", (6 / 12, 3 / 12, 1 / 16, 3 / 16), 40 * 0.5 + 80 * 0.25 + 32 / 16 + 16 * 3 / 16),
        ("bcd", (0, 3 / 4, 1 / 16, 3 / 16), 60 + 2 + 3),
        ("ab", (2 / 3, 1 / 3, 0, 0), 160 / 3),
        ("bd", (0, 3 / 4, 0, 1 / 4), 64),
        ("", (0, 0, 0, 0), None),
    ],
)
def test_a_missing_weight_goes_to_its_group_first(
    present: str, weights: tuple[float, ...], value: float | None
) -> None:
    values = {"a": 40, "b": 80, "c": 32, "d": 16}
    actual = score(log(signal("other", 1), *(signal(name, values[name]) for name in present)), GROUPED)
    assert tuple(weights_of(actual).values()) == weights
    assert actual.value == (None if value is None else pytest.approx(value, rel=1e-15))
    nominal = {"a": 20, "b": 20, "c": 2, "d": 3}
    shown = {name: nominal[name] if name in present else 0 for name in "abcd"}
    assert actual.nominal == ({} if value is None else shown)
    assert actual.redistribution == pytest.approx((value or 0) - sum(nominal[name] for name in present), abs=1e-12)


@pytest.mark.parametrize(
    ("missing", "value", "points", "weight"),
    [('"redistribute"', 40, None, 0), ('"neutral"', 42.5, 50, 0.25), ('"zero"', 30, 0, 0.25), ("80", 50, 80, 0.25)],
)
def test_words_for_missing(missing: str, value: float, points: float | None, weight: float) -> None:
    gone = measure("gone", f"missing = {missing}", "weight = 1")
    text = policy(measure("here", "weight = 3"), gone, "[scores.health]", BANDS)
    actual = score(log(signal("here", 40)), text)
    assert actual.value == value
    assert actual.factors[1] == ("gone", None, points, weight, (points or 0) * weight)


def test_several_scores_each_with_its_own_measures_and_bands() -> None:
    text = policy(
        measure("x", "weight = 1"),
        measure("y", "weight = 3"),
        measure("z"),
        "[scores.health]",
        BANDS,
        "[scores.churn]\nweights = { z = 2, x = 2 }",
        ONE_BAND,
    )
    actual = scored(log(signal("x", 20), signal("y", 60), signal("z", 100)), text)
    assert actual.segment is None
    assert {name: (score.value, score.band, score.alert) for name, score in actual.scores.items()} == {
        "health": (50, "fair", "warning"),
        "churn": (60, "all", None),
    }
    assert list(weights_of(actual.scores["churn"])) == ["x", "z"]


# ---------------------------------------------------------------------------------------------------------------------
# Additive scores

REFERRAL = 'source = "engagement"\nstat = "count"\nwhere = { kind = ["referral"] }\nwindow = "30d"'
URGENT = 'source = "support-tickets"\nstat = "count"\nwhere = { priority = ["urgent"] }\nwindow = "30d"'
SUM_OF_IMPACTS = log(
    event("engagement", NOON, kind="referral", role="admin"),
    event("engagement", NOON, kind="referral", role="sponsor"),
    *(event("support-tickets", NOON, ticket_id=str(index), status="opened", priority="urgent") for index in range(3)),
)


def additive(line: str, bands: str = ONE_BAND, rating: float = 0) -> str:
    impacts = f"{{ referral = 10, urgent = -4, nps = {rating} }}"
    return policy(
        measure("referral", REFERRAL, points=""),
        measure("urgent", URGENT, points=""),
        measure("nps", "missing = 90"),
        f'[scores.upsell]\nmodel = "additive"\nimpacts = {impacts}\n{line}\n{bands}',
    )


def test_the_sum_of_count_times_impact() -> None:
    bands = 'min_change = 1\nbands = [{ name = "high", from = 9 }, { name = "low", from = 8 }]'
    actual = score(SUM_OF_IMPACTS, additive("", bands, rating=2))
    assert (actual.value, actual.band, actual.extras) == (8, "low", {})  # 2 * 10 - 3 * 4; what is missing is 0
    assert [(name, value, contribution) for name, value, _, _, contribution in actual.factors] == [
        ("referral", 2, 20),
        ("urgent", 3, -12),
        ("nps", None, 0),
    ]
    assert actual.nominal == {"referral": 20, "urgent": -12, "nps": 0}
    below = 'min_change = 1\nbands = [{ name = "high", from = 9 }, { name = "low", from = 8.5 }]'
    assert score(SUM_OF_IMPACTS, additive("", below)).band == "low"


@pytest.mark.parametrize(
    ("line", "value", "parts", "base", "clamping"),
    [
        ((-50, 150), 29, (10, -6), 25, 0),  # (8 + 50) / 200
        ((0, 5), 100, (400, -240), 0, -60),
        ((10, 20), 0, (200, -120), -100, 20),
        ((10, 0), 20, (-200, 120), 100, 0),  # the line falls
    ],
)
def test_a_sum_on_a_line(
    line: tuple[int, int], value: float, parts: tuple[float, ...], base: float, clamping: float
) -> None:
    actual = score(SUM_OF_IMPACTS, additive(f"map = {{ zero_at = {line[0]}, hundred_at = {line[1]} }}"))
    assert (actual.value, actual.extras) == (value, {"base": base, "clamping": clamping})
    assert [contribution for *_, contribution in actual.factors] == [*parts, 0]


# ---------------------------------------------------------------------------------------------------------------------
# Exceptions

EXCEPTIONS = policy(
    measure("usage", "weight = 9"),
    measure("payments", "weight = 1"),
    measure("voice", "weight = 0.000001"),
    "[scores.health]\n" + BANDS,
    "exceptions = [{ measure = 'payments', points_below = 100, cap = 60 }, "
    "{ measure = 'payments', points_below = 50, band = 'poor' }, { measure = 'voice', points_below = 50, cap = 30 }]",
)


@pytest.mark.parametrize(
    ("points_by_name", "band", "exceptions", "value"),
    [
        ({"usage": 100, "payments": 100}, "good", [], 100),
        ({"usage": 100, "payments": 50}, "fair", ["payments"], 60),
        ({"usage": 100, "payments": 49}, "poor", ["payments", "payments"], 60),
        ({"usage": 50, "payments": 99}, "fair", ["payments"], 54.9),
        ({"usage": 100}, "good", [], 100),  # without points no exception holds
        ({"usage": 100, "payments": 49, "voice": 50}, "poor", ["payments", "payments"], 60),
        ({"usage": 100, "payments": 50, "voice": 49}, "poor", ["payments", "voice"], 30),
    ],
)
def test_an_exception_overrules_the_average(
    points_by_name: dict[str, float], band: str, exceptions: list[str], value: float
) -> None:
    actual = score(log(*(signal(name, here) for name, here in points_by_name.items())), EXCEPTIONS)
    assert (actual.band, actual.exceptions) == (band, exceptions)
    assert actual.value == pytest.approx(value, abs=1e-9)
    parts = sum(contribution for *_, contribution in actual.factors)
    assert actual.extras["exception"] == pytest.approx((actual.value or 0) - parts, abs=1e-12)


def test_an_exception_holds_by_what_is_given_for_missing() -> None:
    actual = score(log(signal("usage", 100)), EXCEPTIONS.replace("weight = 1\n", 'weight = 1\nmissing = "zero"\n'))
    assert (actual.value, actual.band) == (60, "poor")
    assert actual.extras["exception"] == pytest.approx(-30, abs=1e-4)


# ---------------------------------------------------------------------------------------------------------------------
# Segments


def when(condition: str) -> str:
    return policy(
        f"[segments.first]\nwhen = {condition}",
        "[segments.second]\nwhen = { plan = ['pro'] }",
        measure("x", "weight = 1"),
        "[scores.health]",
        ONE_BAND,
    )


@pytest.mark.parametrize(
    ("condition", "fields", "segment"),
    [
        ("{ tier = ['gold', 'iron'] }", {"tier": "iron"}, "first"),
        ("{ tier = ['gold', 'iron'] }", {"tier": "Gold"}, None),
        ("{ tier = ['gold'] }", {"tier": None, "plan": "pro"}, "second"),
        ("{ tier = ['gold'] }", {"tier": "gold", "plan": "pro"}, "first"),
        ("{ tier = ['gold'], arr = { from = 10 } }", {"tier": "gold"}, None),
        ("{ tier = ['gold'], arr = { from = 10 } }", {"tier": "gold", "arr": 10}, "first"),
        ("{ arr = { from = 10, below = 20 } }", {"arr": 20}, None),
        ("{ arr = { below = 20 } }", {"arr": 19.999}, "first"),
        ("{ days_since_start = { below = 90 } }", {"started_at": DAY - 80 * DAY_MS}, None),
        ("{ days_since_start = { below = 90 } }", {"started_at": DAY - 79 * DAY_MS}, "first"),
        ("{ days_since_start = { from = 10, below = 11 } }", {"started_at": DAY + DAY_MS - 1}, "first"),
        ("{ days_to_renewal = { below = 0 } }", {"renewal_at": "2024-10-13T23:59:59Z"}, "first"),
        ("{ days_to_renewal = { from = 0 } }", {"renewal_at": "2024-10-14T00:00:00Z"}, "first"),
        ("{ days_to_renewal = { from = 0 } }", {"started_at": DAY}, None),
    ],
)
def test_the_first_segment_that_fits(condition: str, fields: dict[str, Any], segment: str | None) -> None:
    assert scored(log(signal("x", 1), profile(DAY, **fields)), when(condition)).segment == segment


def test_without_a_profile_no_segment_fits() -> None:
    assert scored(log(signal("x", 1)), when("{ arr = { below = 1 } }")).segment is None


SEGMENTED = policy(
    "[segments.new]\nwhen = { tier = ['new'] }",
    "[segments.big]\nwhen = { tier = ['big'] }",
    measure("x", "weight = 1"),
    measure("y", "weight = 1"),
    "[measures.x.segments.big]\nnormalise = { kind = 'linear', zero_at = 0, hundred_at = 200 }",
    "[scores.health]\n" + BANDS,
    "exceptions = [{ measure = 'y', points_below = 50, cap = 45 }]",
    "[scores.health.segments.new]\nweights = { x = 3, y = 1 }\nbands = { good = 60 }",
    "[scores.churn]\nweights = { y = 1 }\n" + BANDS,
    "[scores.churn.segments.big]\nuse = 'health'",
    "[scores.churn.segments.new.groups.only]\nweight = 1\nmeasures = { x = 1, y = 1 }",
    "[scores.sum]\nmodel = 'additive'\nimpacts = { x = 1 }\n" + BANDS,
    "[scores.sum.segments.big]\nimpacts = { y = 0.5 }\nbands = { good = 20, fair = 10 }",
)


@pytest.mark.parametrize(
    ("tier", "expected"),
    [
        ("other", {"health": (45, "fair"), "churn": (40, "fair"), "sum": (80, "good")}),
        ("new", {"health": (45, "fair"), "churn": (60, "fair"), "sum": (80, "good")}),
        ("big", {"health": (40, "fair"), "churn": (40, "fair"), "sum": (20, "good")}),
    ],
)
def test_what_a_segment_changes(tier: str, expected: dict[str, tuple[float, str]]) -> None:
    actual = scored(log(signal("x", 80), signal("y", 40), profile(DAY, tier=tier)), SEGMENTED)
    assert {name: (score.value, score.band) for name, score in actual.scores.items()} == expected
    assert {name for name, score in actual.scores.items() if "exception" in score.extras} == {"health", "churn"}
    better = scored(log(signal("x", 80), signal("y", 50), profile(DAY, tier=tier)), SEGMENTED).scores["health"]
    assert (better.value, better.band) == {"other": (65, "fair"), "new": (72.5, "good"), "big": (45, "fair")}[tier]


@pytest.mark.parametrize(("x", "y", "band"), [(80, 4, "good"), (78, 0, "fair"), (40, 40, "fair"), (40, 36, "poor")])
def test_bands_of_a_segment_keep_the_starts_that_are_not_named(x: float, y: float, band: str) -> None:
    records = log(signal("x", x), signal("y", y), profile(DAY, tier="new"))  # (3 x + y) / 4, good from 60, fair from 40
    assert score(records, SEGMENTED.replace("cap = 45", "cap = 100")).band == band


def test_at_a_boundary_a_profile_holds_from_when_it_was_read() -> None:
    text = when("{ tier = ['gold'] }")
    records = log(
        profile(DAY, tier="iron"),
        signal("x", 1, DAY + 5),
        signal("x", 2, DAY + DAY_MS + 5),
        profile(DAY + 1, tier="gold"),
        signal("x", 3, DAY + 2 * DAY_MS + 5),
        profile(DAY + 2, tier="iron"),
    )
    boundaries = boundary_scores_all(records, text, NOW)
    assert {(index - DAY) // DAY_MS: actual["a"].segment for (_, index), actual in boundaries.items()} == {
        1: None,
        2: "first",
    }
