"""The policies that docs/reference/policy shows, and the score changes that they publish; scores are in `cases`."""

from __future__ import annotations

from pathlib import Path

from stream.policy.policy import parse_policy
from tests.golden.replays import Log, day_ms, near, replay
from tests.pages.blocks import POLICY_PAGES, blocks, text_of

SHOWN: dict[str, str] = {parse_policy(text).name: text for text in blocks("toml", *POLICY_PAGES)}


def changed(name: str, old: str, new: str) -> str:
    assert SHOWN[name].count(old) == 1
    return SHOWN[name].replace(old, new)


def test_every_policy_shown_is_read() -> None:
    assert len(SHOWN) == text_of(*POLICY_PAGES).count("```toml")


def test_a_band_that_changes_by_itself_is_a_change(tmp_path: Path) -> None:
    # 80 events three days ago are due as healthy at once, and are healthy two days after the first midnight.
    log = Log().add("product-usage", "a", 4, 50).add("product-usage", "a", 3, 30)
    published = [(change.to, change.band_to) for change in replay(tmp_path, SHOWN["steady-bands"], log).changes]
    assert published[-2:] == [(80, "attention"), (80, "healthy")]


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


def test_a_pulse_is_a_cause(tmp_path: Path) -> None:
    log = Log().add("controls", "a", 5, value=80, by="ann").add("controls", "a", 2, value=20, by="bob")
    assert [change.cause for change in replay(tmp_path, SHOWN["pulse"], log).changes] == ["pulse", "pulse"]
