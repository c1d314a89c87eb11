"""The cache of figures over all accounts."""

from __future__ import annotations

import msgspec

from agents.board.state.board import Board, Record
from tests.browser.records import score


def test_figures_cached_while_topics_are_read_are_not_used_afterwards() -> None:
    board = Board()
    assert board.summary().scores == []  # requested while topics are still being read
    topic, key, message, stamp = score("acme", 42.0)
    board.apply([Record(topic, key.encode(), msgspec.json.encode(message), stamp)])
    board.finish_loading()
    (health,) = board.summary().scores
    assert [(band.name, band.accounts) for band in health.bands] == [("attention", 1)]
