"""Which measures are proposed of event files, and why others are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.files.replay import Reading
from agents.proposal.policy_text import policy_text
from agents.proposal.proposal import NothingToProposeError, Proposal, proposal_of, usual_proposal
from stream.policy.policy import parse_policy

DAY_MS = 86_400_000
END_MS = 20_000 * DAY_MS


def use(account: str, days_ago: int, user: str = "u", **more: Any) -> dict[str, Any]:
    return {
        "topic": "product-usage",
        "account_id": account,
        "time": END_MS - days_ago * DAY_MS,
        "user_id": user,
        **more,
    }


def ticket(account: str, days_ago: int, status: str) -> dict[str, Any]:
    fields = {"account_id": account, "time": END_MS - days_ago * DAY_MS, "status": status}
    return {"topic": "support-tickets", "ticket_id": account, **fields}


def proposed(folder: Path, events: list[dict[str, Any]]) -> Proposal:
    path = folder / "events.jsonl"
    path.write_text("\n".join(json.dumps({"id": str(n), **event}) for n, event in enumerate(events)), "utf-8")
    proposal = proposal_of([path], Reading())
    parse_policy(policy_text("mine", proposal))
    return proposal


def names(proposal: Proposal) -> list[str]:
    return [measure.candidate.name for measure in proposal.measures]


def reasons(proposal: Proposal) -> dict[str, str]:
    return {each.name: each.reason for each in proposal.left_out}


def test_measures_that_tell_accounts_apart_are_chosen(tmp_path: Path) -> None:
    events = [
        use(f"acct-{account}", day, f"u{day % (account + 1)}") for account in range(10) for day in range(account, 60, 2)
    ]
    events += [ticket(f"acct-{account}", 1, "opened") for account in range(0, 10, 2)]
    proposal = proposed(tmp_path, events)
    assert names(proposal) == ["active_days", "active_users", "usage", "days_since_use", "open_tickets"]
    assert [measure.weight for measure in proposal.measures] == [15, 15, 15, 15, 60], "each source weighs 60"
    assert (proposal.accounts, proposal.as_of_ms) == (10, END_MS)
    assert proposal.stalls == {"product-usage": 3, "support-tickets": 2}
    assert [measure.fields.get("window") for measure in proposal.measures] == [*['"28d"'] * 4, None]
    assert reasons(proposal) == {
        "opened_tickets": "it is the same as open_tickets in every account",
        "features": "every account with a value has 0",
        "detractors": "surveys has no event",
        "satisfaction": "surveys has no event",
        "payment_problems": "billing has no event",
        "engagement": "engagement has no event",
    }


def test_sources_that_are_silent_and_answers_of_few_are_left_out(tmp_path: Path) -> None:
    events = [use("a", 0), use("b", 0), use("b", 1), use("c", 0), use("c", 0), use("c", 300)]
    events += [{**use("a", 100), "topic": "engagement", "kind": "webinar"}]
    events += [{**use("a", 5), "topic": "surveys", "kind": "nps", "score": 3}]
    events += [{**use("a", 5), "topic": "surveys", "kind": "ces", "score": 3}]
    why = reasons(proposed(tmp_path, events))
    assert why["engagement"] == "the latest event of engagement is of 2024-06-26"
    assert why["detractors"] == "2 of 3 accounts have no value"
    assert why["satisfaction"] == "surveys has no event of kind csat"


def test_windows_are_whole_weeks_and_those_that_the_data_do_not_fill_are_named(tmp_path: Path) -> None:
    events = [use("a", 0), use("b", 0), use("b", 4), use("c", 1)]
    proposal = proposed(tmp_path, events)
    assert {measure.fields["window"] for measure in proposal.measures} == {'"7d"'}
    comment = "# The first event of product-usage is of 2024-09-30: the data have 5 days of the 7 of the window."
    assert policy_text("mine", proposal).count(comment) == len(proposal.measures)
    for days, window in ((7, "7d"), (13, "7d"), (14, "14d"), (27, "21d"), (28, "28d"), (400, "28d")):
        proposal = proposed(tmp_path, [*events, use("a", days - 1)])
        assert {measure.fields["window"] for measure in proposal.measures} == {f'"{window}"'}
        assert "The first event of" not in policy_text("mine", proposal)


def test_where_nothing_varies_the_usual_thresholds_are_taken_and_it_says_why(tmp_path: Path) -> None:
    proposal = proposed(tmp_path, [use("a", 0), use("a", 3), ticket("a", 2, "opened")])
    assert names(proposal)[:2] == ["active_days", "active_users"]
    assert proposal.measures[0].thresholds.reason == (
        "0 points at 0, 100 at 20: a guess, since every account with a value has 2"
    )
    assert set(names(proposal)).isdisjoint(reasons(proposal))
    assert "# 0 points at 0, 100 at 20: a guess, since every account with a value has 2." in policy_text(
        "mine", proposal
    )
    assert 'where = { status = ["opened"] }' in policy_text("mine", proposal), "no value that never occurs"


def test_where_no_measure_can_be_computed_the_guess_says_why_not(tmp_path: Path) -> None:
    upgrade = {"topic": "billing", "account_id": "a", "time": END_MS, "kind": "upgraded"}
    proposal = proposed(tmp_path, [upgrade, {**upgrade, "account_id": "b"}])
    (measure,) = proposal.measures
    assert measure.thresholds.reason == (
        "0 points at 3, 100 at 0: a guess, since billing has no event of kind invoice_overdue or payment_failed"
    )
    assert proposal.accounts == 2
    assert "without looking" not in policy_text("mine", proposal)


def test_files_without_events_give_nothing_to_propose(tmp_path: Path) -> None:
    profile = {"topic": "accounts", "account_id": "a", "time": END_MS, "name": "A"}
    with pytest.raises(NothingToProposeError, match="the files have no event of product-usage, "):
        proposed(tmp_path, [profile])


@pytest.mark.parametrize("source", ["product-usage", "support-tickets", "surveys", "billing", "engagement"])
def test_without_files_each_source_has_a_policy(source: str) -> None:
    policy = parse_policy(policy_text("mine", usual_proposal([source])))
    assert {measure.source for measure in policy.measures} == {source}
