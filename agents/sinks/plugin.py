"""The sink of another package: gives alerts to its object, one after the other for each account, and retries.

Owns what such a package implements (`AlertSink`), and that an alert which it refuses or keeps failing on is logged and
counted. Which records are news is decided by `stream.consumers.notifications`. Called by `agents.sinks.run`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import structlog

from agents.process.errors import error_text
from agents.sinks.delivery import Delivery, Outcome, State
from agents.sinks.delivery_pool import DeliveryPool
from agents.sinks.metrics import SinkTelemetry
from agents.sinks.sink import Sink
from schemas.outputs import Alert
from stream.consumers.notifications import Kind, Notification

log = structlog.get_logger()


class RejectedAlertError(Exception):
    """Raised by an alert sink for an alert that it will never take: it is not tried again."""


@runtime_checkable
class AlertSink(Protocol):
    """What an entry point of the group `account_vitals.sinks` makes when it is called without arguments.

    Its configuration is its own affair, such as environment variables.
    """

    def deliver(self, kind: Kind, alert: Alert) -> None:
        """Deliver an alert; `kind` is `firing`, `reminded`, `acknowledged`, `snoozed` or `resolved`.

        It is called from one thread, in order for each account, and may be called again with an alert after a crash:
        `alert.id` stays the same. An exception means that the alert is delivered again after a pause, for
        `VITALS_SINK_GIVE_UP_S` at most; `RejectedAlertError` that it is not.
        """


class Addressed(NamedTuple):
    """An alert, and what is new about it."""

    kind: Kind
    alert: Alert


def made_sink(make: Callable[[], object], name: str) -> AlertSink:
    """The alert sink of an entry point. Raises TypeError for an object that is none, and what making it raises."""
    made = make()
    if not isinstance(made, AlertSink):
        raise TypeError(f"alert sink {name!r}: {type(made).__name__} has no method deliver(kind, alert)")
    return made


class PluginSink(Sink):
    """Delivers every notification to one alert sink."""

    def __init__(
        self, name: str, sink: AlertSink, telemetry: SinkTelemetry, *, give_up_s: float, longest_pause_s: float
    ) -> None:
        """Nothing is queued."""
        self._name, self._sink, self._telemetry = name, sink, telemetry
        self._pool: DeliveryPool[Addressed] = DeliveryPool(
            self._attempt, telemetry, threads=1, give_up_s=give_up_s, longest_pause_s=longest_pause_s
        )

    def offer(self, notification: Notification, record: Any) -> bool:
        """Queue a notification behind the others about its account; as the webhook, not the end of a replaced alert."""
        if notification.replaced:
            return False
        alert = notification.alert
        self._pool.add(alert.account_id or alert.fingerprint, Delivery(Addressed(notification.kind, alert), record))
        return True

    def step(self) -> list[Any]:
        """Records that are delivered, refused or given up."""
        return self._finished(self._pool.step())

    def wait_s(self) -> float | None:
        """Seconds until the pool has something to do."""
        return self._pool.wait_s()

    def stop(self) -> list[Any]:
        """Wait for the alert that is being delivered."""
        return self._finished(self._pool.stop())

    def _attempt(self, addressed: Addressed) -> Outcome:
        try:
            self._sink.deliver(addressed.kind, addressed.alert)
        except RejectedAlertError as error:
            return Outcome("rejected", "rejected", error_text(error))
        except Exception as error:  # noqa: BLE001 -- the code of others can raise anything; it is retried
            log.warning("delivery_failed", plugin=self._name, error=error_text(error), will="retry")
            return Outcome("retry", "error", error_text(error))
        return Outcome("accepted")

    def _finished(self, ended: list[Delivery[Addressed]]) -> list[Any]:
        for delivery in ended:
            if delivery.state is State.REJECTED:
                delivery.move(State.GIVEN_UP)
                self._telemetry.dead_letters.inc()
                alert = delivery.payload.alert
                log.error("alert_given_up", plugin=self._name, id=alert.id, rule=alert.rule, error=delivery.message)
        return [delivery.record for delivery in ended]
