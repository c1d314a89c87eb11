"""The lifecycle of one delivery: its states, and which state may follow which.

Owns the table of transitions; `Delivery.move` raises for a transition that is not in it. `agents.sinks.delivery_pool`
moves a delivery until it is accepted or rejected, then the sink reports a rejected one (`agents.sinks.dead_letters`
writes it to a topic, `agents.sinks.notify` logs it). Pure.

    QUEUED --> IN_FLIGHT --> DELIVERED
                 |    ^
                 |    +---> WAITING_TO_RETRY
                 v
              REJECTED --> WRITING_DEAD_LETTER --> DEAD_LETTERED
                 +-------> GIVEN_UP
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Generic, Literal, NamedTuple, TypeVar

T = TypeVar("T")


class State(Enum):
    """Where a delivery is."""

    QUEUED = "queued"
    IN_FLIGHT = "in flight"
    WAITING_TO_RETRY = "waiting to retry"
    DELIVERED = "delivered"
    REJECTED = "rejected"
    WRITING_DEAD_LETTER = "writing dead letter"
    DEAD_LETTERED = "dead-lettered"
    GIVEN_UP = "given up"


TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        # REJECTED without an attempt: the record is not an alert.
        State.QUEUED: frozenset({State.IN_FLIGHT, State.REJECTED}),
        # QUEUED again: the sink stops before the attempt has begun.
        State.IN_FLIGHT: frozenset({State.DELIVERED, State.WAITING_TO_RETRY, State.REJECTED, State.QUEUED}),
        State.WAITING_TO_RETRY: frozenset({State.IN_FLIGHT}),
        State.REJECTED: frozenset({State.WRITING_DEAD_LETTER, State.GIVEN_UP}),
        # REJECTED again: the broker did not accept the dead letter, which is written again later.
        State.WRITING_DEAD_LETTER: frozenset({State.DEAD_LETTERED, State.REJECTED}),
        State.DELIVERED: frozenset(),
        State.DEAD_LETTERED: frozenset(),
        State.GIVEN_UP: frozenset(),
    }
)


class IllegalTransitionError(RuntimeError):
    """A delivery was moved to a state that cannot follow its state."""


class Outcome(NamedTuple):
    """The result of one attempt.

    `accepted`; `retry`, not before `after_s`; `rejected` for good; or `gone`: the receiver wants no more deliveries.
    `reason` is one word for metrics and headers, `message` is for a person.
    """

    status: Literal["accepted", "retry", "rejected", "gone"]
    reason: str = ""
    message: str = ""
    after_s: float = 0.0


@dataclass(slots=True, eq=False)
class Delivery(Generic[T]):
    """One payload for one receiver, the Kafka record it was made from, its state and the result of its last attempt."""

    payload: T
    record: Any
    state: State = State.QUEUED
    outcome: Outcome | None = None

    def move(self, state: State, outcome: Outcome | None = None) -> None:
        """Enter a state; `outcome` is why, if an attempt has ended. Raises `IllegalTransitionError`."""
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransitionError(f"a delivery that is {self.state.value} cannot become {state.value}")
        self.state = state
        self.outcome = outcome or self.outcome

    @property
    def reason(self) -> str:
        """One word for the result of the last attempt."""
        return self.outcome.reason if self.outcome else ""

    @property
    def message(self) -> str:
        """The result of the last attempt, for a person."""
        return self.outcome.message if self.outcome else ""
