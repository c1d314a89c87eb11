"""Accounts that have ended or have no data: on no list, in no figure, with a page that says why; scores on a scale."""

from __future__ import annotations

import msgspec

from agents.board.state.board import Board, Record
from agents.board.views.account import diff_of, page_of
from agents.board.views.listing import ListQuery
from agents.board.views.listing import page_of as list_of
from agents.board.views.rows import row_of
from agents.board.views.summary import counts_of, filters_of, past_days, policies_of, scores_of
from agents.board.views.types import ShortScore
from schemas.outputs import Factor, LastScore, ScoreMessage, ScoreValue
from schemas.topics import DAY_MS, SCORES
from tests.driving.boards import NOON, POLICY, board_of, change, client_of, score

WITHOUT = [Factor("usage", None, None, 0.0, 0.0), Factor("tickets", None, None, 0.0, 0.0)]


def unscored(account: str, state: str = "ended") -> Record:
    """The record of an account whose score was 80."""
    message = ScoreMessage(
        account,
        NOON,
        9,
        POLICY,
        "large",
        {"health": ScoreValue(None, None, WITHOUT)},
        state="ended" if state == "ended" else "no-data",
        ended_at=NOON if state == "ended" else None,
        last_event_at=None if state == "ended" else NOON - 60 * DAY_MS,
        last={"health": LastScore(80.0, "healthy")},
    )
    return Record(SCORES, account.encode(), msgspec.json.encode(message), NOON)


def board() -> Board:
    board = Board()
    board.apply(
        [
            change("a", NOON - 5 * DAY_MS, None, 80.0),
            change("b", NOON - 5 * DAY_MS, None, 80.0),
            change("c", NOON - 5 * DAY_MS, None, 80.0),
            change("b", NOON - 2 * DAY_MS, 80.0, 80.0, cause="status", state="ended", deltas={}),
            change("c", NOON - 2 * DAY_MS, 80.0, 80.0, cause="status", state="no-data", deltas={}),
            score("a", 80.0, segment="small"),
            unscored("b"),
            unscored("c", "no-data"),
        ]
    )
    return board


def test_lists_filters_and_figures_leave_them_out() -> None:
    state = board().state
    assert [row.account_id for row in list_of(state, ListQuery("health"), 10, None).items] == ["a"]
    assert [(named.name, named.accounts) for named in filters_of(state).segments] == [("small", 1)]
    assert [count.accounts for count in policies_of(state)] == [1]
    (figures,) = scores_of(state, past_days(state))
    assert {band.name: band.accounts for band in figures.bands} == {"healthy": 1}
    assert figures.movers["7d"].falling == figures.movers["7d"].rising == []


def test_they_are_counted_on_their_own() -> None:
    assert counts_of(board().state) == {"accounts": 1, "no_data": 1, "ended": 1}
    summary = board().summary()
    assert (summary.accounts, summary.no_data, summary.ended) == (1, 1, 1)


def test_past_days_count_them_as_long_as_they_had_a_score() -> None:
    over_time = past_days(board().state)["health"]
    by_day = dict(zip(over_time.days, over_time.accounts["healthy"], strict=True))
    midnight = NOON - DAY_MS // 2
    assert [by_day[midnight - days * DAY_MS] for days in (4, 2, 1, 0)] == [3, 3, 1, 1]


def test_the_page_says_why_and_has_the_last_score_and_the_history() -> None:
    state = board().state
    page = page_of(state, state.accounts["b"], None)
    assert (page.account.state, page.account.ended_at, page.account.scores) == ("ended", NOON, {})
    health = page.scores["health"]
    assert (health.value, health.band, health.last) == (None, None, LastScore(80.0, "healthy"))
    assert (health.history.values, health.history.bands) == ([80.0, 80.0], ["healthy", ""])
    assert health.changes[0].words == "not scored any more: the account ended"
    page = page_of(state, state.accounts["c"], None)
    assert (page.account.state, page.account.last_event_at) == ("no-data", NOON - 60 * DAY_MS)
    assert page.scores["health"].changes[0].words == "not scored any more: no data"


def test_what_changed_ends_with_the_last_score() -> None:
    state = board().state
    diff = diff_of(state, state.accounts["b"], "health", NOON - 4 * DAY_MS, None)
    assert (diff.to.value, diff.delta) == (80.0, 0.0)


def test_the_api_compares_two_times_of_an_account_that_has_ended() -> None:
    answer = client_of(board()).get("/api/accounts/b/diff").json()
    assert (answer["account_id"], answer["to"]["value"]) == ("b", 80.0)


def test_the_api_does_not_compare_times_of_an_account_that_never_had_a_score() -> None:
    never = Board()
    never.apply([unscored("b", "no-data"), score("a", 80.0)])
    answer = client_of(never).get("/api/accounts/b/diff")
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, "b has no score health")


def test_a_score_is_shown_as_its_record_says() -> None:
    shown = score("acme", 62.5, parent_id="parent", shown="6")
    board = board_of(change("acme", NOON - DAY_MS // 2, 70.0, 62.5), shown, score("dune", 62.5), score("parent", 50.0))
    rows = {name: row_of(board.state, account).scores["health"] for name, account in board.state.accounts.items()}
    assert [(rows[name].value, rows[name].shown) for name in ("acme", "dune")] == [(62.5, "6"), (62.5, None)]
    page = page_of(board.state, board.state.accounts["acme"], None).scores["health"]
    assert (page.value, page.shown) == (62.5, "6")
    (figures,) = scores_of(board.state, past_days(board.state))
    (mover,) = figures.movers["1d"].falling
    assert (mover.value, mover.shown) == (62.5, "6")
    (child,) = page_of(board.state, board.state.accounts["parent"], None).children
    assert child.scores["health"] == ShortScore(62.5, "attention", "6")


def test_a_child_that_has_ended_is_not_shown() -> None:
    board = Board()
    board.apply([score("p", 50.0), score("a", 80.0, parent_id="p")])
    assert [child.account_id for child in page_of(board.state, board.state.accounts["p"], None).children] == ["a"]
    board.apply([unscored("a")])
    assert page_of(board.state, board.state.accounts["p"], None).children == []
