"""The notify sink: sends alerts to people by chat or e-mail through apprise (one URL a receiver: slack://, mailto://).

Owns which alerts people receive (by severity and segment; nothing muted) and one delivery queue for each receiver
(`agents.sinks.receiver`). The text is made by `agents.sinks.notification_text`. Called by `agents.sinks.run`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import apprise
import structlog

from agents.sinks.delivery import Delivery, Outcome, State
from agents.sinks.delivery_pool import DeliveryPool
from agents.sinks.metrics import SinkTelemetry
from agents.sinks.notification_text import NotificationText, notification_text
from agents.sinks.receiver import Receiver
from agents.sinks.sink import Sink
from stream.consumers.notifications import Notification

SEVERITIES = ("info", "warning", "critical")
_KINDS = frozenset({"firing", "reminded", "resolved"})
_WORST = "critical"

log = structlog.get_logger()


class Message(NamedTuple):
    """A text for one receiver."""

    receiver: Receiver
    text: NotificationText
    kind: apprise.NotifyType


class NotifySink(Sink):
    """Sends to all receivers alerts of at least `severity`, of accounts in one of `segments` (if any are set)."""

    def __init__(
        self,
        receivers: Sequence[Receiver],
        telemetry: SinkTelemetry,
        *,
        severity: str,
        segments: Sequence[str],
        give_up_s: float,
        longest_pause_s: float,
        board_url: str | None,
    ) -> None:
        """Nothing is queued."""
        self._receivers = receivers
        self._telemetry = telemetry
        self._severities = SEVERITIES[SEVERITIES.index(severity) :]
        self._segments = frozenset(segments)
        self._board_url = board_url
        self._unfinished: dict[tuple[int, int], int] = {}
        self._pool: DeliveryPool[Message] = DeliveryPool(
            _attempt, telemetry, threads=len(receivers), give_up_s=give_up_s, longest_pause_s=longest_pause_s
        )

    def offer(self, notification: Notification, record: Any) -> bool:
        """Queue a notification that is for people, once for each receiver."""
        if not self._is_for_people(notification):
            return False
        text, kind = notification_text(notification, self._board_url), _notify_type(notification)
        self._unfinished[record.partition, record.offset] = len(self._receivers)
        for receiver in self._receivers:
            self._pool.add(receiver.name, Delivery(Message(receiver, text, kind), record))
        return True

    def step(self) -> list[Any]:
        """Records that are delivered or given up for every receiver."""
        return self._finished(self._pool.step())

    def wait_s(self) -> float | None:
        """Seconds until the pool has something to do."""
        return self._pool.wait_s()

    def stop(self) -> list[Any]:
        """Wait for the messages in flight."""
        return self._finished(self._pool.stop())

    def _is_for_people(self, notification: Notification) -> bool:
        opened = notification.opened
        if notification.quiet or notification.kind not in _KINDS or opened.severity not in self._severities:
            return False
        if notification.worsened and _WORST in self._severities:
            return False  # the alert of the worse band is the news
        return not (self._segments and opened.account_id) or opened.labels.get("segment") in self._segments

    def _finished(self, ended: list[Delivery[Message]]) -> list[Any]:
        finished = []
        for delivery in ended:
            if delivery.state is State.REJECTED:
                delivery.move(State.GIVEN_UP)
                self._telemetry.dead_letters.inc()
                log.error("notification_given_up", receiver=delivery.payload.receiver.name, error=delivery.message)
            position = (delivery.record.partition, delivery.record.offset)
            self._unfinished[position] -= 1
            if not self._unfinished[position]:
                del self._unfinished[position]
                finished.append(delivery.record)
        return finished


def _attempt(message: Message) -> Outcome:
    error = message.receiver.send(message.text, message.kind)
    if error is None:
        return Outcome("accepted")
    log.warning("notification_failed", receiver=message.receiver.name, error=error, will="retry")
    return Outcome("retry", "not_sent", error)


def _notify_type(notification: Notification) -> apprise.NotifyType:
    """What apprise shows as a colour or sign."""
    if notification.kind == "resolved":
        return apprise.NotifyType.SUCCESS
    kinds = {"critical": apprise.NotifyType.FAILURE, "warning": apprise.NotifyType.WARNING}
    return kinds.get(notification.alert.severity, apprise.NotifyType.INFO)
