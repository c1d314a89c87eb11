"""Garbage is collected as before once a command that collects it rarely has ended, also with an error."""

from __future__ import annotations

import gc

import pytest

from agents.process.collection import rare_collections


def test_the_thresholds_come_back() -> None:
    before = gc.get_threshold()

    @rare_collections()
    def command() -> None:
        assert gc.get_threshold() > before
        assert gc.get_freeze_count()
        raise ValueError("ends")

    with pytest.raises(ValueError, match="ends"):
        command()
    assert gc.get_threshold() == before
    assert not gc.get_freeze_count()
