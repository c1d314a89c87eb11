"""The oracle's bands with `leave` and `dwell`, judged by what was worked out by hand.

Every score is the last value of the signal `m`, unless a test says otherwise; what is sent at noon of a day is judged
at the next midnight, which is a boundary.
"""

from __future__ import annotations

from fractions import Fraction

import pytest

from tests.oracle.bands import Held, after_boundary, band_due
from tests.oracle.cases import DAY, NOW, event, log, measure, policy, profile, score, scored, signal
from tests.oracle.engine import Record, band_episodes, boundary_scores, boundary_scores_all, final_scores
from tests.oracle.policy import Band, read_policy
from tests.strategies.policies import DAY_MS, HOUR_MS

NOON = DAY + 12 * HOUR_MS
PLAIN = (
    'bands = [{ name = "good", from = 70 }, { name = "fair", from = 40, alert = "warning" }, '
    '{ name = "poor", from = 0, alert = "critical" }]\n'
)
LEAVE = (
    'bands = [{ name = "good", from = 70, leave = 60 }, { name = "fair", from = 40, leave = 30, alert = "warning" }, '
    '{ name = "poor", from = 0, alert = "critical" }]\n'
)
LETTERS = {"good": "g", "fair": "f", "poor": "p"}


def kept(bands: str, *lines: str, window: str = "30d") -> str:
    """Write a policy of one score that is the last value of `m`."""
    table = "\n".join(["[scores.health]", "min_change = 1", *lines, bands])
    return policy(measure("m", f'window = "{window}"', "weight = 1"), table)


def daily(*values: float, first_ms: int = NOON, step_ms: int = DAY_MS) -> list[tuple[str, bytes]]:
    """Send a value at noon of each day, and a day later an event that no measure reads, so that the boundary passes."""
    sent = [signal("m", value, first_ms + index * step_ms) for index, value in enumerate(values)]
    return [*sent, event("billing", first_ms + len(values) * step_ms, kind="invoice_paid")]


def at_boundaries(records: list[Record], text: str, name: str | None = None) -> str:
    """Return the bands of account `a` at every boundary that finds it, as their first letters."""
    actual = [accounts["a"].scores for _, accounts in sorted(boundary_scores_all(records, text, NOW).items())]
    return "".join(LETTERS[scores[name or next(iter(scores))].band or ""] for scores in actual)


# ---------------------------------------------------------------------------------------------------------------------
# Leave


@pytest.mark.parametrize(
    ("values", "bands"),
    [
        ((75, 65, 60, 59.9, 65, 69, 70), "gggfffg"),  # down below 60, up again at 70
        ((45, 35, 30, 29, 35, 40), "fffppf"),  # 29 after fair: below 30, so poor
        ((75, 35, 65), "gff"),  # who was good is at least fair down to 30
        ((75, 29, 65, 75), "gpfg"),
        ((65, 35, 35), "fff"),
        ((35, 65), "pf"),  # on the first boundary, the score alone
    ],
)
def test_leave_alone(values: tuple[float, ...], bands: str) -> None:
    assert at_boundaries(log(*daily(*values)), kept(LEAVE)) == bands


def test_a_band_may_be_left_below_the_start_of_the_next() -> None:
    bands = (
        'bands = [{ name = "good", from = 70, leave = 20 }, { name = "fair", from = 40, leave = 35 }, '
        '{ name = "poor", from = 0 }]\n'
    )
    assert at_boundaries(log(*daily(70, 36, 34, 20, 19, 36, 41, 36, 34)), kept(bands)) == "gggg" + "pp" + "ff" + "p"


def test_between_boundaries_the_band_follows_the_score_from_the_one_held() -> None:
    sent = [signal("m", 75, NOON), signal("m", 59, NOON + DAY_MS)]
    assert score(log(*sent), kept(LEAVE)).band == "fair"
    # What was shown for an hour was not held at a boundary.
    again = [*sent, signal("m", 65, NOON + DAY_MS + HOUR_MS)]
    assert score(log(*again), kept(LEAVE)).band == "good"
    assert final_scores(log(*again), kept(LEAVE), NOW)["a"].band == "good"
    assert score(log(*again), kept(PLAIN)).band == "fair"


def test_alerts_follow_the_bands_that_are_shown() -> None:
    records = log(*daily(41, 39, 41, 29, 31, 41))
    day = [DAY + number * DAY_MS for number in range(7)]
    assert band_episodes(boundary_scores(records, kept(LEAVE), NOW)) == [
        ("a", "band:health:fair", "firing", day[1]),
        ("a", "band:health:fair", "resolved", day[4]),
        ("a", "band:health:poor", "firing", day[4]),
        ("a", "band:health:poor", "resolved", day[6]),
        ("a", "band:health:fair", "firing", day[6]),
    ]
    # Fair, poor, fair, poor, poor, fair: a beginning, and four ends with a beginning.
    assert len(band_episodes(boundary_scores(records, kept(PLAIN), NOW))) == 9


# ---------------------------------------------------------------------------------------------------------------------
# Dwell


@pytest.mark.parametrize(
    ("dwell", "values", "bands"),
    [
        (
            "2d",
            (75, 50, 50, 50, 50),
            "gggff",
        ),  # due at three boundaries, the first two days before the last
        ("2d", (75, 50, 50, 75, 50, 50, 50), "ggggggf"),  # good once again: it starts anew
        ("2d", (75, 50, 20, 20), "gggp"),  # a third band goes on with it, and the one due now is held
        ("2d", (75, 20, 20, 50), "gggf"),
        ("2d", (75, 50, 50, 50, 20, 20, 20), "gggfffp"),
        ("2d", (20, 50, 75, 75, 75), "pppgg"),  # upwards as well
        ("48h", (75, 50, 50, 50, 50), "gggff"),
        ("36h", (75, 50, 50, 50, 50), "gggff"),
        ("1d", (75, 50, 50, 20, 50, 20, 20), "ggffffp"),
        ("1h", (75, 50, 50), "ggf"),  # less than from boundary to boundary is one boundary more
        ("25h", (75, 50, 50, 50), "gggf"),
    ],
)
def test_dwell_alone(dwell: str, values: tuple[float, ...], bands: str) -> None:
    assert at_boundaries(log(*daily(*values)), kept(PLAIN, f'dwell = "{dwell}"')) == bands


def test_dwell_over_hours() -> None:
    records = log(*daily(75, 50, 50, 50, 50, first_ms=DAY + 1, step_ms=HOUR_MS))
    assert at_boundaries(records, kept(PLAIN, 'dwell = "2h"', window="24h")) == "gggff"
    assert at_boundaries(records, kept(PLAIN, 'dwell = "1d"', window="24h")) == "ggggg"
    long = log(*daily(75, *(50,) * 26, first_ms=DAY + 1, step_ms=HOUR_MS))
    # Due from 02:00 on, for a day at 02:00 of the next.
    assert at_boundaries(long, kept(PLAIN, 'dwell = "1d"', window="24h")) == "g" * 25 + "ff"


def test_between_boundaries_the_held_band_is_shown() -> None:
    text = kept(PLAIN, 'dwell = "1d"')
    sent = [signal("m", value, NOON + day * DAY_MS) for day, value in enumerate((75, 20))]
    assert [score(log(*sent[:count]), text).band for count in (1, 2)] == ["good", "good"]
    assert score(log(*sent, signal("m", 20, NOON + 2 * DAY_MS)), text).band == "good"
    assert score(log(*sent, signal("m", 20, NOON + 3 * DAY_MS)), text).band == "poor"


def test_time_alone_passes_boundaries() -> None:
    text = kept(PLAIN, 'dwell = "2d"')
    records = log(signal("m", 75, NOON), signal("m", 50, NOON + DAY_MS))
    assert score(records, text).band == "good"
    # Fair is due from the boundary of day 2 on.
    for as_of_ms, band in (
        (NOON + DAY_MS, "good"),
        (DAY + 3 * DAY_MS, "good"),
        (DAY + 4 * DAY_MS - 1, "good"),
        (DAY + 4 * DAY_MS, "fair"),
        (NOON + 9 * DAY_MS, "fair"),
    ):
        actual = score(records, text, as_of_ms)
        assert (actual.value, actual.band, actual.alert) == (50, band, "warning" if band == "fair" else None)


def test_what_time_alone_takes_is_held_too() -> None:
    # The least of two days: 75, then 20 for two boundaries, then 65.
    least = measure("m", 'stat = "min"', 'window = "2d"', "weight = 1", "missing = 10")
    text = policy('[status]\ndormant_after = "9d"', least, "[scores.health]\nmin_change = 1\n" + LEAVE)
    records = log(*(signal("m", value, NOON + day * DAY_MS) for day, value in enumerate((75, 20, 65))))
    shown = [score(records, text, NOON + day * DAY_MS).band for day in (2, 3, 4)]
    assert shown == ["poor", "fair", "poor"]
    # Nobody has been poor at a boundary here: 65 is still good.
    less = log(*(signal("m", value, NOON + day * DAY_MS) for day, value in enumerate((75, 65))))
    assert [score(less, text, NOON + day * DAY_MS).band for day in (1, 2, 3)] == ["good", "good", "poor"]


# ---------------------------------------------------------------------------------------------------------------------
# Both


@pytest.mark.parametrize(
    ("values", "bands"),
    [
        ((75, 65, 65, 55, 55), "ggggf"),  # 65 is good as long as good is held
        ((75, 55, 62, 55, 55), "ggggf"),  # 62 starts it anew
        ((75, 55, 55, 65, 65, 72, 72), "ggffffg"),
        ((75, 29, 35, 35), "ggff"),  # poor was due, then fair: due from the held good on, 35 is fair
        ((75, 29, 29, 35, 35), "ggppp"),
    ],
)
def test_leave_and_dwell(values: tuple[float, ...], bands: str) -> None:
    assert at_boundaries(log(*daily(*values)), kept(LEAVE, 'dwell = "1d"')) == bands


def test_each_score_holds_a_band_of_its_own() -> None:
    tables = [
        "[scores.one]\nmin_change = 1\n" + LEAVE,
        "[scores.two]\nmin_change = 1\n" + PLAIN,
        '[scores.three]\nmin_change = 1\ndwell = "1d"\n' + PLAIN,
    ]
    text = policy(measure("m", "weight = 1"), *tables)
    records = log(*daily(75, 65, 59, 65))
    assert [at_boundaries(records, text, name) for name in ("one", "two", "three")] == ["ggff", "gfff", "ggff"]


def test_without_leave_and_dwell_nothing_is_held() -> None:
    assert [read_policy(text).holds_bands for text in (kept(PLAIN), kept(LEAVE), kept(PLAIN, 'dwell = "1h"'))] == [
        False,
        True,
        True,
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Exceptions

# The score is the mean of `m` and `n`.
EXCEPTION = 'exceptions = [{ measure = "n", points_below = 50, band = "fair" }]'


def pairs(*values: tuple[float, float]) -> list[Record]:
    sent = []
    for day, (m, n) in enumerate(values):
        sent += [signal("m", m, NOON + day * DAY_MS), signal("n", n, NOON + day * DAY_MS)]
    return log(*sent, event("billing", NOON + len(values) * DAY_MS, kind="invoice_paid"))


def excepted(*lines: str) -> str:
    table = "\n".join(["[scores.health]", "min_change = 1", *lines, LEAVE])
    return policy(measure("m", "weight = 1"), measure("n", "weight = 1"), table)


def test_an_exception_limits_what_is_due() -> None:
    # 90, 70 with the exception, 65 without, 70 without.
    records = pairs((80, 100), (100, 40), (80, 50), (90, 50))
    assert at_boundaries(records, excepted(EXCEPTION)) == "gffg"
    assert at_boundaries(records, excepted()) == "gggg"


def test_an_exception_waits_for_dwell() -> None:
    records = pairs((80, 100), (100, 40), (100, 40), (80, 50), (90, 50), (90, 50))
    assert at_boundaries(records, excepted(EXCEPTION, 'dwell = "1d"')) == "ggfffg"
    actual = score(records[:4], excepted(EXCEPTION, 'dwell = "1d"'))
    assert (actual.band, actual.exceptions) == ("good", ["n"])


def test_a_lower_band_than_the_exception_s_stays() -> None:
    # 30 with the exception: at least fair down to 30. 25: poor, and 35 does not lead out of it.
    assert at_boundaries(pairs((80, 100), (20, 40), (10, 40), (30, 40)), excepted(EXCEPTION)) == "gfpp"


# ---------------------------------------------------------------------------------------------------------------------
# Segments

OTHER = (
    '[segments.one]\nwhen = { tier = ["one"] }',
    '[segments.two]\nwhen = { tier = ["two"] }',
)
STARTS = (
    "[scores.health.segments.one]\nbands = { good = 50, fair = 5 }",
    "[scores.health.segments.two]\nbands = { good = 90 }",
)


def test_in_a_segment_leave_keeps_its_distance() -> None:
    text = policy(*OTHER, measure("m", "weight = 1"), "[scores.health]\nmin_change = 1\n" + LEAVE, *STARTS)
    mine = profile(NOON, tier="one")
    # Good is left below 40, and fair below -5, which is 0.
    assert at_boundaries(log(mine, *daily(55, 40, 39, 49, 50, 4, 0)), text) == "ggffgff"
    assert at_boundaries(log(mine, *daily(4, 5, 4)), text) == "pff"
    # Good from 90, left below 80; fair as in the policy.
    assert at_boundaries(log(profile(NOON, tier="two"), *daily(85, 90, 80, 79, 30, 29)), text) == "fggffp"


def test_a_bare_sum_s_leave_goes_below_0_in_a_segment() -> None:
    table = '[scores.health]\nmodel = "additive"\nimpacts = { m = 1 }\nmin_change = 1\n'
    text = policy(*OTHER, measure("m"), table + LEAVE, *STARTS)
    mine = profile(NOON, tier="one")
    assert at_boundaries(log(mine, *daily(5, 0, -5, -6, 4)), text) == "fffpp"
    mapped = policy(*OTHER, measure("m"), table + "map = { zero_at = 0, hundred_at = 100 }\n" + LEAVE, *STARTS)
    assert at_boundaries(log(mine, *daily(5, 0, -5, -6, 4)), mapped) == "fffff"


def test_the_held_band_goes_along_into_another_segment() -> None:
    text = policy(*OTHER, measure("m", "weight = 1"), "[scores.health]\nmin_change = 1\n" + LEAVE, *STARTS)
    sent = daily(85, 85, 79)
    moved = log(sent[0], signal("x", 0, NOON + DAY_MS - 1), profile(NOON, tier="two"), *sent[1:])
    assert at_boundaries(moved, text) == "ggf"
    assert at_boundaries(log(profile(NOON, tier="two"), *sent), text) == "fff"


# ---------------------------------------------------------------------------------------------------------------------
# Additive scores


def test_a_bare_sum_may_be_left_below_0() -> None:
    bands = (
        'bands = [{ name = "good", from = 10, leave = -10 }, { name = "fair", from = -20, leave = -40 }, '
        '{ name = "poor", from = -50 }]\n'
    )
    text = policy(measure("m"), '[scores.health]\nmodel = "additive"\nimpacts = { m = 2 }\nmin_change = 1\n' + bands)
    # Sums: 10, -10, -12, 8, -40, -42, -22, -100, -20.
    assert at_boundaries(log(*daily(5, -5, -6, 4, -20, -21, -11, -50, -10)), text) == "ggfffpppf"


def test_a_mapped_sum_dwells() -> None:
    table = '[scores.health]\nmodel = "additive"\nimpacts = { m = 1 }\nmap = { zero_at = -100, hundred_at = 100 }\n'
    text = policy(measure("m"), table + 'dwell = "1d"\nmin_change = 1\n' + PLAIN)
    # Scores: 75, 50, 50, 0, 100, 100, 0; from the fourth on, fair is not due.
    assert at_boundaries(log(*daily(50, 0, 0, -300, 300, 300, -300)), text) == "ggffggg"


# ---------------------------------------------------------------------------------------------------------------------
# Late events, and accounts that are new


def test_a_late_event_does_not_revise_what_was_held() -> None:
    on_time = [signal("m", 75, NOON), signal("m", 55, NOON + DAY_MS), signal("m", 65, NOON + 2 * DAY_MS)]
    late = signal("m", 80, NOON + DAY_MS + 1)
    assert score(log(*on_time, late), kept(LEAVE)).band == "fair"
    assert score(log(*on_time[:2], late, on_time[2]), kept(LEAVE)).band == "good"
    # It does correct the score, and what is shown of it.
    newer = signal("x", 0, NOON + 2 * DAY_MS + 9)
    corrected = score(log(*on_time, newer, signal("m", 70, NOON + 2 * DAY_MS + 8)), kept(LEAVE))
    assert (corrected.value, corrected.band) == (70, "good")


def test_a_late_event_does_not_shorten_a_dwell() -> None:
    text = kept(PLAIN, 'dwell = "1d"')
    sent = [signal("m", 75, NOON), signal("m", 74, NOON + DAY_MS), signal("m", 50, NOON + 2 * DAY_MS)]
    late, end = signal("m", 49, NOON + DAY_MS + 1), signal("x", 0, NOON + 3 * DAY_MS)
    assert at_boundaries(log(*sent, late, end), text) == "ggg"
    assert at_boundaries(log(*sent[:2], late, sent[2], end), text) == "ggf"


def test_before_its_first_boundary_an_account_holds_to_nothing() -> None:
    for text in (kept(LEAVE), kept(PLAIN, 'dwell = "9d"'), kept(LEAVE, 'dwell = "9d"')):
        sent = [signal("m", 75, NOON), signal("m", 65, NOON + HOUR_MS), signal("m", 35, NOON + 2 * HOUR_MS)]
        assert [score(log(*sent[:count]), text).band for count in (1, 2, 3)] == ["good", "fair", "poor"]
        # At the first boundary, what is due is held at once.
        assert at_boundaries(log(*sent, event("billing", NOON + DAY_MS, kind="invoice_paid")), text) == "p"
        assert score(log(*sent), text, DAY + DAY_MS).band == "poor"


def test_a_boundary_at_the_newest_event_has_not_passed() -> None:
    text = kept(LEAVE)
    sent = [signal("m", 75, NOON), signal("m", 50, DAY + DAY_MS)]
    assert at_boundaries(log(*sent), text) == ""
    # What comes at the boundary's own time counts at it.
    assert at_boundaries(log(*sent, signal("m", 65, DAY + DAY_MS + 1)), text) == "f"
    assert score(log(*sent, signal("m", 65, DAY + DAY_MS + 1)), text).band == "fair"


def test_an_account_holds_from_the_first_boundary_after_its_first_event_was_read() -> None:
    others = signal("m", 0, NOON + 5 * DAY_MS, account="b")
    mine = [signal("m", 75, NOON), signal("m", 65, NOON + 5 * DAY_MS)]
    assert scored(log(others, *mine), kept(LEAVE)).scores["health"].band == "fair"
    assert scored(log(*mine, others), kept(LEAVE)).scores["health"].band == "good"


# ---------------------------------------------------------------------------------------------------------------------
# The rules by themselves

GOOD = Band("good", Fraction(70), None, Fraction(60))
FAIR = Band("fair", Fraction(40), None, Fraction(30))
POOR = Band("poor", Fraction(0), None, Fraction(0))


@pytest.mark.parametrize(
    ("total", "held", "limits", "due"),
    [
        ("69.9999999996", None, [], GOOD),  # 70 to nine decimals
        ("59.9999999996", "good", [], GOOD),
        ("59.999999999", "good", [], FAIR),
        ("60", "fair", [], FAIR),
        ("90", "fair", [FAIR, POOR], POOR),
        ("-1", "good", [], POOR),
    ],
)
def test_what_is_due(total: str, held: str | None, limits: list[Band], due: Band) -> None:
    assert band_due(Fraction(total), (GOOD, FAIR, POOR), held, limits) == due


def test_what_is_held_after_a_boundary() -> None:
    assert after_boundary(None, "fair", 2, 10) == Held("fair")
    assert after_boundary(Held("good"), "fair", 0, 10) == Held("fair")
    assert after_boundary(Held("good"), "fair", 2, 10) == Held("good", 10)
    assert after_boundary(Held("good", 10), "poor", 2, 11) == Held("good", 10)
    assert after_boundary(Held("good", 10), "poor", 2, 12) == Held("poor")
    assert after_boundary(Held("good", 10), "good", 2, 12) == Held("good")
