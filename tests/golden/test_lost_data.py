"""Losing data never improves a band: feeds that die, accounts that fall silent, and accounts that really improve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from agents.files.replay import Watch, replay_files
from schemas.outputs import ScoreMessage
from stream.explain.explain import explain_message
from stream.explain.selector import select_score
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy
from tests.golden.replays import Log, day_ms, midnight, near, values
from tests.pages.blocks import policy_files

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stream.engine.engine import Engine

SHIPPED = {file.stem: file.read_text("utf-8") for file in policy_files(Path("deploy/policies"))}
DAYS = 500
"""The logs are of so many days, and end with the moment of the scores."""
USERS = [f"u{number}" for number in range(10)]


def busy(log: Log, account: str, days_ago: Iterable[int]) -> None:
    """Full use of the product on each day, and one activity."""
    for day in days_ago:
        for user in USERS:
            log.add("product-usage", account, day, user_id=user, feature=f"f{user}")
        log.add("engagement", account, day, kind="training", role="champion")


def unhappy(log: Log, account: str, days_ago: Iterable[int]) -> None:
    """On each day an urgent ticket that waits for two days, a late invoice and bad answers."""
    for day in days_ago:
        log.add("support-tickets", account, day, priority="urgent", first_response_s=200_000)
        log.add("billing", account, day, kind="invoice_overdue", days_late=40)
        log.add("billing", account, day, kind="payment_failed")
        for kind, score in (("nps", 0), ("csat", 1), ("ces", 1)):
            log.add("surveys", account, day, kind=kind, score=score)


def each_midnight(folder: Path, policy: str, log: Log, account: str) -> dict[int, ScoreMessage]:
    """The account's scores at each midnight, by days before the end."""
    file, messages = folder / "events.jsonl", {}
    file.write_text("\n".join(log.lines), encoding="utf-8")

    def look(moment_ms: int, engine: Engine) -> None:
        for sent in engine.current().scores:
            message = msgspec.json.decode(sent.value, type=ScoreMessage)
            if message.account_id == account:
                messages[(midnight(0) - moment_ms) // 86_400_000] = message

    moments = [midnight(days_ago) for days_ago in range(DAYS, -1, -1)]
    replay_files([file], compile_plan(parse_policy(policy)), midnight(0), Watch(lambda *_: moments, look))
    return messages


def test_when_tickets_billing_and_surveys_die_the_account_stays_and_then_has_no_data(tmp_path: Path) -> None:
    # Use and engagement are full: 30 + 15 = 45. The three other measures have 0 points; their feeds die on day 350.
    log = Log()
    busy(log, "a", range(DAYS))
    unhappy(log, "a", range(350, DAYS))
    by_day = each_midnight(tmp_path, SHIPPED["template"], log, "a")
    # Surveys count as stalled after 98 days, and nothing of their window of 182 days is left after 182 more.
    before = [by_day[day].scores["health"] for day in range(480, 70, -1)]
    assert {(round(score.value or 0, 9), score.band) for score in before} == {(45, "attention")}
    assert {(by_day[day].state, by_day[day].scores["health"].value) for day in range(70, -1, -1)} == {("no-data", None)}
    assert (by_day[340].stalled_sources, by_day[340].scores["health"].confidence) == (["support-tickets"], near(0.8))
    assert by_day[200].stalled_sources == ["billing", "support-tickets", "surveys"]
    assert by_day[200].scores["health"].confidence == near(0.45)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_silent_account_never_gets_better_and_then_has_no_data(tmp_path: Path, name: str) -> None:
    # Others go on, so that no source is idle. The account has one event more on day 100, of use.
    log = Log()
    busy(log, "other", range(160))
    unhappy(log, "other", range(160))
    busy(log, "a", [101])
    unhappy(log, "a", [*range(101, 160), 185])
    log.add("product-usage", "a", 100)
    by_day = each_midnight(tmp_path, SHIPPED[name], log, "a")
    for score in by_day[99].scores:
        by_midnight = [by_day[day].scores[score].value for day in range(99, 65, -1)]
        assert None not in by_midnight
        numbers = [value for value in by_midnight if value is not None]
        assert numbers == sorted(numbers, reverse=True), "at the end of its last day, then at each midnight"
    assert {by_day[day].state for day in range(65, -1, -1)} == {"no-data"}


def test_a_score_names_the_measures_that_count_as_of_the_last_event(tmp_path: Path) -> None:
    log = Log()
    busy(log, "other", range(60))
    unhappy(log, "other", range(60))
    unhappy(log, "a", range(30, 60))
    by_day = each_midnight(tmp_path, SHIPPED["template"], log, "a")
    assert [(by_day[day].held, by_day[day].last_event_at) for day in (29, 28)] == [(None, None)] * 2
    message = by_day[3]
    assert (message.held, message.last_event_at) == (["support_tickets"], day_ms(30))
    assert values(message.scores["health"])["support_tickets"] == 4 * 28
    plan = compile_plan(parse_policy(SHIPPED["template"]))
    words = explain_message(message, plan, select_score(plan.policy)).words
    assert [line for line in words if "last event" in line] == [
        (
            "support tickets: the sum of ticket events (status opened), weighted by priority, comes to 112 in the last "
            "28 days (as of its last event, on 2026-02-25 12:00 UTC: silence improves nothing); 0.0 of 100 points, "
            "weight 20%: gives 0.0, costs 20.0."
        )
    ]


def test_a_score_says_which_values_are_the_last_of_an_idle_source(tmp_path: Path) -> None:
    log = Log()
    busy(log, "a", range(60))
    unhappy(log, "a", range(20, 60))
    message = each_midnight(tmp_path, SHIPPED["template"], log, "a")[0]
    assert (message.held, message.stalled_sources) == (None, ["support-tickets"])
    plan = compile_plan(parse_policy(SHIPPED["template"]))
    words = explain_message(message, plan, select_score(plan.policy)).words
    assert [line.partition(":")[0] for line in words if "sends nothing for any account" in line] == ["support tickets"]


def test_an_account_without_tickets_that_falls_silent_is_not_scored_for_that(tmp_path: Path) -> None:
    # Before, it had 30.77 for having no tickets until the longest window, of 182 days, was empty.
    log = Log()
    busy(log, "a", range(100, 200))
    busy(log, "other", range(200))
    by_day = each_midnight(tmp_path, SHIPPED["template"], log, "a")
    assert by_day[99].scores["health"].value == near(100)
    assert [by_day[day].state for day in (66, 65, 40, 0)] == [None, "no-data", "no-data", "no-data"]


def test_an_account_whose_tickets_stop_improves_while_it_is_alive_and_tickets_of_others_come(tmp_path: Path) -> None:
    log = Log()
    for account in ("a", "other"):
        busy(log, account, range(200))
    unhappy(log, "other", range(200))
    for day in range(100, 200):
        log.add("support-tickets", "a", day, priority="urgent")
    by_day = each_midnight(tmp_path, SHIPPED["template"], log, "a")
    # Usage and engagement are full, tickets weigh 20 of 65. Whole days: the last of them is counted for 28 days.
    assert by_day[99].scores["health"].value == near(4500 / 65)
    assert by_day[71].scores["health"].value == near(100)
    assert by_day[71].stalled_sources is None
