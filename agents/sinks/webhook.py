"""The webhook sink: posts every alert notification to a URL, signed as Standard Webhooks 1.0 (standardwebhooks.com).

Owns the request body, and what the receiver's answers mean. Requests about one account are sent one after another,
those about different accounts at the same time. Rejected records go to a dead-letter topic
(`agents.sinks.dead_letters`). Called by `agents.sinks.run`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import structlog

from agents.settings.webhook_secret import signed_headers
from agents.sinks.dead_letters import DeadLetterWriter
from agents.sinks.delivery import Delivery, Outcome, State
from agents.sinks.delivery_pool import DeliveryPool
from agents.sinks.http_post import PostError, RefusedAddressError, Reply
from agents.sinks.metrics import SinkTelemetry
from agents.sinks.notification_text import account_link
from agents.sinks.sink import Sink
from stream.consumers.notifications import Notification

THREADS = 8
_GONE = 410
_TEMPORARY = frozenset({408, 425, 429})
_SERVER_ERRORS = range(500, 600)
_STOP_WITHIN_S = 10.0

log = structlog.get_logger()
Post = Callable[[bytes, Mapping[str, str]], Reply]


class Request(NamedTuple):
    """The id of an alert record, sent as a header, and the body to post."""

    identity: str
    body: bytes


def request_body(notification: Notification, value: bytes, board_url: str | None) -> bytes:
    """The body: `type` (`alert.firing`, ...), `timestamp`, `data` (the record as it is in the topic) and `link`."""
    alert = notification.alert
    time_ms = {
        "resolved": alert.ends_at,
        "acknowledged": alert.acknowledged_at,
    }.get(notification.kind) or alert.starts_at
    body = {
        "type": f"alert.{notification.kind}",
        "timestamp": datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "data": msgspec.Raw(value),
    }
    link = account_link(board_url, alert.account_id)
    return msgspec.json.encode(body | ({"link": link} if link else {}))


def outcome_of(reply: Reply) -> Outcome:
    """The outcome of an answer: accepted for 2xx, retry for 5xx, 408, 425 and 429, gone for 410, else rejected."""
    if reply.is_good:
        return Outcome("accepted")
    reason, message = f"status_{reply.status}", f"status {reply.status}: {reply.text}"
    if reply.status == _GONE:
        return Outcome("gone", reason, message)
    if reply.status in _SERVER_ERRORS or reply.status in _TEMPORARY:
        return Outcome("retry", reason, message, reply.retry_after_s or 0.0)
    return Outcome("rejected", reason, message)


class WebhookSink(Sink):
    """Posts every notification; `post` posts a body with headers, `keys` sign it."""

    def __init__(
        self,
        post: Post,
        keys: Sequence[bytes],
        dead_letters: DeadLetterWriter,
        telemetry: SinkTelemetry,
        *,
        give_up_s: float,
        longest_pause_s: float,
        board_url: str | None,
    ) -> None:
        """Nothing is queued."""
        self._post = post
        self._keys = keys
        self._dead_letters = dead_letters
        self._telemetry = telemetry
        self._board_url = board_url
        self._pool: DeliveryPool[Request] = DeliveryPool(
            self._attempt,
            telemetry,
            threads=THREADS,
            give_up_s=give_up_s,
            longest_pause_s=longest_pause_s,
            on_gone=self._disabled,
        )

    def offer(self, notification: Notification, record: Any) -> bool:
        """Queue a notification behind the others about its account.

        The end of an alert that a worse one has replaced is none: the request about that one has `worsened_from`.
        """
        if notification.replaced:
            return False
        alert = notification.alert
        request = Request(alert.id, request_body(notification, record.value, self._board_url))
        self._pool.add(alert.account_id or alert.fingerprint, Delivery(request, record))
        return True

    def reject(self, record: Any, reason: str, message: str) -> bool:
        """Write the record to the dead-letter topic with the next step."""
        delivery = Delivery(Request("", b""), record)
        delivery.move(State.REJECTED, Outcome("rejected", reason, message))
        self._dead_letters.add(delivery)
        return True

    def step(self) -> list[Any]:
        """Records that the receiver has accepted, and those that the dead-letter topic holds."""
        return self._finished(self._pool.step())

    def wait_s(self) -> float | None:
        """Seconds until the pool has something to do."""
        return self._pool.wait_s()

    def stop(self) -> list[Any]:
        """Wait for the requests in flight, then some seconds for dead letters."""
        finished = self._finished(self._pool.stop())
        return finished + [delivery.record for delivery in self._dead_letters.stop(_STOP_WITHIN_S)]

    def _attempt(self, request: Request) -> Outcome:
        headers = signed_headers(self._keys, request.identity, int(time.time()), request.body)
        try:
            return outcome_of(self._post(request.body, headers))
        except PostError as error:
            return Outcome("retry", "no_answer", str(error))
        except RefusedAddressError as error:
            return Outcome("rejected", "address_refused", str(error))

    def _disabled(self, outcome: Outcome) -> None:
        self._telemetry.disabled.set(1)
        log.error(
            "webhook_disabled",
            answer=outcome.message,
            do="the receiver answered 410 Gone: correct webhook_url and restart the sink; undelivered alerts are kept",
        )

    def _finished(self, ended: list[Delivery[Request]]) -> list[Any]:
        for delivery in ended:
            if delivery.state is State.REJECTED:
                self._dead_letters.add(delivery)
        delivered = [delivery.record for delivery in ended if delivery.state is State.DELIVERED]
        return delivered + [delivery.record for delivery in self._dead_letters.step()]
