"""The interface between the alert consumer and a sink.

Owns the names of the calls and what a sink does that needs none of them. Called by `agents.sinks.alert_consumer`,
implemented by the Alertmanager, webhook and notify sinks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from stream.consumers.notifications import Notification


class Sink(ABC):
    """Delivers notifications. All calls come from one thread. `record` is the Kafka record of a notification."""

    @abstractmethod
    def offer(self, notification: Notification, record: Any) -> bool:
        """Queue a notification; False: it is not for this sink. `step` returns `record` once it is finished."""

    @abstractmethod
    def step(self) -> list[Any]:
        """Do what is due now, without waiting; returns the records that are finished: delivered or given up."""

    @abstractmethod
    def wait_s(self) -> float | None:
        """Seconds until `step` has something to do; None: until a notification is offered."""

    def reject(self, record: Any, reason: str, message: str) -> bool:
        """Keep a record that is not an alert, as `offer` does; False: the consumer logs and counts it, no more."""
        del record, reason, message
        return False

    def restore(self, notification: Notification, written_ms: int) -> None:
        """Learn at start of a notification that was delivered before it, from a record written at `written_ms`."""
        del notification, written_ms

    def stop(self) -> list[Any]:
        """Finish what is in flight; returns records as `step` does."""
        return []
