"""Accounts are merged across partitions while workers fail: the topics hold what the oracle says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agents.worker.tasks.carrier import Carrier
from agents.worker.tasks.gone_accounts import hand_over
from agents.worker.tasks.task import PartitionTask
from stream.accounts.merges import Merges
from tests.simulation.merges import MergeSimulation
from tests.simulation.schedule import simulate

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDS = 40
MORE_SEEDS = 80
"""What a planted fault is looked for in; the first that finds it ends the search."""
_A_TEST = 10


@pytest.mark.parametrize("first", range(0, SEEDS, _A_TEST))
def test_merges_end_as_the_oracle_says(first: int) -> None:
    for seed in range(first, first + _A_TEST):
        wrong = simulate(seed, MergeSimulation)
        assert not wrong, "\n".join(wrong)


def _counts_what_was_forwarded_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Merges, "passes", lambda *_: True)


def _sends_a_state_before_it_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    carry_out = Carrier.carry_out

    def carry_out_and_send(carrier: Carrier, task: PartitionTask, *effects: Any) -> None:
        carry_out(carrier, task, *effects)
        task.unsaved_merge = False
        hand_over(task, carrier._outbox, carrier._partitions)

    monkeypatch.setattr(Carrier, "carry_out", carry_out_and_send)


@pytest.mark.parametrize("plant", [_counts_what_was_forwarded_twice, _sends_a_state_before_it_is_saved])
def test_a_planted_fault_is_found(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    assert any(simulate(seed, MergeSimulation) for seed in range(MORE_SEEDS))
