"""The notify sink: sends alerts to people by chat or e-mail through apprise (one URL a receiver: slack://, mailto://).

Owns which alerts people receive (by severity and segment; nothing muted) and one delivery queue for each receiver. The
text is made by `agents.sinks.notification_text`. The URLs hold secrets: none is logged, and what apprise reports about
a failure is logged only after secrets are removed. Called by `agents.sinks.run`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, unquote_plus

import apprise
import structlog

from agents.sinks.delivery import Delivery, Outcome, State
from agents.sinks.delivery_pool import DeliveryPool
from agents.sinks.metrics import SinkTelemetry
from agents.sinks.notification_text import NotificationText, notification_text
from agents.sinks.sink import Sink
from stream.consumers.notifications import Notification

SEVERITIES = ("info", "warning", "critical")
_TIMEOUT_S = 30.0
_SHORTEST_SECRET = 5
_LONGEST_REASON = 300
_KINDS = frozenset({"firing", "reminded", "resolved"})
_WORST = "critical"

log = structlog.get_logger()


class Receiver:
    """One apprise URL. Raises `ValueError`, without the URL in it, when apprise cannot use it."""

    def __init__(self, number: int, url: str) -> None:
        """`number` (from 1) names the receiver in logs."""
        self.name = f"{number} ({_scheme_of(url)})"
        asset = apprise.AppriseAsset(app_id="account-vitals", app_desc="account-vitals", app_url="", async_mode=False)
        # Its messages come with each result: the log must not have them before secrets are removed.
        logging.getLogger("apprise").propagate = False
        plugin = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        if plugin is None:
            raise ValueError(
                f"number {self.name} is not a URL that apprise can use: see https://appriseit.com/services/"
            )
        self._plugin = plugin
        self._apprise = apprise.Apprise(asset=asset)
        self._apprise.add(plugin)
        self._secrets = _secrets_in(url)

    def send(self, text: NotificationText, kind: apprise.NotifyType) -> str | None:
        """Send a text; returns why it failed, without secrets, or None."""
        markdown = apprise.NotifyFormat.MARKDOWN
        body_format = (
            apprise.NotifyFormat.TEXT
            if self._plugin.resolve_format(markdown) == apprise.NotifyFormat.TEXT
            else markdown
        )
        body = text.markdown if body_format == markdown else text.plain
        result = self._apprise.notify(
            body=body, title=text.title, body_format=body_format, notify_type=kind, timeout=_TIMEOUT_S
        )
        reported = " ".join(entry.message for entry in result.logs())
        return None if result else self._without_secrets(reported) or "apprise gives no reason"

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text[:_LONGEST_REASON]


def _scheme_of(url: str) -> str:
    """The scheme of a URL. A text without one may be part of a secret, such as a password with a space in it."""
    scheme, separator, _ = url.partition("://")
    return scheme if separator and re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,30}", scheme) else "not a URL"


def _secrets_in(url: str) -> list[str]:
    """The texts of a URL that must not be logged, longest first: its components as written and as decoded."""
    components = re.split(r"[/:@?&=,;#\s]+", url)
    decoded = [decode(component) for component in components for decode in (str, unquote, unquote_plus)]
    words = [word for text in (url, *decoded) for word in re.findall(r"[\w.~-]+", text)]
    return sorted({text for text in (*decoded, *words) if len(text) >= _SHORTEST_SECRET}, key=len, reverse=True)


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
