"""Aliases on the board: the address of one shows its account."""

from __future__ import annotations

from agents.board.views.account import page_of
from tests.driving.boards import board_of, profile, score


def test_an_alias_is_its_account_unless_it_has_scores_of_its_own() -> None:
    board = board_of(
        profile("acme", name="Acme", aliases=["4711", "twin"]),
        profile("unscored", aliases=["12"]),
        score("acme", 60.0),
        score("twin", 20.0),
    )
    named = {key: board.state.account_of(key) for key in ("4711", "twin", "12", "nobody")}
    assert {key: account and account.account_id for key, account in named.items()} == {
        "4711": "acme",
        "twin": "twin",
        "12": None,
        "nobody": None,
    }
    shown = page_of(board.state, board.state.accounts["acme"], None).profile
    assert shown is not None
    assert shown.aliases == ["4711", "twin"]
