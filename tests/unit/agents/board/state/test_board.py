"""Figures over all accounts: when they are made anew."""

from __future__ import annotations

import msgspec

from agents.board.state.board import Board, Record
from tests.browser.records import score


def test_figures_of_half_the_topics_are_not_told_as_those_of_all() -> None:
    board = Board()
    assert board.summary().scores == []  # somebody asks while topics are still read
    topic, key, message, stamp = score("acme", 42.0)
    board.apply([Record(topic, key.encode(), msgspec.json.encode(message), stamp)])
    board.finish_loading()
    (health,) = board.summary().scores
    assert [(band.name, band.accounts) for band in health.bands] == [("attention", 1)]
