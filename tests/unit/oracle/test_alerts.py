"""The oracle's alerts, judged by what was worked out by hand.

The score is the last value of the signal `m` unless a test says otherwise. What is sent at noon of day `n` is judged at
the midnight after it, boundary `n + 1`; a text such as `.##.` shows boundary by boundary whether the alert is open.
"""

from __future__ import annotations

import pytest

from tests.oracle.alerts import alerts_at_boundaries, alerts_on_arrival, snoozed_at
from tests.oracle.cases import DAY, NOW, event, log, measure, policy, profile, signal
from tests.oracle.engine import Record, boundary_scores_all, outcomes
from tests.strategies.policies import DAY_MS, HOUR_MS

NOON = DAY + 12 * HOUR_MS
BANDS = 'bands = [{ name = "good", from = 70 }, { name = "fair", from = 40 }, { name = "poor", from = 0 }]\n'
SCORE = "[scores.health]\nmin_change = 1\n" + BANDS
HALVES = 'normalise = { kind = "linear", zero_at = 0, hundred_at = 2 }\n'
USES = measure("uses", 'source = "product-usage"', 'stat = "count"', 'window = "3d"', points=HALVES)

LONG_WITHOUT_EVENTS = '[status]\ndormant_after = "30d"\n'


def with_rule(*lines: str, window: str = "30d", tables: tuple[str, ...] = ()) -> str:
    """Write a policy of one score, the last value of `m`, and of a rule `r`."""
    return policy(measure("m", f'window = "{window}"', "weight = 1"), *tables, SCORE, "[alerts.r]", *lines)


def daily(*values: float, first_ms: int = NOON, step_ms: int = DAY_MS) -> list[tuple[str, bytes]]:
    """Send a value at noon of each day, and a day later an event that no measure reads, so that the boundary passes."""
    sent = [signal("m", value, first_ms + index * step_ms) for index, value in enumerate(values)]
    return [*sent, event("billing", first_ms + len(values) * step_ms, kind="invoice_paid")]


def hourly(*values: float) -> list[tuple[str, bytes]]:
    return daily(*values, first_ms=DAY + HOUR_MS // 2, step_ms=HOUR_MS)


def shown(records: list[Record], text: str, rule: str = "r", account: str = "a") -> str:
    """Return boundary by boundary whether an episode is open."""
    boundaries = sorted(alerts_at_boundaries(records, text, NOW).items())
    return "".join("#" if (account, rule) in episodes else "." for _, episodes in boundaries)


# ---------------------------------------------------------------------------------------------------------------------
# Kinds


@pytest.mark.parametrize(
    ("when", "values", "expected"),
    [
        ("{ below = 40 }", (50, 39.999999, 40, 39, 70), ".#.#."),
        ('{ band = "fair" }', (75, 70, 69, 40, 39, 50), "..##.#"),
        ('{ left = "good" }', (50, 75, 69, 10, 50, 70, 30), "..###.#"),  # fair at first: it has left nothing
        ('{ left = "fair" }', (50, 75, 50, 20), ".#.#"),  # upwards as well
        # 80 before 75 is 5; before 60 there are 80 and 75, then 75 and 60, then 60 and 60.
        ('{ drop = 15, within = "2d" }', (80, 75, 60, 60, 60, 60), "..##.."),
        ('{ drop = 15, within = "1d" }', (80, 75, 60, 60, 45, 20), "..#.##"),
        ('{ drop = 15, within = "3d" }', (80, 66, 65.000001, 65, 64), "...#."),
        ('{ measure = "m", points_below = 40 }', (50, 39.999999, 40, 39), ".#.#"),
    ],
)
def test_a_rule_holds_at_boundaries(when: str, values: tuple[float, ...], expected: str) -> None:
    assert shown(log(*daily(*values)), with_rule(f"when = {when}")) == expected


def test_a_band_that_is_marked_is_a_rule() -> None:
    marked = SCORE.replace("from = 40", 'from = 40, alert = "warning"')
    records, text = log(*daily(75, 50, 30, 50)), policy(measure("m", "weight = 1"), marked)
    assert shown(records, text, "band:health:fair") == ".#.#"
    assert shown(records, text, "band:health:poor") == "...."


def test_a_band_is_the_one_shown() -> None:
    text = with_rule('when = { band = "fair" }').replace("min_change", 'dwell = "1d"\nmin_change')
    assert shown(log(*daily(75, 50, 50, 75, 50)), text) == "..###"


def test_scores_are_rounded_before_they_are_compared() -> None:
    # Two uses of three: 66.666666666..., which is 66.666666667 to nine decimals.
    text = policy(USES.replace("hundred_at = 2", "hundred_at = 3") + "weight = 1", SCORE)
    sent = [
        event("product-usage", NOON),
        event("product-usage", NOON + 1),
        event("billing", NOON + DAY_MS, kind="renewed"),
    ]
    assert shown(log(*sent), text + "[alerts.r]\nwhen = { below = 66.666666667 }") == "."
    assert shown(log(*sent), text + "[alerts.r]\nwhen = { below = 66.666666668 }") == "#"


def test_a_drop_within_hours_and_one_within_days() -> None:
    values = (80, 80, 60, 60, 60)
    text = with_rule('when = { drop = 20, within = "2h" }', window="24h")
    assert shown(log(*hourly(*values)), text) == "..##."
    # At hours between midnights the scores of midnights count: 80 at the first one, 60 at the second.
    long = log(*hourly(*(80,) * 24, *(60,) * 26))
    day = with_rule('when = { drop = 20, within = "1d" }', window="24h")
    assert shown(long, day) == "." * 24 + "#" * 24 + ".."
    two = with_rule('when = { drop = 20, within = "2d" }', window="24h")
    assert shown(long, two) == "." * 24 + "#" * 26


def test_a_measure_without_points_holds_no_rule() -> None:
    text = with_rule('when = { measure = "uses", points_below = 60 }', tables=(USES + "weight = 1\nmissing = 0",))
    assert shown(log(*daily(50, 50)), text) == "##"  # a count is never missing: 0
    other = with_rule(
        'when = { measure = "n", points_below = 60 }', tables=(measure("n", 'window = "2d"', "weight = 1"),)
    )
    assert shown(log(signal("n", 10, NOON), *daily(50, 50, 50)), other) == "#.."  # out of its window at boundary 2


def test_a_forecast_looks_at_the_next_midnights() -> None:
    # One use a 3 days' window: 50 points up to day 2, none at boundary 3.
    text = policy(
        LONG_WITHOUT_EVENTS, USES + "weight = 1", SCORE, "[alerts.r]", 'when = { forecast = "poor", within = "1d" }'
    )
    records = log(event("product-usage", NOON), event("billing", NOON + 4 * DAY_MS, kind="renewed"))
    assert shown(records, text) == ".#.."
    assert shown(records, text.replace("1d", "2d")) == "##.."
    assert shown(records, text.replace('"poor", within = "1d"', '"fair", within = "9d"')) == "...."  # it is fair


def test_a_forecast_is_kept_until_midnight_or_until_it_has_come_true() -> None:
    uses = USES.replace("3d", "24h").replace("hundred_at = 2", "hundred_at = 1")
    text = policy(
        LONG_WITHOUT_EVENTS, uses + "weight = 1", SCORE, "[alerts.r]", 'when = { forecast = "poor", within = "1d" }'
    )
    first = event("product-usage", DAY + 6 * HOUR_MS + 1)  # leaves at 06:00
    end = event("billing", DAY + 32 * HOUR_MS + 1, kind="renewed")
    # Boundaries from 07:00 on: 17 up to 23:00, then midnight to 05:00.
    assert shown(log(first, end), text) == "." * 17 + "#" * 6 + "..."
    # A use at 03:00 keeps the score up to 03:00 of the day after; the answer of midnight stands.
    again = event("product-usage", DAY + 27 * HOUR_MS + 1)
    assert shown(log(first, again, end), text) == "." * 17 + "#" * 9
    # Gone and back within the day: what has ended stays so until midnight.
    back = event("product-usage", DAY + 30 * HOUR_MS + 1)
    assert shown(log(first, back, end), text) == "." * 17 + "#" * 6 + "..."


def test_silence_is_counted_in_days_from_the_latest_event() -> None:
    text = with_rule('when = { silent = "product-usage", within = "3d" }')
    assert shown(log(event("product-usage", DAY + 1), *daily(50, 50, 50, 50, 50)), text) == "..###"
    again = event("product-usage", NOON + 3 * DAY_MS)
    sent = daily(50, 50, 50, 50, 50)
    assert shown(log(event("product-usage", NOON), *sent[:4], again, *sent[4:]), text) == "..#.."
    assert shown(log(*sent), text) == "....."  # it never used it


# ---------------------------------------------------------------------------------------------------------------------
# Sources that stall

STALLS = '[sources.product-usage]\nstall_after = "1d"\n'


def test_an_outage_is_not_silence() -> None:
    text = with_rule('when = { silent = "product-usage", within = "3d" }') + "\n" + STALLS
    sent = [event("product-usage", NOON), *daily(*(50,) * 7)]
    assert shown(log(*sent), text) == "......."
    # From noon of day 1 on the source has stalled.
    assert shown(log(*sent), text, "stalled:product-usage", "") == ".######"
    # Another account's event on day 4: the source is back, its clock goes on, and the silence of `a` is 5 days.
    back = event("product-usage", NOON + 4 * DAY_MS, "b")
    resumed = log(*sent[:6], back, *sent[6:])
    assert shown(resumed, text, "stalled:product-usage", "") == ".###.##"
    assert shown(resumed, text) == "....###"  # day 5, then the clock stays in day 5


def test_a_stalled_source_is_read_as_of_its_clock() -> None:
    text = policy(USES + "weight = 1", measure("m", "weight = 3"), SCORE, STALLS)
    records = log(event("product-usage", NOON), *daily(*(100,) * 6))
    boundaries = [
        accounts["a"].scores["health"] for _, accounts in sorted(boundary_scores_all(records, text, NOW).items())
    ]
    # The clock stays at noon of day 1, where the window of 3 days holds the use: 50 * 1/4 + 100 * 3/4.
    assert [score.value for score in boundaries] == [87.5] * 6
    assert {score.confidence(["uses"]) for score in boundaries} == {0.75}
    gone = boundary_scores_all(records, text.replace(STALLS, ""), NOW)
    assert [accounts["a"].scores["health"].value for _, accounts in sorted(gone.items())] == [
        87.5,
        87.5,
        75,
        75,
        75,
        75,
    ]


def test_a_source_exactly_as_old_as_its_limit_has_not_stalled() -> None:
    text = with_rule("when = { below = 1 }") + "\n" + STALLS
    midnight = event("product-usage", DAY + DAY_MS)
    sent = daily(50, 50, 50, 50)
    assert shown(log(*sent[:1], midnight, *sent[1:]), text, "stalled:product-usage", "") == "..##"


def test_confidence_of_groups_and_of_impacts() -> None:
    tables = (USES, measure("m"), measure("n"))
    groups = SCORE + (
        "[scores.health.groups.g]\nweight = 3\nmeasures = { uses = 1, m = 2 }\n"
        "[scores.health.groups.h]\nweight = 1\nmeasures = { n = 5 }\n"
    )
    records = log(*daily(50))
    (boundaries,) = boundary_scores_all(records, policy(*tables, groups), NOW).values()
    assert boundaries["a"].scores["health"].confidence(["uses"]) == 0.75  # 1/3 of 3/4
    additive = '[scores.health]\nmodel = "additive"\nimpacts = { uses = -4, m = 10, n = 2 }\nmin_change = 1\n' + BANDS
    (boundaries,) = boundary_scores_all(records, policy(*tables, additive), NOW).values()
    assert boundaries["a"].scores["health"].confidence(["uses"]) == 0.75  # 4 of 16


# ---------------------------------------------------------------------------------------------------------------------
# Memory


@pytest.mark.parametrize(
    ("lines", "values", "expected"),
    [
        (("when = { below = 40 }", 'for = "2d"'), (30, 30, 30, 50, 30, 30, 50, 30, 30, 30), "..#......#"),
        (("when = { below = 40 }", 'for = "1d"'), (30, 30, 50), ".#."),
        (("when = { below = 40 }", 'for = "1h"'), (30, 30, 50), ".#."),
        (("when = { below = 40 }", 'for = "30h"'), (30, 30, 30, 50), "..#."),
        # Quiet from boundary 2 on, so it may fire again at boundary 5, which it has been waiting for since boundary 3.
        (("when = { below = 40 }", 'cooldown = "3d"'), (30, 50, 30, 30, 30, 50), "#...#."),
        (("when = { below = 40 }", 'cooldown = "3d"'), (30, 50, 30, 50, 30), "#...#"),
        (("when = { below = 40 }", 'cooldown = "1d"'), (30, 50, 30), "#.#"),
        (("when = { below = 40 }", 'cooldown = "2d"', 'for = "2d"'), (30, 30, 30, 50, 30, 30, 30), "..#...#"),
        (("when = { below = 40 }", "clear = 45"), (44, 39, 44, 44.9, 45, 44, 39), ".###..#"),
        (('when = { measure = "m", points_below = 40 }', "clear = 45"), (44, 39, 44, 45, 44), ".##.."),
        # 80, 80 and 70 before the last three: a drop of 20, of 10, of 15, then of 5.
        (('when = { drop = 20, within = "1d" }', "clear = 10"), (90, 80, 60, 50, 35, 30), "..###."),
        (('when = { drop = 20, within = "1d" }',), (90, 80, 60, 50, 35, 30), "..#..."),
        (('when = { left = "good" }', 'for = "2d"'), (75, 50, 75, 50, 50, 50, 75), ".....#."),
        (('when = { left = "good" }', 'cooldown = "3d"'), (75, 50, 75, 50, 50, 50), ".#...#"),
        (('when = { band = "poor" }', 'for = "1d"'), (30, 50, 30, 30), "...#"),
    ],
)
def test_rules_with_memory(lines: tuple[str, ...], values: tuple[float, ...], expected: str) -> None:
    assert shown(log(*daily(*values)), with_rule(*lines)) == expected


def test_so_many_firings_a_day() -> None:
    records = log(*hourly(*(30, 50) * 13))  # boundaries 01:00 to 02:00 of the next day: below at odd ones up to 23:00
    text = with_rule("when = { below = 40 }", "max_per_day = 2", window="24h")
    assert shown(records, text) == "#.#" + "." * 21 + "#."  # 01:00, 03:00, and 01:00 of the next day


def test_what_waits_for_a_new_day_fires_at_midnight() -> None:
    records = log(*hourly(*(30, 50), *(30,) * 23))
    text = with_rule("when = { below = 40 }", "max_per_day = 1", window="24h")
    assert shown(records, text) == "#" + "." * 22 + "##"


def test_only_accounts_of_its_segments() -> None:
    segments = ('[segments.big]\nwhen = { tier = ["big"] }\n', '[segments.small]\nwhen = { tier = ["small"] }\n')
    text = with_rule("when = { below = 40 }", 'segments = ["big"]', tables=segments)
    sent = daily(*(30,) * 4)
    sent.insert(2, profile(NOON + DAY_MS, tier="big"))
    sent.insert(4, profile(NOON + 2 * DAY_MS, tier="small"))
    assert shown(log(*sent), text) == ".#.."
    assert shown(log(*sent), text.replace('["big"]\n', '["big", "small"]\n', 1)) == ".#.."


# ---------------------------------------------------------------------------------------------------------------------
# Between boundaries


def arriving(text: str, *sent: tuple[str, bytes]) -> bool:
    return ("a", "r") in alerts_on_arrival(log(*sent), text, NOW)[0]


def test_on_arrival_what_holds_now_is_told() -> None:
    below = with_rule("when = { below = 40 }")
    assert arriving(below, *daily(50, 30))
    assert not arriving(below, *daily(30), signal("m", 50, NOON + DAY_MS))
    assert arriving(below, signal("m", 30, NOON))
    # With `for` it waits for boundaries; what is firing resolves at boundaries only.
    assert not arriving(with_rule("when = { below = 40 }", 'for = "1d"'), signal("m", 50, NOON), signal("m", 30))
    clear = with_rule("when = { below = 40 }", "clear = 45")
    assert arriving(clear, *daily(30), signal("m", 90, NOON + DAY_MS + 1))
    assert not arriving(clear, signal("m", 44, NOON))


def test_on_arrival_a_rule_that_is_cooling_down_is_quiet() -> None:
    sent = [*daily(30, 50), signal("m", 30, NOON + 2 * DAY_MS + 1)]  # quiet from boundary 2 on
    assert not arriving(with_rule("when = { below = 40 }", 'cooldown = "2d"'), *sent)
    assert arriving(with_rule("when = { below = 40 }", 'cooldown = "12h"'), *sent)


def test_on_arrival_a_band_left_since_the_last_boundary() -> None:
    left = with_rule('when = { left = "good" }')
    assert arriving(left, *daily(75), signal("m", 50, NOON + DAY_MS + 1))
    assert not arriving(left, signal("m", 75, NOON), signal("m", 50, NOON + 1))


# ---------------------------------------------------------------------------------------------------------------------
# Snoozes


def snooze(time_ms: int, until: object, rule: str = "r") -> tuple[str, bytes]:
    return event("controls", time_ms, kind="snooze", rule=rule, until=until, by="ann")


def test_a_snooze_lasts_until_its_end() -> None:
    text = with_rule("when = { below = 40 }")
    two_days_ms = DAY + 2 * DAY_MS
    records = log(signal("m", 30, NOON), snooze(NOON, two_days_ms), *daily(30, first_ms=NOON + 3 * DAY_MS))
    snoozed = [snoozed_at(records, text, NOW, DAY + day * DAY_MS) for day in (0, 1, 2)]
    assert snoozed == [{}, {("a", "r"): two_days_ms}, {}]


def test_a_later_snooze_takes_the_place_of_an_earlier_one() -> None:
    text = with_rule("when = { below = 40 }")
    long = snooze(NOON, "2024-11-04T00:00:00Z")  # a month
    records = log(long, snooze(NOON + 1, DAY + 2 * DAY_MS), snooze(NOON + 1, NOON + 5 * DAY_MS, "other"))
    assert snoozed_at(records, text, NOW, DAY + DAY_MS)["a", "r"] == DAY + 2 * DAY_MS
    ended = log(long, snooze(NOON + 1, NOON + 1))
    assert snoozed_at(ended, text, NOW, DAY + DAY_MS) == {}
    refused = log(long, event("controls", NOON + 1, kind="snooze", rule="r", by="ann"))
    assert ("a", "r") in snoozed_at(refused, text, NOW, DAY + DAY_MS)


def test_an_acknowledgement_names_a_rule() -> None:
    good = event("controls", NOON, kind="acknowledge", rule="r", by="ann")
    for bad in (
        event("controls", NOON, kind="acknowledge", by="ann"),
        event("controls", NOON, kind="acknowledge", rule=""),
    ):
        assert outcomes(log(good, bad), with_rule("when = { below = 40 }"), NOW) == {
            ("controls", "applied"): 1,
            ("controls", "rejected"): 1,
        }
