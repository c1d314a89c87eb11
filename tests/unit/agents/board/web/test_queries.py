"""Figures, lists and alerts have the same filters."""

from __future__ import annotations

import pytest

from agents.board.state.board import MOST_QUERIES, Board
from schemas.topics import DAY_MS
from tests.driving.boards import alert, board_of, client_of, profile, score, score_history


def grouped() -> Board:
    """Two accounts of one segment, one of another, each with an alert; one falls."""
    return board_of(
        profile("a", owner="ann", name="Anna", csm="eve", country="DE:BY"),
        *score_history("a", 80.0, 79.0, 30.0, every=6 * DAY_MS),
        score("a", 30.0, segment="large"),
        score("b", 90.0, segment="large"),
        score("c", 30.0, segment="small"),
        *(alert(account) for account in "abc"),
        alert("", "stalled:billing", labels={"source": "billing", "partition": "0"}),
    )


@pytest.mark.parametrize(
    ("query", "bands", "falling", "open_alerts"),
    [
        ("", {"healthy": 1, "at-risk": 2, "attention": 0}, ["a"], 4),
        ("segment=large", {"healthy": 1, "at-risk": 1, "attention": 0}, ["a"], 2),
        ("segment=large&band=healthy", {"healthy": 1, "at-risk": 1, "attention": 0}, [], 1),
        ("segment=small", {"healthy": 0, "at-risk": 1, "attention": 0}, [], 1),
        ("owner=ann", {"healthy": 0, "at-risk": 1, "attention": 0}, ["a"], 1),
        ("q=%20aNN%20", {"healthy": 0, "at-risk": 1, "attention": 0}, ["a"], 1),
        ("attribute=csm:eve", {"healthy": 0, "at-risk": 1, "attention": 0}, ["a"], 1),
        ("attribute=country:DE:BY&attribute=csm:bob", {"healthy": 0, "at-risk": 0, "attention": 0}, [], 0),
        ("attribute=csm:", {"healthy": 1, "at-risk": 1, "attention": 0}, [], 2),
        ("tier=gold", {"healthy": 0, "at-risk": 0, "attention": 0}, [], 0),
        ("alerts=open", {"healthy": 1, "at-risk": 2, "attention": 0}, ["a"], 3),
    ],
)
def test_figures_and_alerts_are_of_the_accounts_that_match(
    query: str, bands: dict[str, int], falling: list[str], open_alerts: int
) -> None:
    client = client_of(grouped())
    summary = client.get(f"/api/summary?{query}").json()
    (health,) = summary["scores"]
    counts = {band["name"]: band["accounts"] for band in health["bands"]}
    assert counts == {name: bands[name] for name in counts}
    now = {band: numbers[-1] for band, numbers in health["over_time"]["accounts"].items()}
    assert now == counts
    assert [mover["account_id"] for mover in health["movers"]["7d"]["falling"]] == falling
    assert summary["alerts"]["open"] == open_alerts
    assert len(summary["alerts"]["operational"]) == (0 if query else 1)
    assert client.get(f"/api/alerts?{query}").json()["total"] == open_alerts


def test_figures_of_many_queries_do_not_fill_the_memory() -> None:
    board = grouped()
    client = client_of(board)
    for number in range(3 * MOST_QUERIES):
        client.get(f"/api/summary?q={number}")
    assert len(board._figures_by_query) == MOST_QUERIES


@pytest.mark.parametrize("text", ["country", ":DE", ""])
def test_an_attribute_without_a_name_or_a_colon_is_refused(text: str) -> None:
    answer = client_of(grouped()).get(f"/api/accounts?attribute={text}")
    assert answer.status_code == 400
    assert "attribute: must be NAME:VALUE, such as country:DE" in answer.text
