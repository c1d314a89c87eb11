"""Many workers on a simulated broker, network and clock: whatever happens, the topics hold what the oracle says.

The seeds are fixed, so a failure comes from a change; `make simulate` runs other seeds. A planted fault shows that the
schedules reach what they are for: each is found within the seeds that CI runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agents.worker.commit.checkpoint import Checkpointer
from agents.worker.commit.handover import Handover
from agents.worker.commit.outbox import Outbox
from tests.simulation.broker import Broker
from tests.simulation.schedule import simulate
from tests.simulation.virtual_loop import DeadlockError, run

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDS = 200
_A_TEST = 25


@pytest.mark.parametrize("first", range(0, SEEDS, _A_TEST))
def test_schedules_end_as_the_oracle_says(first: int) -> None:
    for seed in range(first, first + _A_TEST):
        wrong = simulate(seed)
        assert not wrong, "\n".join(wrong)
