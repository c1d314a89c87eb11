"""The lifecycle of a delivery: every pair of states, and the states that the pool and the dead letters go through."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError
from kafka.future import Future

from agents.sinks.dead_letters import DeadLetterWriter
from agents.sinks.delivery import TRANSITIONS, Delivery, IllegalTransitionError, Outcome, State
from agents.sinks.delivery_pool import DeliveryPool
from agents.sinks.metrics import SinkTelemetry

ALLOWED = {
    (State.QUEUED, State.IN_FLIGHT),
    (State.QUEUED, State.REJECTED),
    (State.IN_FLIGHT, State.DELIVERED),
    (State.IN_FLIGHT, State.WAITING_TO_RETRY),
    (State.IN_FLIGHT, State.REJECTED),
    (State.IN_FLIGHT, State.QUEUED),
    (State.WAITING_TO_RETRY, State.IN_FLIGHT),
    (State.REJECTED, State.WRITING_DEAD_LETTER),
    (State.REJECTED, State.GIVEN_UP),
    (State.WRITING_DEAD_LETTER, State.DEAD_LETTERED),
    (State.WRITING_DEAD_LETTER, State.REJECTED),
}
RECORD = SimpleNamespace(partition=0, offset=0, timestamp=1, key=b"k", value=b"v", headers=[])


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_every_pair_of_states_is_allowed_or_raises(before: State, after: State) -> None:
    delivery = Delivery("payload", RECORD, before)
    if (before, after) in ALLOWED:
        delivery.move(after)
        assert delivery.state is after
        return
    with pytest.raises(IllegalTransitionError, match=f"is {before.value} cannot become {after.value}"):
        delivery.move(after)
    assert delivery.state is before


def test_every_state_is_in_the_table_and_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(State)
    reached, new = {State.QUEUED}, {State.QUEUED}
    while new:
        new = {after for before in new for after in TRANSITIONS[before]} - reached
        reached |= new
    assert reached == set(State)


def test_the_outcome_is_that_of_the_last_attempt() -> None:
    delivery = Delivery("payload", RECORD)
    assert (delivery.reason, delivery.message) == ("", "")
    delivery.move(State.REJECTED, Outcome("rejected", "null_value", "no value"))
    delivery.move(State.WRITING_DEAD_LETTER)
    assert (delivery.reason, delivery.message) == ("null_value", "no value")


class Recorded(Delivery[Any]):
    """A delivery that records its states."""

    def __init__(self, payload: object) -> None:
        super().__init__(payload, RECORD)
        self.states = [self.state]

    def move(self, state: State, outcome: Outcome | None = None) -> None:
        super().move(state, outcome)
        self.states.append(state)


def pool_of(outcomes: Iterator[Outcome], *, give_up_s: float = 60.0, gone: Any = None) -> DeliveryPool[Any]:
    return DeliveryPool(
        lambda _: next(outcomes),
        SinkTelemetry("webhook"),
        threads=1,
        give_up_s=give_up_s,
        longest_pause_s=0.01,
        on_gone=gone or (lambda _: None),
    )


def run(pool: DeliveryPool[Any], *deliveries: Delivery[Any]) -> list[Delivery[Any]]:
    for delivery in deliveries:
        pool.add("queue", delivery)
    deadline_s = time.monotonic() + 30
    ended: list[Delivery[Any]] = []
    while len(ended) < len(deliveries):
        assert time.monotonic() < deadline_s
        ended += pool.step()
    pool.stop()
    return ended


def test_states_of_a_delivery_that_is_retried_and_accepted() -> None:
    delivery = Recorded("x")
    assert run(pool_of(iter([Outcome("retry", "status_500"), Outcome("accepted")])), delivery) == [delivery]
    assert delivery.states == [
        State.QUEUED,
        State.IN_FLIGHT,
        State.WAITING_TO_RETRY,
        State.IN_FLIGHT,
        State.DELIVERED,
    ]


@pytest.mark.parametrize(("outcome", "give_up_s"), [(Outcome("rejected"), 60.0), (Outcome("retry"), 0.0)])
def test_states_of_a_delivery_that_is_rejected_or_fails_for_too_long(outcome: Outcome, give_up_s: float) -> None:
    delivery = Recorded("x")
    run(pool_of(iter([outcome]), give_up_s=give_up_s), delivery)
    assert delivery.states == [State.QUEUED, State.IN_FLIGHT, State.REJECTED]


def test_a_gone_receiver_gets_no_more_attempts_and_its_delivery_waits() -> None:
    reported: list[Outcome] = []
    gone = Outcome("gone", "status_410")
    pool, delivery = pool_of(iter([gone]), gone=reported.append), Recorded("x")
    pool.add("queue", delivery)
    deadline_s = time.monotonic() + 30
    while not reported:
        assert time.monotonic() < deadline_s
        assert pool.step() == []
    assert (reported, pool.wait_s(), pool.step()) == ([gone], None, [])
    assert delivery.state is State.WAITING_TO_RETRY
    pool.stop()


def test_an_attempt_cancelled_at_stop_leaves_its_delivery_queued() -> None:
    pool, delivery = pool_of(iter([])), Recorded("x")
    blocked = threading.Event()
    pool._executor.submit(blocked.wait, 30)
    pool.add("queue", delivery)
    assert pool.step() == []
    threading.Timer(0.1, blocked.set).start()
    assert pool.stop() == []
    assert delivery.states == [State.QUEUED, State.IN_FLIGHT, State.QUEUED]


def test_states_of_a_dead_letter_that_is_written_at_the_second_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.sinks.dead_letters._RETRY_AFTER_S", 0.0)
    sends = [Future(), Future()]
    unsent = list(sends)
    producer: Any = SimpleNamespace(send=lambda _topic, **_: unsent.pop(0))
    writer, delivery = DeadLetterWriter(producer, SinkTelemetry("webhook")), Recorded("x")
    delivery.move(State.REJECTED, Outcome("rejected"))
    writer.add(delivery)
    assert writer.step() == []
    sends[0].failure(KafkaTimeoutError("no answer"))
    assert writer.step() == []
    sends[1].success(None)
    assert writer.step() == [delivery]
    assert delivery.states == [
        State.QUEUED,
        State.REJECTED,
        State.WRITING_DEAD_LETTER,
        State.REJECTED,
        State.WRITING_DEAD_LETTER,
        State.DEAD_LETTERED,
    ]
