"""The oracle, judged by numbers worked out by hand, so that it can be trusted to judge the engine."""

# long because: all worked numbers use the same short functions for events, logs and policies, defined at the top

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest

from tests.oracle.engine import Record, band_episodes, boundary_scores, final_scores, merged, outcomes, points_of
from tests.strategies.policies import DAY_MS, HOUR_MS

DAY = 20_000 * DAY_MS  # midnight of 2024-10-04, UTC
NOW = DAY + 100 * DAY_MS
MINUTE_MS = 60_000

IDENTITY = 'normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }'
ONE_BAND = 'bands = [{ name = "all", from = 0 }]'
THREE_BANDS = (
    'bands = [{ name = "good", from = 70 }, { name = "fair", from = 40, alert = "warning" }, '
    '{ name = "poor", from = 0, alert = "critical" }]'
)
COUNTED = f'source = "product-usage"\nstat = "count"\nfield = "count"\nweight = 1\n{IDENTITY}\n'


def event(source: str, time: object, account: str = "a", **fields: object) -> tuple[str, bytes]:
    """Write an event; its id is its whole content unless `id` is given."""
    required: dict[str, dict[str, object]] = {
        "support-tickets": {"ticket_id": "t", "status": "opened"},
        "surveys": {"kind": "nps", "score": 5},
        "billing": {"kind": "invoice_paid"},
        "engagement": {"kind": "webinar"},
    }
    document = {"account_id": account, "time": time, **required.get(source, {}), **fields}
    return source, json.dumps({"id": json.dumps(document), **document}).encode()


def usage(time: object, account: str = "a", **fields: object) -> tuple[str, bytes]:
    return event("product-usage", time, account, **fields)


def log(*arrivals: tuple[str, bytes | None]) -> list[Record]:
    """Put records into partition 0, in the order in which they stand here."""
    return [Record(source, 0, offset, offset, b"a", value) for offset, (source, value) in enumerate(arrivals)]


def policy(*measures: str, bands: str = ONE_BAND) -> str:
    tables = [f"[measures.m{number}]\n{measure}\n" for number, measure in enumerate(measures)]
    return 'name = "p"\n' + "".join(tables) + f"[scores.health]\nmin_change = 1\n{bands}\n"


def value_of(records: list[Record], measure: str, as_of_ms: int | None = None) -> float | None:
    scores = final_scores(records, policy(f"weight = 1\n{IDENTITY}\n{measure}"), NOW, as_of_ms)
    return scores["a"].factors[0][1]


# Three days end at noon of day 10; the first event is a millisecond too old, the last a millisecond too new.
NOON = DAY + 10 * DAY_MS + 12 * HOUR_MS
SOME_USAGE = log(
    usage(DAY + 8 * DAY_MS - 1, user_id="eve", feature="login", count=100, duration_s=900),
    usage(DAY + 8 * DAY_MS, user_id="ann", feature="search", count=2, duration_s=10),
    usage(DAY + 9 * DAY_MS + 6 * HOUR_MS, user_id="bob", feature="search", count=3.5, duration_s=20),
    usage(NOON, user_id="ann", feature="export"),
    usage(NOON + 1, user_id="cem", feature="login", count=50, duration_s=700),
)


@pytest.mark.parametrize(
    ("measure", "value"),
    [
        ('stat = "count"', 3),
        ('stat = "count"\nfield = "count"', 6.5),
        ('stat = "count"\nwhere = { feature = ["search"] }', 2),
        ('stat = "count"\nwhere = { feature = ["search", "export"], user_id = ["ann"] }', 2),
        ('stat = "count"\nwhere = { action = ["open"] }', 0),
        ('stat = "sum"\nfield = "duration_s"', 30),
        ('stat = "mean"\nfield = "duration_s"', 10),
        ('stat = "mean"\nfield = "count"', 6.5 / 3),
        ('stat = "min"\nfield = "duration_s"', 0),
        ('stat = "max"\nfield = "duration_s"', 20),
        ('stat = "last"\nfield = "duration_s"', 0),
        ('stat = "last"\nfield = "duration_s"\nwhere = { feature = ["search"] }', 20),
        ('stat = "days_since_last"', 0),
        ('stat = "days_since_last"\nwhere = { feature = ["search"] }', 1),
        ('stat = "distinct_users"', 2),
        ('stat = "distinct_features"', 2),
        ('stat = "rate"', 1),
        ('stat = "rate"\nper = "week"', 7),
        ('stat = "rate"\nper = "hour"', 3 / 72),
        ('stat = "rate"\nfield = "count"\ncomplete = false', 6.5 / 3),
        ('stat = "rate"\nfield = "count"', 105.5 / 3),  # the complete days before: with eve, and without today
        ('stat = "share"\nof = { feature = ["search"] }', 2 / 3),
        ('stat = "share"\nof = { feature = ["search"] }\nwhere = { user_id = ["ann"] }', 0.5),
        ('stat = "weighted_count"\nweights = { feature = { search = 0.25, export = 4 } }', 4.5),
    ],
)
def test_statistic_over_three_days(measure: str, value: float) -> None:
    actual = value_of(SOME_USAGE, f'source = "product-usage"\nwindow = "3d"\n{measure}', NOON)
    assert actual == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("measure", "value"),
    [
        ('stat = "count"', 0),
        ('stat = "sum"\nfield = "amount"', 0),
        ('stat = "rate"', 0),
        ('stat = "weighted_count"\nweights = { kind = { renewed = 1 } }', 0),
        ('stat = "mean"\nfield = "amount"', None),
        ('stat = "min"\nfield = "amount"', None),
        ('stat = "max"\nfield = "amount"', None),
        ('stat = "last"\nfield = "amount"', None),
        ('stat = "days_since_last"', None),
        ('stat = "share"\nof = { kind = ["renewed"] }', None),
    ],
)
def test_statistic_with_no_events(measure: str, value: float | None) -> None:
    assert value_of(SOME_USAGE, f'source = "billing"\nwindow = "3d"\n{measure}') == value


def test_distinct_with_no_events_is_zero() -> None:
    records = log(event("billing", DAY))
    for stat in ("distinct_users", "distinct_features"):
        assert value_of(records, f'source = "product-usage"\nwindow = "3d"\nstat = "{stat}"') == 0


@pytest.mark.parametrize(
    ("window", "value"),
    [("1h", 2), ("2h", 6), ("24h", 14), ("25h", 30), ("48h", 30), ("49h", 62), ("1d", 14), ("2d", 30), ("3d", 62)],
)
def test_window_edges(window: str, value: int) -> None:
    # As of 23:59:59.999 of day 10, counts are powers of two: the sum tells which events were in.
    midnight = DAY + 10 * DAY_MS
    records = log(
        usage(midnight - DAY_MS - 1, count=32),
        usage(midnight - 1, count=16),
        usage(midnight, count=8),
        usage(midnight + 22 * HOUR_MS, count=4),
        usage(midnight + 23 * HOUR_MS, count=2),
        usage(midnight + 24 * HOUR_MS, count=1),
    )
    measure = f'source = "product-usage"\nstat = "count"\nfield = "count"\nwindow = "{window}"'
    assert value_of(records, measure, midnight + 24 * HOUR_MS - 1) == value


def test_last_prefers_the_latest_time_then_the_larger_value() -> None:
    measure = 'source = "billing"\nstat = "last"\nfield = "amount"\nwindow = "7d"'
    tied = [event("billing", DAY + 5, amount=amount) for amount in (3, 7, -9)]
    assert value_of(log(event("billing", DAY + 4, amount=50), *tied), measure) == 7
    assert value_of(log(*reversed(tied), event("billing", DAY + 4, amount=50)), measure) == 7


def test_a_number_that_an_event_lacks_takes_no_part_but_a_default_does() -> None:
    records = log(
        event("support-tickets", DAY, resolution_s=30),
        event("support-tickets", DAY + 1, resolution_s=None),
        event("support-tickets", DAY + 2),
        event("billing", DAY + 3, days_late=4),
        event("billing", DAY + 4, days_late=None),
    )
    mean = 'stat = "mean"\nwindow = "1d"\nsource = '
    assert value_of(records, mean + '"support-tickets"\nfield = "resolution_s"') == 30
    assert value_of(records, mean + '"billing"\nfield = "days_late"') == 2
    normal = 'source = "support-tickets"\nstat = "count"\nwindow = "1d"\nwhere = { priority = ["normal"] }'
    assert value_of(records, normal) == 3


def test_events_without_a_user_are_nobody() -> None:
    records = log(usage(DAY), usage(DAY + 1, user_id=None), usage(DAY + 2, user_id="ann"))
    assert value_of(records, 'source = "product-usage"\nstat = "distinct_users"\nwindow = "1d"') == 1


def test_sums_are_of_millionths_rounded_one_by_one() -> None:
    records = log(*(usage(DAY + offset, duration_s=0.0000014) for offset in range(3)))
    measure = 'source = "product-usage"\nstat = "sum"\nfield = "duration_s"\nwindow = "1d"'
    assert value_of(records, measure) == 0.000003
    tenths = log(*(usage(DAY + offset, duration_s=0.1) for offset in range(3)))
    assert value_of(tenths, measure) == 0.3


TIERS = {"kind": "tiers", "tiers": [{"from": 0, "points": 100}, {"from": 2, "points": 50}, {"from": 5, "points": 0}]}
RISING = {"kind": "threshold", "good": 9, "average": 4}
FALLING = {"kind": "threshold", "good": 4, "average": 9, "points": [90, 60, 10]}


@pytest.mark.parametrize(
    ("rule", "points_by_value"),
    [
        ({"kind": "linear", "zero_at": 2, "hundred_at": 10}, {1: 0, 2: 0, 4: 25, 10: 100, 11: 100}),
        ({"kind": "linear", "zero_at": 10, "hundred_at": 2}, {1: 100, 2: 100, 4: 75, 10: 0, 11: 0}),
        (TIERS, {-1: 100, 0: 100, 1: 100, 2: 50, 4: 50, 5: 0, 99: 0}),
        (RISING, {3: 0, 4: 50, 8: 50, 9: 100, 10: 100}),
        (FALLING, {3: 90, 4: 90, 5: 60, 9: 60, 10: 10}),
    ],
)
def test_normaliser(rule: dict[str, Any], points_by_value: dict[int, int]) -> None:
    assert {value: points_of(Fraction(value), rule) for value in points_by_value} == points_by_value


# One measure has the value 40 with weight 3; the other, with weight 1, has none.
FORTY = f'source = "product-usage"\nstat = "sum"\nfield = "duration_s"\nwindow = "1d"\nweight = 3\n{IDENTITY}'
NOTHING = f'source = "surveys"\nstat = "mean"\nfield = "score"\nwindow = "1d"\nweight = 1\n{IDENTITY}\n'


@pytest.mark.parametrize(
    ("missing", "score", "factors"),
    [
        ("", 40, [("m0", 40, 40, 40), ("m1", None, None, 0)]),
        ('missing = "redistribute"', 40, [("m0", 40, 40, 40), ("m1", None, None, 0)]),
        ("missing = 100", 55, [("m0", 40, 40, 30), ("m1", None, 100, 25)]),
        ("missing = 0", 30, [("m0", 40, 40, 30), ("m1", None, 0, 0)]),
    ],
)
def test_missing_and_contributions(missing: str, score: float, factors: list[object]) -> None:
    actual = final_scores(log(usage(DAY, duration_s=40)), policy(FORTY, NOTHING + missing), NOW)["a"]
    assert (actual.value, actual.factors) == (score, factors)


def test_there_is_no_score_when_every_weight_is_missing() -> None:
    actual = final_scores(log(usage(DAY)), policy(NOTHING, bands=THREE_BANDS), NOW)["a"]
    assert (actual.value, actual.band, actual.factors) == (None, None, [("m0", None, None, 0)])


@pytest.mark.parametrize(("score", "band"), [(0, "poor"), (39.999, "poor"), (40, "fair"), (69.9, "fair"), (70, "good")])
def test_band_is_the_highest_not_above_the_score(score: float, band: str) -> None:
    text = policy(FORTY, bands=THREE_BANDS)
    assert final_scores(log(usage(DAY, duration_s=score)), text, NOW)["a"].band == band


def test_as_of_defaults_to_the_partitions_newest_event() -> None:
    measure = policy(f'{COUNTED}window = "1h"')
    early, late = usage(DAY, "a", count=7), usage(DAY + HOUR_MS, "b", count=9)
    together = final_scores(log(early, late), measure, NOW)
    assert {account: score.value for account, score in together.items()} == {"a": 0, "b": 9}
    apart = [Record(early[0], 0, 0, 0, b"a", early[1]), Record(late[0], 1, 0, 0, b"b", late[1])]
    assert {account: score.value for account, score in final_scores(apart, measure, NOW).items()} == {"a": 7, "b": 9}
    assert {account: score.value for account, score in final_scores(apart, measure, NOW, DAY).items()} == {"a": 7}


def test_one_account_in_two_partitions_is_an_error_of_the_caller() -> None:
    records = [Record("product-usage", partition, 0, 0, b"a", usage(DAY)[1]) for partition in (0, 1)]
    with pytest.raises(ValueError, match="in partition 1 and in an earlier one"):
        final_scores(records, policy(f'{COUNTED}window = "1h"'), NOW)


# ---------------------------------------------------------------------------------------------------------------------
# Outcomes and order

BOTH_WINDOWS = policy(f'{COUNTED}window = "6h"', f'{COUNTED}window = "2d"')


def test_late_is_outside_every_window_of_the_newest_event() -> None:
    newest = DAY + 10 * DAY_MS + HOUR_MS
    for text, first_kept in (
        (policy(f'{COUNTED}window = "6h"', f'{COUNTED}window = "3h"'), newest - 5 * HOUR_MS),
        (policy(f'{COUNTED}window = "1d"', f'{COUNTED}window = "2d"'), DAY + 9 * DAY_MS),
        (BOTH_WINDOWS, DAY + 9 * DAY_MS),
        (policy(f'{COUNTED}window = "6h"', f'{COUNTED}window = "1d"'), newest - 5 * HOUR_MS),
    ):
        records = log(usage(newest), usage(first_kept), usage(first_kept - 1))
        expected = {("product-usage", "applied"): 2, ("product-usage", "late"): 1}
        assert outcomes(records, text, NOW) == expected
        assert outcomes(log(*((record.source, record.value) for record in reversed(records))), text, NOW) == {
            ("product-usage", "applied"): 3
        }


def test_an_account_with_only_late_events_is_unknown() -> None:
    records = log(usage(DAY + 10 * DAY_MS, "a"), usage(DAY, "b"))
    assert list(final_scores(records, BOTH_WINDOWS, NOW)) == ["a"]


def test_a_duplicate_counts_once_and_ids_belong_to_their_source() -> None:
    records = log(
        usage(DAY, id="1", count=5),
        usage(DAY, id="1", count=5),
        event("billing", DAY, id="1"),
        event("surveys", DAY - 90 * DAY_MS, id="2"),
        event("surveys", DAY - 90 * DAY_MS, id="2"),
    )
    assert outcomes(records, BOTH_WINDOWS, NOW) == {
        ("product-usage", "applied"): 1,
        ("product-usage", "duplicate"): 1,
        ("billing", "applied"): 1,
        ("surveys", "late"): 1,
        ("surveys", "duplicate"): 1,
    }
    assert final_scores(records, BOTH_WINDOWS, NOW)["a"].value == 5


def test_only_accepted_events_age_others() -> None:
    much_later = DAY + 50 * DAY_MS
    records = log(
        usage(DAY, id="1"),
        usage(NOW + 5 * MINUTE_MS + 1),
        event("accounts", much_later),
        event("billing", much_later, kind="bribed"),
        usage(DAY - HOUR_MS, id="2"),
        usage(much_later, id="1"),
        usage(DAY - 2 * HOUR_MS, id="3"),
    )
    assert outcomes(records, BOTH_WINDOWS, NOW) == {
        ("product-usage", "applied"): 3,
        ("product-usage", "rejected"): 1,
        ("product-usage", "duplicate"): 1,
        ("accounts", "applied"): 1,
        ("billing", "rejected"): 1,
    }


@pytest.mark.parametrize(
    ("time", "outcome"),
    [
        ("2024-10-04T00:00:00Z", "applied"),
        ("2024-10-04t05:45:00.000999+05:45", "applied"),
        (946_684_800_000, "applied"),
        ("1999-12-31T23:00:00-01:00", "applied"),
        (NOW + 5 * MINUTE_MS, "applied"),
        (946_684_799_999, "rejected"),
        ("2000-01-01T00:00:00+00:01", "rejected"),
        (NOW + 5 * MINUTE_MS + 1, "rejected"),
        (DAY // 1000, "rejected"),
        (float(DAY), "applied"),
        (DAY + 0.5, "rejected"),
        ("2024-10-04T00:00:00", "rejected"),
        ("2024-02-30T00:00:00Z", "rejected"),
        (True, "rejected"),
    ],
)
def test_time_limits(time: object, outcome: str) -> None:
    assert outcomes(log(usage(time)), BOTH_WINDOWS, NOW) == {("product-usage", outcome): 1}


def test_both_ways_to_write_a_time_mean_the_same() -> None:
    records = log(usage("2024-10-04T02:00:00.25+02:00", count=1), usage(DAY + 250, count=2))
    assert final_scores(records, policy(f'{COUNTED}window = "1h"'), NOW, DAY + 249) == {}
    assert final_scores(records, policy(f'{COUNTED}window = "1h"'), NOW, DAY + 250)["a"].value == 3


@pytest.mark.parametrize(
    ("source", "value", "outcome"),
    [
        ("product-usage", None, "rejected"),
        ("accounts", None, "applied"),
        ("accounts", b"{}", "rejected"),
        ("surveys", event("surveys", DAY, kind="csat", score=0)[1], "rejected"),
        ("surveys", event("surveys", DAY, kind="nps", score=0)[1], "applied"),
        ("surveys", event("surveys", DAY, kind="ces", score=7)[1], "applied"),
        ("billing", event("billing", DAY, amount=-(10**12))[1], "applied"),
        ("billing", event("billing", DAY, amount=10**12 + 1)[1], "rejected"),
        ("billing", event("billing", DAY, days_late=-1)[1], "rejected"),
        ("engagement", event("engagement", DAY, kind="tea")[1], "applied"),
        ("engagement", event("engagement", DAY, kind="")[1], "rejected"),
        ("support-tickets", event("support-tickets", DAY, priority=None)[1], "applied"),
        ("support-tickets", event("support-tickets", DAY, status=None)[1], "rejected"),
        ("product-usage", usage(DAY, user_id=5)[1], "applied"),
        ("product-usage", usage(DAY, user_id=[5])[1], "rejected"),
        ("product-usage", usage(DAY, whatever={"x": [5]})[1], "applied"),
    ],
)
def test_acceptance(source: str, value: bytes | None, outcome: str) -> None:
    assert outcomes(log((source, value)), BOTH_WINDOWS, NOW) == {(source, outcome): 1}


def test_a_profile_cannot_be_cleared_without_its_account() -> None:
    assert outcomes([Record("accounts", 0, 0, 0, None, None)], BOTH_WINDOWS, NOW) == {("accounts", "rejected"): 1}


def test_forwarded_events_count_where_they_came_from_but_are_reported_where_they_were_read() -> None:
    again, other = usage(DAY, id="1", count=5)[1], event("billing", DAY)[1]
    records = [
        Record("vitals-inbox", 0, 0, 3, b"a", again, origin="product-usage"),
        Record("vitals-inbox", 0, 1, 3, b"a", other, origin="billing"),
        Record("product-usage", 0, 0, 3, b"a", again),
    ]
    assert outcomes(records, BOTH_WINDOWS, NOW) == {
        ("product-usage", "applied"): 1,
        ("vitals-inbox", "duplicate"): 1,
        ("vitals-inbox", "applied"): 1,
    }
    with pytest.raises(ValueError, match="names no origin"):
        outcomes([Record("vitals-inbox", 0, 7, 3, b"a", again)], BOTH_WINDOWS, NOW)


def test_sources_advance_together_by_their_newest_timestamp() -> None:
    placed = [
        ("billing", 0, 10),
        ("billing", 1, 5),  # behind its own source: held back to 10
        ("product-usage", 0, 7),
        ("product-usage", 1, 10),
        ("vitals-inbox", 0, 10),
        ("accounts", 0, 10),
        ("surveys", 0, 12),
    ]
    records = [Record(source, 0, offset, timestamp, b"a", None) for source, offset, timestamp in placed]
    order = [(record.source, record.offset) for record in merged(reversed(records))[0]]
    assert order == [
        ("product-usage", 0),
        ("product-usage", 1),
        ("billing", 0),
        ("billing", 1),
        ("accounts", 0),
        ("vitals-inbox", 0),
        ("surveys", 0),
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Boundaries and alerts


def test_boundaries_between_the_first_and_the_last_event() -> None:
    text = policy(f'{COUNTED}window = "2h"', bands=THREE_BANDS)
    records = log(
        usage(DAY, count=80),  # on a boundary: it belongs to it
        usage(DAY + 1, count=10),
        usage(DAY + 2 * HOUR_MS, "b", count=50),
        usage(DAY + 4 * HOUR_MS - 1, "b", count=25),
        usage(DAY + 3 * HOUR_MS, count=45),  # comes after the boundary it lies on was crossed
        usage(DAY + 4 * HOUR_MS + 1, "b", count=1),
    )
    boundaries = boundary_scores(records, text, NOW)
    values = {
        (boundary_ms - DAY) // HOUR_MS: {account: score.value for account, score in scores.items()}
        for (_, boundary_ms), scores in boundaries.items()
    }
    assert values == {
        0: {"a": 80},
        1: {"a": 90},
        2: {"a": 0, "b": 50},
        3: {"a": 0, "b": 50},
        4: {"a": 45, "b": 25},
    }
    assert [
        (account, rule, status, (boundary_ms - DAY) // HOUR_MS)
        for account, rule, status, boundary_ms in band_episodes(boundaries)
    ] == [
        ("a", "band:health:poor", "firing", 2),
        ("b", "band:health:fair", "firing", 2),
        ("a", "band:health:poor", "resolved", 4),
        ("a", "band:health:fair", "firing", 4),
        ("b", "band:health:fair", "resolved", 4),
        ("b", "band:health:poor", "firing", 4),
    ]


def test_boundaries_are_days_without_an_hour_window_and_each_partition_has_its_own() -> None:
    records = [
        Record("product-usage", partition, number, number, b"", usage(DAY + (partition + number) * DAY_MS + 5, name)[1])
        for partition, name in ((0, "a"), (1, "b"))
        for number in (0, 1)
    ]
    boundaries = boundary_scores(records, policy(f'{COUNTED}window = "1d"'), NOW)
    assert sorted(boundaries) == [(0, DAY + DAY_MS), (1, DAY + 2 * DAY_MS)]
    assert [list(scores) for scores in boundaries.values()] == [["a"], ["b"]]


def test_one_hour_window_makes_every_boundary_an_hour() -> None:
    boundaries = boundary_scores(log(usage(DAY + 1), usage(DAY + 2 * HOUR_MS + 1)), BOTH_WINDOWS, NOW)
    assert list(boundaries) == [(0, DAY + HOUR_MS), (0, DAY + 2 * HOUR_MS)]


def test_one_segment_has_no_boundary() -> None:
    text = policy(f'{COUNTED}window = "2h"')
    assert boundary_scores(log(usage(DAY + 1), usage(DAY + HOUR_MS)), text, NOW) == {}
    assert boundary_scores(log(("billing", None)), text, NOW) == {}


def test_an_alert_resolves_when_its_band_is_left_for_a_silent_one() -> None:
    text = policy(f'{COUNTED}window = "1h"', bands=THREE_BANDS)
    records = log(usage(DAY, count=5), usage(DAY + HOUR_MS, count=90), usage(DAY + 2 * HOUR_MS))
    assert band_episodes(boundary_scores(records, text, NOW)) == [
        ("a", "band:health:poor", "firing", DAY),
        ("a", "band:health:poor", "resolved", DAY + HOUR_MS),
    ]
