"""Sentences about factors: each statistic, and numbers in the form for people."""

from __future__ import annotations

import pytest

from schemas.outputs import Factor
from stream.explain.text import counted, factor_text, number
from stream.measures import STATS
from stream.policy.measures import FACT_STATS
from stream.policy.policy import Measure, parse_policy

USAGE = 'source = "product-usage"\n'
TICKETS = 'source = "support-tickets"\n'
BILLING = 'source = "billing"\n'
OPENED = 'where = { status = ["opened", "reopened"] }\n'
SENTENCES = {
    "count": (USAGE, 8, "8 usage events in the last 30 days"),
    "sum": (BILLING + 'field = "amount"\n', 1234.5, "the total amount of billing events comes to 1,234.5 in the"),
    "mean": (BILLING + 'field = "days_late"\n', 3, "average days late of billing events is 3 in the last 30 days"),
    "min": (BILLING + 'field = "amount"\n', -2, "lowest amount of billing events is -2 in the last 30 days"),
    "max": (BILLING + 'field = "amount"\n', 2, "highest amount of billing events is 2 in the last 30 days"),
    "last": (BILLING + 'field = "amount"\n', 2, "latest amount of billing events is 2 in the last 30 days"),
    "days_since_last": (USAGE, 3, "3 days since the latest of usage events in the last 30 days"),
    "distinct_users": (
        USAGE + 'where = { feature = ["export"] }\n',
        4,
        "4 different users (feature export) in the last",
    ),
    "distinct_features": (USAGE, 4, "4 different features in the last 30 days"),
    "distinct_roles": ('source = "engagement"\n', 2, "2 different roles in the last 30 days"),
    "rate": (USAGE + 'per = "week"\n', 2.5, "2.5 usage events a week in the last 30 complete days"),
    "share": (
        TICKETS + OPENED + 'of = { priority = ["urgent"] }\n',
        0.125,
        "12.5 % of ticket events (status opened or reopened) have priority urgent in the last 30 days",
    ),
    "distinct": (
        BILLING + 'field = "currency"\n',
        2,
        "2 different values of currency in billing events in the last 30",
    ),
    "active": (USAGE, 12, "12 of 30 days with usage events in the last 30 days"),
    "active_share": (USAGE, 0.4, "40 % of 30 days with usage events in the last 30 days"),
    "streak": (USAGE, 3, "3 days in a row with usage events in the last 30 days"),
    "percentile": (
        BILLING + 'field = "days_late"\npercent = 90\n',
        3.5,
        "90th percentile of days late of billing events is about 3.5 in the last 30 days",
    ),
    "nps": (
        'source = "surveys"\nwhere = { kind = ["nps"] }\nfield = "score"\n',
        -12.5,
        "net promoter score of survey answers (kind nps) is -12.5 in the last 30 days",
    ),
    "weighted_count": (
        TICKETS + "weights = { priority = { urgent = 4 } }\n",
        8,
        "the sum of ticket events, weighted by priority, comes to 8 in the last 30 days",
    ),
}
WITHOUT_WINDOW = {
    "open": (
        TICKETS + 'field = "ticket_id"\nof = { status = { not = ["solved"] } }\n',
        3,
        "3 tickets open (status not solved)",
    ),
    "open_max_days": (
        BILLING + 'field = "properties.invoice_id"\nof = { kind = ["payment_failed"] }\n',
        1,
        "the oldest open invoice is 1 day old (kind payment_failed)",
    ),
    "open_mean_days": (
        TICKETS + OPENED + 'field = "ticket_id"\nof = { priority = ["urgent"] }\n',
        2.5,
        "open tickets are 2.5 days old on average (status opened or reopened, priority urgent)",
    ),
    "days_to_first": (
        USAGE + 'where = { feature = ["export"] }\n',
        4,
        "4 days from the first event to the first of usage events (feature export)",
    ),
}
"""Sentences that end without a window."""
SENTENCES |= WITHOUT_WINDOW


SINGULAR = {
    "count": (USAGE + 'where = { feature = ["export"] }\n', 1.0, "1 usage event (feature export) in the last 30 days"),
    "distinct_users": (USAGE, 1.0, "1 different user in the last 30 days"),
    "rate": ('source = "surveys"\nper = "day"\n', 1.0, "1 survey answer a day in the last 30 complete days"),
    "days_since_last": (USAGE, 1.0, "1 day since the latest of usage events in the last 30 days"),
}


CONDITIONS = {
    "score = { from = 7, below = 9 }": "score below 9, score of at least 7",
    "user_id = { exists = true }": "with user id",
    "user_id = { exists = false }": "without user id",
    'kind = { not = ["ces", "csat"] }': "kind not ces or csat",
    'user_id = { prefix = "svc-" }': "user id beginning with svc-",
    'kind = { in = ["nps"] }': "kind nps",
}


def measure(stat: str, keys: str, window: str = "30d", calendar: str = "") -> Measure:
    window_line = "" if stat in WITHOUT_WINDOW else f'window = "{window}"'
    text = f"""
name = "p"
{calendar}
[measures.good_use]
stat = "{stat}"
{window_line}
{keys}
normalise = {{ kind = "linear", zero_at = 0, hundred_at = 10 }}
weight = 1
[scores.health]
min_change = 1
bands = [{{ name = "all", from = 0 }}]
"""
    return parse_policy(text, "policy.toml").measures[0]


def sentence(value: float | None, points: float | None, about: Measure | None) -> str:
    weight = 0.0 if points is None else 0.25
    return factor_text(Factor("good_use", value, points, weight, weight * (points or 0.0)), about)


@pytest.mark.parametrize(("condition", "words"), CONDITIONS.items())
def test_every_condition_has_words(condition: str, words: str) -> None:
    about = measure("count", f'source = "surveys"\nwhere = {{ {condition} }}\n')
    assert sentence(2, 40, about).startswith(f"good use: 2 survey answers ({words}) in the last 30 days")


@pytest.mark.parametrize("stat", [stat for stat in STATS if stat not in FACT_STATS])
def test_every_statistic_has_a_sentence(stat: str) -> None:
    keys, value, words = SENTENCES[stat]
    text = sentence(value, 40, measure(stat, keys))
    assert text.startswith(f"good use: {words}")
    assert text.endswith("; 40.0 of 100 points, weight 25%: gives 10.0, costs 15.0.")


@pytest.mark.parametrize("stat", SINGULAR)
def test_a_sentence_has_the_singular(stat: str) -> None:
    keys, value, words = SINGULAR[stat]
    assert sentence(value, 40, measure(stat, keys)).startswith(f"good use: {words}; 40.0 of")


def test_counted_is_singular_for_one_only() -> None:
    texts = [counted(value, "day") for value in (0, 0.5, 1, 1.001, 1.01, 2, 1234.5, -1)]
    assert texts == ["0 days", "0.5 days", "1 day", "1 day", "1.01 days", "2 days", "1,234.5 days", "-1 days"]


OTHERS = {
    "last": (
        BILLING + "weights = { properties.plan_status = { active = 100 } }\n",
        "latest plan status of billing events counts 40 in the last 30 days",
    ),
    "days_to_first": (USAGE + 'field = "started_at"\n', "40 days from started at to the first of usage events"),
}


@pytest.mark.parametrize("stat", OTHERS)
def test_sentences_of_texts_and_beginnings(stat: str) -> None:
    keys, words = OTHERS[stat]
    assert sentence(40, 40, measure(stat, keys)).startswith(f"good use: {words}; 40.0 of")


def test_nothing_open_has_no_value_and_no_window() -> None:
    text = sentence(None, None, measure("open_max_days", WITHOUT_WINDOW["open_max_days"][0]))
    assert text == "good use: no value; its weight is shared among the others."


def test_sentences_name_fields_windows_and_comparisons() -> None:
    total = measure("count", USAGE + 'field = "count"\n', "1h")
    assert sentence(7, 70, total).startswith("good use: the total count of usage events comes to 7 in the last hour;")
    rated = measure("rate", USAGE + 'field = "count"\nper = "hour"\n', "24h")
    assert "the total count of usage events comes to 7 an hour in the last 24 complete hours" in sentence(7, 70, rated)
    compared = measure("count", USAGE + 'compare = "previous"\n', "7d")
    assert "usage events in the last 7 complete days: +20 % against the 7 days before" in sentence(20, 70, compared)
    assert "usage events in the last 7 complete days: -20 % against" in sentence(-20, 70, compared)
    assert "nothing to compare with before the last 7 complete days; its weight is shared" in sentence(
        None, None, compared
    )


@pytest.mark.parametrize(
    ("window", "keys", "name"),
    [
        ("5bd", "", "the last 5 business days"),
        ("5bd", "complete = true\n", "the last 5 complete business days"),
        ("1mo", "", "this month"),
        ("3mo", "", "this month and the 2 months before it"),
        ("1mo", "complete = true\n", "the last complete month"),
        ("2mo", "complete = true\n", "the last 2 complete months"),
    ],
)
def test_windows_in_business_days_and_months_are_named(window: str, keys: str, name: str) -> None:
    assert f"7 usage events in {name};" in sentence(7, 70, measure("count", USAGE + keys, window))


@pytest.mark.parametrize(
    ("per", "weekdays", "period"),
    [
        ("hour", ["mon"], "an hour"),
        ("day", ["mon", "tue"], "a business day"),
        ("day", ["mon"], "a business day"),
        ("week", ["mon"], "a business day"),  # a week has only one
        ("week", ["mon", "tue"], "a week"),
        ("week", ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "a week"),
    ],
)
def test_the_period_of_a_rate_over_business_days_is_named(per: str, weekdays: list[str], period: str) -> None:
    calendar = f"[calendar]\nweekdays = {weekdays}"
    rate = measure("rate", USAGE + f'per = "{per}"\n', "5bd", calendar)
    assert f"3 usage events {period} in the last 5 complete business days;" in sentence(3, 70, rate)


def test_a_comparison_of_business_days_is_named() -> None:
    compared = measure("count", USAGE + 'compare = "previous"\n', "5bd")
    assert "in the last 5 complete business days: +20 % against the 5 business days before" in sentence(
        20, 70, compared
    )


def test_a_sentence_names_the_date_from_which_a_window_is_complete() -> None:
    users = measure("distinct_users", USAGE, "60d")
    factor = Factor("good_use", 12, 40, 0.25, 10, history_since=1_790_812_800_000)
    assert factor_text(factor, users) == (
        "good use: 12 different users in the last 60 days (all events only since 2026-10-01); "
        "40.0 of 100 points, weight 25%: gives 10.0, costs 15.0."
    )


def test_sentence_compares_an_account_with_its_own_past() -> None:
    past = 'compare = "percentile"\nhistory = "28d"\n'
    ranked = measure("count", USAGE + past, "7d")
    assert "usage events in the last 7 complete days: above 75 % of its own 4 spans before" in sentence(75, 70, ranked)
    distribution = measure("count", USAGE + past.replace("percentile", "z"), "7d")
    assert "last 7 complete days: -1.5 standard deviations from the mean of its own 4 spans before" in sentence(
        -1.5, 0, distribution
    )


def test_sentences_of_facts_impacts_and_exceptions() -> None:
    text = """
name = "p"
[measures.opened]
source = "support-tickets"
stat = "count"
window = "1d"
[measures.good_use]
source = "accounts"
stat = "days_until"
field = "renewal_at"
[measures.arr]
source = "accounts"
stat = "value"
field = "arr"
[scores.health]
model = "additive"
impacts = { opened = -4, good_use = 1, arr = 1 }
min_change = 1
bands = [{ name = "all", from = 0 }]
"""
    opened, until, arr = parse_policy(text).measures
    assert factor_text(Factor("opened", 2, None, -4, -8), opened) == (
        "opened: 2 ticket events in the last day; each counts -4: gives -8.0."
    )
    assert factor_text(Factor("good_use", 12, None, 1, 12), until).startswith("good use: 12 days until renewal at;")
    assert factor_text(Factor("good_use", 1, None, 1, 1), until).startswith("good use: 1 day until renewal at;")
    assert factor_text(Factor("good_use", None, None, 1, 0), until).startswith("good use: the profile has no renewal")
    assert factor_text(Factor("arr", 5000, None, 1, 5000), arr).startswith("arr: arr is 5,000; each counts 1")
    assert factor_text(Factor("exception", None, None, 0, -12.5), None).endswith("takes: -12.5.")


def test_missing_value_has_a_sentence_with_its_points() -> None:
    mean = measure("mean", BILLING + 'field = "days_late"\n')
    assert (
        sentence(None, None, mean) == "good use: no value in the last 30 days; its weight is shared among the others."
    )
    assert "no value in the last 30 days; 50.0 of 100 points" in sentence(None, 50, mean)


def test_measure_of_another_policy_keeps_its_figures() -> None:
    assert sentence(3, 30, None).startswith("good use: the value is 3; 30.0 of 100 points")
    assert sentence(None, None, None).startswith("good use: no value; its weight")


def test_full_points_cost_nothing() -> None:
    factor = Factor("good_use", 10, 100, 1 / 3, 100 / 3 + 1e-14)
    assert factor_text(factor, None).endswith("costs 0.0.")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (-0.0, "0"), (8, "8"), (7.5, "7.5"), (7.666, "7.67"), (0.00412, "0.00412"), (1_234_567, "1,234,567")],
)
def test_numbers_are_written_for_people(value: float, text: str) -> None:
    assert number(value) == text
