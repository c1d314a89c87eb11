"""The policies of deploy/policies on synthetic accounts: the examples in their comments and what is special."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agents.cli.main import app
from stream.policy.policy import parse_policy
from tests.golden.replays import Log, day_ms, gives, near, replay, values

FOLDER = Path(__file__).parents[2] / "deploy/policies"
TEXTS = {file.stem: file.read_text(encoding="utf-8") for file in sorted(FOLDER.glob("*.toml"))}
EXAMPLES = {
    "impact": "18 + 8 + 4 + 4 + 10 + 15 - 10 - 4 - 10 + 4 = 39, and 39 + 40 = 79: healthy",
    "guide": "churn:  (4 x 70 + 3 x 75 + 2 x 60 + 1 x 50) / 10 = 67.5: yellow",
    "predictive": "(25 x 100 + 10 x 0 + 15 x 50 + 15 x 100 + 15 x 50 + 10 x 100 + 10 x 0) / 100 = 65: average",
    "nicereply": "(4 x 70 + 3 x 77.5 + 2 x 65 + 1 x 50) / 10 = 69.25: Ok",
    "template": "(30 x 80 + 20 x 70 + 25 x 90 + 15 x 60 + 10 x 75) / 100 = 77",
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_policy_says_by_an_example_what_it_does(name: str) -> None:
    assert EXAMPLES[name] in TEXTS[name]
    assert f"# {EXAMPLES[name]}" in TEXTS[name].splitlines()
    assert parse_policy(TEXTS[name]).name == name
    assert "vitals check my-policy.toml" in TEXTS[name]


# ---------------------------------------------------------------------------------------------------------------------
# impact: the number of times each action was done, times its impact, added up


def impact_example(account: str = "a", plan: str = "pro") -> Log:
    log = Log().users(account, 6, days_ago=10, feature="f0")
    for feature in ("f1", "f2", "f3"):
        log.add("product-usage", account, 27, user_id="u0", feature=feature)
    log.add("engagement", account, 89, kind="webinar").add("engagement", account, 5, times=2, kind="community")
    log.add("engagement", account, 300, kind="review").add("engagement", account, 5, kind="meeting")
    log.add("billing", account, 200, kind="upgraded").add("billing", account, 3, kind="payment_failed")
    log.add("support-tickets", account, 4, times=4).add("support-tickets", account, 4, priority="urgent")
    log.add("support-tickets", account, 3, status="solved", priority="urgent")
    return log.add("accounts", account, started_at=day_ms(400), plan=plan)


def test_impact(tmp_path: Path) -> None:
    score = replay(tmp_path, TEXTS["impact"], impact_example()).score("a")
    done = {"active_users": 6, "features": 4, "training": 1, "community": 2, "referrals": 1, "upgrades": 1}
    assert values(score) == {
        **done,
        "tickets": 5,
        "urgent_tickets": 1,
        "failed_payments": 1,
        "tenure": 400,
        "base": None,
        "clamping": None,
    }
    assert gives(score) == near(
        {
            "active_users": 18,
            "features": 8,
            "training": 4,
            "community": 4,
            "referrals": 10,
            "upgrades": 15,
            "tickets": -10,
            "urgent_tickets": -4,
            "failed_payments": -10,
            "tenure": 4,
            "base": 40,
            "clamping": 0,
        }
    )
    assert (score.value, score.band) == (near(79), "healthy")


def test_impact_stays_between_0_and_100(tmp_path: Path) -> None:
    # bad: 12 tickets of which 3 urgent and 2 failed payments, by one user of one feature:
    #      3 + 2 - 24 - 12 - 20 = -51, -51 + 40 = -11.
    # good: 20 users of one feature: 60 + 2 + 40 = 102.
    log = Log().users("bad", 1).users("good", 20).add("billing", "bad", times=2, kind="payment_failed")
    log.add("support-tickets", "bad", times=9).add("support-tickets", "bad", times=3, priority="urgent")
    replayed = replay(tmp_path, TEXTS["impact"], log)
    bad, good = replayed.score("bad"), replayed.score("good")
    assert (bad.value, bad.band, gives(bad)["clamping"]) == (0, "at-risk", near(11))
    assert (good.value, good.band, gives(good)["clamping"]) == (100, "healthy", near(-2))


@pytest.mark.parametrize(("plan", "band"), [("starter", "healthy"), ("pro", "attention")])
def test_impact_asks_less_of_a_small_plan(tmp_path: Path, plan: str, band: str) -> None:
    # 4 users of one feature: 12 + 2 + 40 = 54.
    log = Log().users("a", 4).add("accounts", "a", plan=plan)
    score = replay(tmp_path, TEXTS["impact"], log).score("a")
    assert (score.value, score.band) == (near(54), band)


# ---------------------------------------------------------------------------------------------------------------------
# guide: two scores, stages of life, pulse, high and wide


def guide_example(*, pulse: bool = True) -> Log:
    log = Log()
    for number in range(8):
        log.add("product-usage", "a", number + 1, user_id=f"u{number}", feature=f"f{number % 4}")
    log.add("product-usage", "a", 45, times=10)
    log.add("engagement", "a", 30, kind="call", role="champion").add(
        "engagement", "a", 100, kind="email", role="sponsor"
    )
    log.add("engagement", "a", 200, kind="call", role="buyer").add("engagement", "a", 5, kind="referral")
    log.add("surveys", "a", 300, score=9).add("accounts", "a", started_at=day_ms(730), plan="pro")
    return log.add("controls", "a", 89, value=60, by="ann") if pulse else log


def test_guide_tells_leaving_from_growing(tmp_path: Path) -> None:
    replayed = replay(tmp_path, TEXTS["guide"], guide_example())
    churn, upsell = replayed.score("a", "churn"), replayed.score("a", "upsell")
    assert {factor.measure: (factor.value, factor.points) for factor in churn.factors} == {
        "users": (8, 80),
        "trend": (-20, 50),
        "pulse": (60, 60),
        "nps": (9, 90),  # from 300 days ago: held
        "advocacy": (1, 50),
        "contact": (30, 50),
        "high_and_wide": (2, 70),
        "training": (0, 0),  # weighs in onboarding only
    }
    # Groups of 0.4, 0.3, 0.2 and 0.1; users are two thirds of theirs.
    assert gives(churn) == near(
        {
            "users": 0.8 / 3 * 80,
            "trend": 0.4 / 3 * 50,
            "pulse": 9,
            "nps": 13.5,
            "high_and_wide": 7,
            "contact": 5,
            "advocacy": 5,
            "training": 0,
        }
    )
    assert (churn.value, churn.band) == (near(67.5), "yellow")
    assert gives(upsell) == near({"users": 20, "depth": 30, "pulse": 7.5, "advocacy": 12.5})
    assert (upsell.value, upsell.band) == (near(70), "green")
    assert replayed.accounts["a"].segment is None


def test_guide_without_a_pulse(tmp_path: Path) -> None:
    # Sentiment is nps alone, 90: (280 + 270 + 120 + 50) / 10 = 72. Upsell: (240 + 160 + 100) / 7 = 71.43.
    replayed = replay(tmp_path, TEXTS["guide"], guide_example(pulse=False))
    assert (replayed.score("a", "churn").value, replayed.score("a", "churn").band) == (near(72), "green")
    assert replayed.score("a", "upsell").value == near(500 / 7)


def test_guide_follows_the_stages_of_life(tmp_path: Path) -> None:
    # new: 6 users 60, one training 50, talked 30 days ago 50, no pulse: (2 x 60 + 2 x 50 + 50) / 5 = 54: yellow.
    # trial: 6 users 60, never talked 0: (2 x 60 + 0) / 3 = 40: yellow.
    log = Log().users("new", 6).add("engagement", "new", 56, kind="training").add("engagement", "new", 30, kind="call")
    log.users("trial", 6).add("accounts", "new", started_at=day_ms(60)).add("accounts", "trial", plan="trial")
    log.users("nine", 9).add("engagement", "nine", 1, kind="training").add("engagement", "nine", 30, kind="call")
    log.add("accounts", "nine", started_at=day_ms(89))
    replayed = replay(tmp_path, TEXTS["guide"], log)
    actual = {name: replayed.score(name, "churn") for name in replayed.accounts}
    assert {name: message.segment for name, message in replayed.accounts.items()} == {
        "new": "onboarding",
        "trial": "trial",
        "nine": "onboarding",
    }
    assert (actual["new"].value, actual["new"].band) == (near(54), "yellow")
    assert (actual["trial"].value, actual["trial"].band) == (near(40), "yellow")
    # nine: (2 x 90 + 2 x 50 + 50) / 5 = 66, green from 60 there.
    assert (actual["nine"].value, actual["nine"].band) == (near(66), "green")
    # The next day it is 90 days old and keeps its customers' rules: users 90 and no trend; talked 31 days ago.
    after = replay(tmp_path, TEXTS["guide"], log, days_later=1)
    assert after.accounts["nine"].segment is None
    # product 90 x 4, sentiment missing, relationship (0 + 50) / 2 x 2, advocacy 0 x 1, of 7.
    assert after.score("nine", "churn").value == near((360 + 50) / 7)
    causes = [change.cause for change in after.changes if change.account_id == "nine" and change.score == "churn"]
    assert causes[-1] == "segment"


# ---------------------------------------------------------------------------------------------------------------------
# predictive: good, average, poor


def predictive_example() -> Log:
    log = Log().users("a", 8, days_ago=1)
    for week in range(1, 13):
        log.add("product-usage", "a", 7 * week + 1, times=9 if week % 2 else 11, user_id="u0")
    log.add("support-tickets", "a", 9, first_response_s=6 * 3600).add("support-tickets", "a", 8)
    log.add("support-tickets", "a", 7, first_response_s=18 * 3600)
    log.add("engagement", "a", 20, times=5).add("surveys", "a", 5, score=8)
    return log.add("surveys", "a", 5, kind="csat", score=4.5).add("surveys", "a", 5, kind="ces", score=4)


def test_predictive(tmp_path: Path) -> None:
    # The 12 weeks before had 9 and 11 uses in turn: mean 10, deviation 1; this week has 8.
    score = replay(tmp_path, TEXTS["predictive"], predictive_example()).score("a")
    assert {factor.measure: (factor.value, factor.points) for factor in score.factors} == {
        "usage": (8, 100),
        "early_sign": (-2, 0),
        "response": (43_200, 50),
        "engagement": (5, 100),
        "nps": (8, 50),
        "csat": (4.5, 100),
        "ces": (4, 0),
    }
    assert (score.value, score.band) == (near(65), "average")


def test_predictive_of_a_quiet_account(tmp_path: Path) -> None:
    # 3 users average, 1 activity poor; always as quiet as now is no sign (0 deviations: good); nothing else is known.
    # (25 x 50 + 10 x 100 + 15 x 0) / 50 = 45: poor.
    log = Log().add("engagement", "a")
    for week in range(13):
        log.users("a", 3, days_ago=7 * week)
    score = replay(tmp_path, TEXTS["predictive"], log).score("a")
    assert (score.value, score.band) == (near(45), "poor")


# ---------------------------------------------------------------------------------------------------------------------
# nicereply: At-risk, Ok, Healthy by segment


def nicereply_example(users: int) -> Log:
    log = Log().users("a", users).add("surveys", "a", 100, score=8).add("surveys", "a", 100, kind="csat", score=4)
    log.add("support-tickets", "a", 9, times=3).add("engagement", "a", 50, times=6)
    return log.add("signals", "a", 150, name="outlook", value=50).add("signals", "a", 1, name="other", value=0)


def test_nicereply(tmp_path: Path) -> None:
    score = replay(tmp_path, TEXTS["nicereply"], nicereply_example(7)).score("a")
    assert {factor.measure: factor.points for factor in score.factors} == {
        "usage": 70,
        "nps": 80,
        "csat": 75,
        "ces": None,
        "tickets": 70,
        "engagement": 60,
        "outlook": 50,
    }
    assert (score.value, score.band) == (near(69.25), "Ok")


@pytest.mark.parametrize(
    ("arr", "users", "score", "band"),
    [
        (50_000, 35, 69.25, "Ok"),  # 35 people there are what 7 are elsewhere
        (50_000, 7, 46.85, "At-risk"),  # 7 of 50 are 14 points: (56 + 232.5 + 130 + 50) / 10; elsewhere that is Ok
        (49_999, 35, 81.25, "Healthy"),  # 100 points: (400 + 232.5 + 130 + 50) / 10
    ],
)
def test_nicereply_asks_more_of_large_customers(
    tmp_path: Path, arr: float, users: int, score: float, band: str
) -> None:
    actual = replay(tmp_path, TEXTS["nicereply"], nicereply_example(users).add("accounts", "a", arr=arr)).score("a")
    assert (actual.value, actual.band) == (near(score), band)


def test_nicereply_asks_little_of_who_pays_nothing(tmp_path: Path) -> None:
    # 2 users 20, 10 activities 100: (3 x 20 + 100) / 4 = 40; a bad survey does not count. Free comes before large.
    log = Log().users("a", 2).add("engagement", "a", times=10).add("surveys", "a", score=0)
    log.add("accounts", "a", plan="free", arr=60_000)
    score = replay(tmp_path, TEXTS["nicereply"], log).score("a")
    assert (score.value, score.band) == (near(40), "Ok")
    assert gives(score) == near(
        {**dict.fromkeys(("nps", "csat", "ces", "tickets", "outlook"), 0), "usage": 15, "engagement": 25}
    )


# ---------------------------------------------------------------------------------------------------------------------
# Through the command


@pytest.mark.parametrize(
    ("name", "log", "expected"),
    [
        ("impact", impact_example(), {"health": (79, "healthy")}),
        ("guide", guide_example(), {"churn": (67.5, "yellow"), "upsell": (70, "green")}),
        ("predictive", predictive_example(), {"health": (65, "average")}),
        ("nicereply", nicereply_example(7), {"health": (69.25, "Ok")}),
    ],
)
def test_the_command_scores_by_it(tmp_path: Path, name: str, log: Log, expected: dict[str, tuple[float, str]]) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(log.lines), encoding="utf-8")
    arguments = ["score", str(file), "--policy", str(FOLDER / f"{name}.toml"), "--as-of", "2026-03-27T12:00:00Z"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    scores = json.loads(done.stdout)["scores"]
    assert {name: (score["value"], score["band"]) for name, score in scores.items()} == {
        name: (near(value), band) for name, (value, band) in expected.items()
    }
