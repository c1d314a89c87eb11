"""Every policy that docs/reference/policy shows, replayed over a small log; the numbers are worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.policy.policy import parse_policy
from tests.golden.replays import Log, day_ms, gives, midnight, near, replay, values
from tests.pages.blocks import POLICY_PAGES, blocks, text_of

CASES = {file.name.removesuffix(".test.toml"): file for file in (Path(__file__).parent / "cases").glob("*.test.toml")}
"""The files of cases of policies that the pages show, by the name of the policy."""
SHOWN: dict[str, str] = {parse_policy(text).name: text for text in blocks("toml", *POLICY_PAGES)}


def changed(name: str, old: str, new: str) -> str:
    assert SHOWN[name].count(old) == 1
    return SHOWN[name].replace(old, new)


def test_every_policy_shown_is_played() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_documented_*.py"))
    assert len(SHOWN) == text_of(*POLICY_PAGES).count("```toml")
    assert [name for name in SHOWN if f'"{name}"' not in text and name not in CASES] == []
    assert CASES.keys() <= SHOWN.keys()


@pytest.mark.parametrize(
    ("now", "change", "points", "band"),
    [(8, -20, 50, "steady"), (12, 20, 100, "growing"), (6, -40, 0, "fading"), (7, -30, 50, "steady")],
)
def test_trend(tmp_path: Path, now: int, change: float, points: float, band: str) -> None:
    # 10 in the 28 complete days before, on their first and last day; 57 days ago is too early, today too late.
    log = Log().add("product-usage", "a", 28, times=now).add("product-usage", "a", 29, times=9)
    log.add("product-usage", "a", 56).add("product-usage", "a", 57, times=5).add("product-usage", "a", 0, times=50)
    score = replay(tmp_path, SHOWN["trend"], log).score("a")
    assert values(score) == {"usage_trend": change}
    assert (score.value, score.band) == (points, band)


def test_a_trend_of_a_new_customer_is_missing(tmp_path: Path) -> None:
    score = replay(tmp_path, SHOWN["trend"], Log().add("product-usage", "a", 3, times=5)).score("a")
    assert values(score) == {"usage_trend": None}
    assert (score.value, score.band) == (50, "steady")


def weeks(*counts: int) -> Log:
    """So many events in the last 7 complete days, in those before and so on, on the first or the last day of each."""
    log = Log()
    for week, count in enumerate(counts):
        log.add("product-usage", "a", 7 * week + (7 if week % 2 else 1), times=count)
    return log


@pytest.mark.parametrize(
    ("now", "before", "z"),
    [
        (5, [2, 4] * 6, 2.0),  # mean 3, standard deviation 1
        (2, [2, 4] * 6, -1.0),
        (3, [3] * 12, 0.0),
        (4, [3] * 12, None),
        (1, [0] * 11 + [12], 0.0),  # mean 1
        (3, [0] * 11 + [12], 0.603023),  # deviation: sqrt((11 x 1 + 121) / 12) = sqrt(11); 2 / sqrt(11)
    ],
)
def test_z_against_the_weeks_before(tmp_path: Path, now: int, before: list[int], z: float | None) -> None:
    score = replay(tmp_path, changed("own-history", '"percentile"', '"z"'), weeks(now, *before)).score("a")
    assert values(score) == {"usage": z}


@pytest.mark.parametrize(
    ("days_later", "score", "band"), [(0, 100, "attention"), (1, 100, "attention"), (2, 80, "healthy")]
)
def test_a_band_changes_when_another_has_been_due_for_so_long(
    tmp_path: Path, days_later: int, score: float, band: str
) -> None:
    # 50 events six days ago: attention. 80 more yesterday: healthy is due at midnight, and changes two days after it.
    log = Log().add("product-usage", "a", 6, 50).add("product-usage", "a", 1, 80)
    replayed = replay(tmp_path, SHOWN["steady-bands"], log, days_later)
    assert (replayed.score("a").value, replayed.score("a").band) == (score, band)
    # The band alone is a change too: it is published by itself once the score has been published.
    published = [(change.to, change.band_to) for change in replayed.changes]
    assert published[0] == (1, "poor") or published[0] == (50, "attention")
    assert published[-1] == (score, band)


def two_scores() -> Log:
    log = Log()
    for feature in range(4):
        for account in "ab":
            log.add("product-usage", account, feature, feature=f"f{feature}", user_id=f"u{feature}")
    for account in "ab":
        log.users(account, 6, days_ago=1, feature="f0")
    # Surveys before the window: the newest day that has one holds.
    log.add("surveys", "a", 200, score=8).add("surveys", "a", 200, score=10).add("surveys", "a", 201, score=0)
    return log.add("engagement", "a", 364, kind="referral").add("engagement", "a", 1, kind="webinar")


def test_additive_with_a_base_and_clamped(tmp_path: Path) -> None:
    # On -50..150: 100 / 200 points for one: 40 -> 20, 25 -> 12.5, base 50 x 100 / 200 = 25: 57.5.
    policy = changed(
        "two-scores", "map = { zero_at = 0, hundred_at = 100 }", "map = { zero_at = -50, hundred_at = 150 }"
    )
    a = replay(tmp_path, policy, two_scores()).score("a", "upsell")
    assert gives(a) == near({"depth": 20, "referrals": 12.5, "base": 25, "clamping": 0})
    assert (a.value, a.band) == (near(57.5), "not yet")
    # 5 more referrals: 40 + 150 = 190 on 0..100: 90 too many.
    log = two_scores().add("engagement", "a", times=2, kind="reference").add("engagement", "a", times=3, kind="review")
    a = replay(tmp_path, SHOWN["two-scores"], log).score("a", "upsell")
    assert gives(a) == near({"depth": 40, "referrals": 150, "base": 0, "clamping": -90})
    assert (a.value, a.band) == (100, "ready")


def test_additive_without_a_line(tmp_path: Path) -> None:
    # 4 x -10 + 25 = -15: below the lowest band, which takes everything below it.
    policy = changed("two-scores", "map = { zero_at = 0, hundred_at = 100 }\n", "").replace("depth = 10", "depth = -10")
    a = replay(tmp_path, policy, two_scores()).score("a", "upsell")
    assert gives(a) == {"depth": -40, "referrals": 25}
    assert (a.value, a.band) == (-15, "not yet")


def by_segment() -> Log:
    log = Log()
    for account, users, trainings in (("new", 9, 1), ("old", 4, 1), ("big", 40, 2), ("big-new", 40, 2), ("none", 4, 1)):
        log.users(account, users).add("engagement", account, times=trainings, kind="training")
    log.add("accounts", "new", started_at=day_ms(89), tier="pro", arr=5)
    log.add("accounts", "old", started_at=day_ms(90), tier="enterprise", arr=99_999)
    log.add("accounts", "big", started_at=day_ms(400), tier="enterprise", arr=100_000)
    return log.add("accounts", "big-new", started_at=day_ms(10), tier="enterprise", arr=100_000)


def test_a_move_between_segments_is_a_cause(tmp_path: Path) -> None:
    # The next day is day 90: (2 x 90 + 1 x 50) / 3 = 76.67 with the policy's own weights.
    replayed = replay(tmp_path, SHOWN["by-segment"], by_segment(), days_later=1)
    assert replayed.accounts["new"].segment is None
    (change,) = [change for change in replayed.changes if change.account_id == "new" and change.cause == "segment"]
    assert (change.from_, change.to) == (near(190 / 3), near(230 / 3))
    # Logins from a third of 90 to two thirds, training from two thirds of 50 to one.
    assert {factor.measure: factor.delta for factor in change.factors} == near({"logins": 30, "training": -50 / 3})


def test_days_pass_by_segments_long_after_the_last_event_also_where_windows_are_hours(tmp_path: Path) -> None:
    # The 90th day is 60 days after the only event, whose 24 hours are long over: no points before and after, but the
    # band begins elsewhere.
    policy = (
        'name = "hours"\n[status]\ndormant_after = "365d"\n[segments.new]\n'
        "when = { days_since_start = { below = 90 } }\n[measures.m]\n"
        'source = "engagement"\nstat = "count"\nwindow = "24h"\nweight = 1\n'
        'normalise = { kind = "threshold", good = 1, average = 0 }\n[scores.health]\nmin_change = 1\n'
        'bands = [{ name = "high", from = 60 }, { name = "low", from = 0 }]\n'
        "[scores.health.segments.new]\nbands = { high = 40 }\n"
    )
    log = Log().add("engagement", "a").add("accounts", "a", started_at=day_ms(30))
    replayed = replay(tmp_path, policy, log, days_later=70)
    assert (replayed.score("a").value, replayed.score("a").band) == (50, "low")
    last = replayed.changes[-1]
    assert (last.cause, last.band_from, last.band_to) == ("segment", "high", "low")
    assert last.time == day_ms(-60) - 12 * 3_600_000  # midnight


@pytest.mark.parametrize(("days_later", "score"), [(0, 20), (87, 20), (88, None)])
def test_pulse(tmp_path: Path, days_later: int, score: float | None) -> None:
    # The later one counts; on the 90th day after it there is none left, and nothing else: no data.
    log = Log().add("controls", "a", 5, value=80, by="ann").add("controls", "a", 2, value=20, by="bob")
    replayed = replay(tmp_path, SHOWN["pulse"], log, days_later)
    actual = replayed.score("a")
    assert (actual.value, actual.band) == (score, None if score is None else "poor")
    assert [change.cause for change in replayed.changes][:2] == ["pulse", "pulse"]


# ---------------------------------------------------------------------------------------------------------------------
# Statements of the page that have no complete policy

HEALTH = '[scores.health]\nmin_change = 1\nbands = [{ name = "all", from = 0 }]\n'


def one_measure(lines: str) -> str:
    return f'name = "one"\n[measures.m]\n{lines}\nweight = 1\n{HEALTH}'


@pytest.mark.parametrize(
    ("days", "points"), [(0, 100), (15, 50 * 2**0.5), (30, 50), (60, 25), (89, 12.5 * 2 ** (1 / 30))]
)
def test_what_happened_fades_by_half_every_half_life(tmp_path: Path, days: int, points: float) -> None:
    lines = 'source = "engagement"\nstat = "days_since_last"\nwindow = "90d"\n'
    policy = one_measure(lines + 'normalise = { kind = "decay", half_life = 30 }\nmissing = "zero"')
    log = Log().add("engagement", "a", days)
    assert replay(tmp_path, policy, log).score("a").value == near(points)


@pytest.mark.parametrize(("missing", "score"), [('"zero"', 30), ('"neutral"', 55), ("90", 75), ('"redistribute"', 60)])
def test_what_a_missing_value_gives(tmp_path: Path, missing: str, score: float) -> None:
    # nps has half the weight: (60 + 0) / 2, (60 + 50) / 2, (60 + 90) / 2; or the other one, 60, has all of it.
    policy = one_measure(
        'source = "product-usage"\nstat = "distinct_users"\nwindow = "30d"\n'
        'normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }'
    ).replace(
        HEALTH,
        '[measures.nps]\nsource = "surveys"\nstat = "mean"\nfield = "score"\nwindow = "30d"\nweight = 1\n'
        f'normalise = {{ kind = "linear", zero_at = 0, hundred_at = 10 }}\nmissing = {missing}\n{HEALTH}',
    )
    assert replay(tmp_path, policy, Log().users("a", 6)).score("a").value == near(score)


def test_facts_of_the_profile(tmp_path: Path) -> None:
    facts = {"tenure": ("days_since", "started_at"), "renewal": ("days_until", "renewal_at"), "arr": ("value", "arr")}
    policy = 'name = "facts"\n' + "".join(
        f'[measures.{name}]\nsource = "accounts"\nstat = "{stat}"\nfield = "{field}"\n'
        for name, (stat, field) in facts.items()
    )
    policy += '[measures.meetings]\nsource = "engagement"\nstat = "count"\nwindow = "30d"\n'
    policy += HEALTH + 'model = "additive"\nimpacts = { tenure = 1, renewal = 2, arr = 0.001, meetings = 5 }\n'
    log = Log().add("engagement", "a").add("engagement", "b")
    log.add("accounts", "a", started_at=day_ms(100), renewal_at=day_ms(-30), arr=12_000)
    # 100 + 2 x 30 + 12 + 5 = 177; ten days later the tenure is 110 and the renewal 20 days away: 167.
    a = replay(tmp_path, policy, log).score("a")
    assert values(a) == {"tenure": 100, "renewal": 30, "arr": 12_000, "meetings": 1}
    assert a.value == near(177)
    replayed = replay(tmp_path, policy, log, days_later=10)
    assert replayed.score("a").value == near(167)
    assert values(replayed.score("b")) == {"tenure": None, "renewal": None, "arr": None, "meetings": 1}
    assert replayed.score("b").value == 5


def test_another_score_stands_in_for_a_segment(tmp_path: Path) -> None:
    # The weights and the exception of `strict` (nps counts alone, not above 40) with the bands of `health`.
    scores = """
[scores.strict]
min_change = 1
weights = { nps = 1 }
exceptions = [{ measure = "logins", points_below = 50, cap = 40 }]
bands = [{ name = "all", from = 0 }]
[scores.health.segments.enterprise]
use = "strict"
"""
    policy = (
        'name = "stands-in"\n[segments.enterprise]\nwhen = { tier = ["enterprise"] }\n'
        '[measures.logins]\nsource = "product-usage"\nstat = "distinct_users"\nwindow = "30d"\n'
        'normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }\nweight = 3\n'
        '[measures.nps]\nsource = "surveys"\nstat = "mean"\nfield = "score"\nwindow = "30d"\nweight = 1\n'
        'normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }\n[scores.health]\nmin_change = 1\n'
        'bands = [{ name = "high", from = 35 }, { name = "low", from = 0 }]\n'
    ) + scores
    log = Log().add("accounts", "big", tier="enterprise").add("accounts", "small", tier="free")
    for account in ("big", "small"):
        log.users(account, 2).add("surveys", account, score=9)
    replayed = replay(tmp_path, policy, log)
    big, small = replayed.score("big", "health"), replayed.score("small", "health")
    assert gives(big) == near({"logins": 0, "nps": 90, "exception": -50})
    assert (big.value, big.band, big.exceptions) == (40, "high", ["logins"])
    # (3 x 20 + 90) / 4 = 37.5
    assert gives(small) == near({"logins": 15, "nps": 22.5, "exception": 0})
    assert (small.value, small.band, small.exceptions) == (near(37.5), "high", [])


def test_a_new_account_alerts_when_it_is_new_no_longer(tmp_path: Path) -> None:
    # 10 uses are 10 points: poor. a: first event on the day 20 days ago, so new until the midnight of the day 6 days
    # ago, when it is still poor. b: first event 3 days ago, so new until the midnight of the day in 11 days.
    log = Log().add("product-usage", "a", 20, times=10).add("product-usage", "b", 3, times=10)
    replayed = replay(tmp_path, SHOWN["new-accounts"], log)
    a, b = replayed.accounts["a"], replayed.accounts["b"]
    assert [(message.state, message.new_until) for message in (a, b)] == [(None, None), ("new", midnight(-11))]
    assert [(replayed.score(name).value, replayed.score(name).band) for name in "ab"] == [(near(10), "poor")] * 2
    assert replayed.published() == [("firing", "band:health:poor", "a", midnight(6))]


@pytest.mark.parametrize(
    ("zone", "days", "score"), [("America/New_York", 2, 50), ("UTC", 1, 25), ("Asia/Kolkata", 1, 25)]
)
def test_days_are_those_of_the_time_zone(tmp_path: Path, zone: str, days: int, score: float) -> None:
    # 03:30 UTC on 26 March is 23:30 on the 25th in New York, and 09:00 on the 26th in India.
    log = Log()
    for time in ("2026-03-26T03:30:00Z", "2026-03-26T12:00:00Z"):
        log.add("product-usage", "a", time=time)
    replayed = replay(tmp_path, changed("new-york", '"America/New_York"', f'"{zone}"'), log).score("a")
    assert values(replayed) == {"active_days": days}
    assert replayed.value == near(score)
