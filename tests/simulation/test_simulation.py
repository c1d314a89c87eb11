"""Many workers on a simulated broker, network and clock: whatever happens, the topics hold what the oracle says.

The seeds are fixed, so a failure comes from a change; `make simulate` runs other seeds. A planted fault shows that the
schedules reach what they are for: each is found among a fixed number of seeds.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from agents.worker.commit.checkpoint import Checkpointer
from agents.worker.commit.fencing import TaskProducers
from agents.worker.commit.handover import Handover
from agents.worker.commit.outbox import Outbox
from stream.ingest.event_ids import SeenIds
from tests.simulation.broker import Broker, FencedError, Group, SequenceError, Unsent, Writer
from tests.simulation.schedule import Simulation, simulate
from tests.simulation.virtual_loop import DeadlockError, run

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDS = 40
MORE_SEEDS = 80
"""What a planted fault is looked for in; the first that finds it ends the search."""
_A_TEST = 10


@pytest.mark.parametrize("first", range(0, SEEDS, _A_TEST))
def test_schedules_end_as_the_oracle_says(first: int) -> None:
    for seed in range(first, first + _A_TEST):
        wrong = simulate(seed)
        assert not wrong, "\n".join(wrong)


def test_a_seed_gives_the_same_run_again() -> None:
    runs = [Simulation(3), Simulation(3)]
    for simulation in runs:
        run(simulation.main())
    assert runs[0].story == runs[1].story
    assert runs[0].broker.logs == runs[1].broker.logs


async def _nothing(*_: object) -> None:
    """Do not wait."""


def _no_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task's producer gets its epoch, and no partition learns it."""
    monkeypatch.setattr(TaskProducers, "_abort_empty", _nothing)


def _offsets_before_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offsets are committed while the changelog is on its way."""

    async def _state(checkpointer: Any, snapshots: Any) -> None:
        for task, records in snapshots:
            checkpointer._outbox.put(checkpointer._changelog, task.partition, records)

    monkeypatch.setattr(Checkpointer, "_state", _state)


def _state_before_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The changelog is written while outputs are on their way."""
    monkeypatch.setattr(Checkpointer, "_outputs", _nothing)


def _writes_after_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a closed task has put in the outbox goes on being sent, with whatever producer there is, unfenced."""
    monkeypatch.setattr(Outbox, "_drop", lambda *_: None)
    monkeypatch.setattr(TaskProducers, "_abort_empty", _nothing)


def _no_deduplication(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ids of a restored task are forgotten."""
    monkeypatch.setattr(SeenIds, "load", lambda *_: None)


def _lost_lease_keeps_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A revocation whose session is lost leaves the tasks as they are: they go on from stale state."""
    monkeypatch.setattr(Handover, "_close_all", lambda _handover: None)


@pytest.mark.parametrize(
    "plant",
    [
        _no_fence,
        _offsets_before_state,
        _state_before_outputs,
        _writes_after_close,
        _no_deduplication,
        _lost_lease_keeps_tasks,
    ],
)
def test_a_planted_fault_is_found(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    assert any(simulate(seed) for seed in range(MORE_SEEDS)), "no schedule reaches this"


def test_simulated_minutes_pass_at_once() -> None:
    async def wait() -> float:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await asyncio.sleep(3600)
        return loop.time() - started

    assert run(wait()) == 3600


def test_waiting_for_nothing_is_an_error() -> None:
    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(DeadlockError):
        run(wait())


def _broker() -> Broker:
    return Broker(1, session_s=6, rebalance_s=18)


RECORD = Unsent(b"a", b"{}", (), 0)
LOG = ("health.scores", 0)


def test_a_broker_writes_a_repeated_batch_once() -> None:
    broker = _broker()
    epoch = broker.next_epoch("p")
    assert [broker.append(LOG, [RECORD], Writer("p", epoch, sequence)) for sequence in (0, 0, 1)] == [0, 0, 1]
    with pytest.raises(SequenceError):
        broker.append(LOG, [RECORD], Writer("p", epoch, 5))


def test_a_broker_refuses_an_older_epoch_once_a_marker_has_a_newer_one() -> None:
    broker = _broker()
    old = broker.next_epoch("p")
    new = broker.next_epoch("p")
    broker.append(LOG, [RECORD], Writer("p", old, 0))
    broker.begin("p", new, [LOG])
    broker.abort("p", new)
    with pytest.raises(FencedError):
        broker.append(LOG, [RECORD], Writer("p", old, 1))
    assert len(broker.read(LOG[0])) == 1, "the marker is no record"


def test_a_group_gives_every_partition_to_one_member() -> None:
    async def rebalance() -> list[tuple[int, list[int]]]:
        group = Group(4, session_s=6, rebalance_s=18)
        answers = [group.join(name, 0.0) for name in ("a", "b")]
        group.turn(0.0)
        return [await answer for answer in answers]

    assert run(rebalance()) == [(1, [0, 2]), (1, [1, 3])]


def test_a_group_takes_out_a_silent_member_and_refuses_its_offsets() -> None:
    async def go_silent() -> tuple[str, bool]:
        group = Group(4, session_s=6, rebalance_s=18)
        group.join("a", 0.0)
        group.turn(0.0)
        group.turn(6.5)
        return group.heartbeat("a", 1, 7.0), group.commit("a", 1, {LOG: 3})

    assert run(go_silent()) == ("unknown", False)
