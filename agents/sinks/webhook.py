"""Alerts for a webhook, signed as Standard Webhooks says (standardwebhooks.com, specification 1.0).

Owns the body, what the receiver's answers mean, and the dead letters. The records of an account go out one after
another, those of several accounts beside each other. Called by `agents.sinks.run`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import structlog
from kafka import KafkaProducer
from kafka.errors import KafkaError

from agents.settings.webhook_secret import signed_headers
from agents.sinks.delivery_pool import Courier, Ended, Outcome
from agents.sinks.http_post import PostError, RefusedAddressError, Reply
from agents.sinks.metrics import SinkTelemetry
from agents.sinks.notification_text import account_link
from schemas.topics import ALERTS, ERROR_HEADER, WEBHOOK_DLQ
from stream.consumers.notifications import Notification

THREADS = 8
_GONE = 410
_COMES_BACK = frozenset({408, 425, 429})
_SERVER_ERRORS = range(500, 600)
_LAST_SENDS_WITHIN_S = 10.0
_BURY_AGAIN_S = 5.0

log = structlog.get_logger()
Post = Callable[[bytes, Mapping[str, str]], Reply]


def payload(news: Notification, value: bytes, board_url: str | None) -> bytes:
    """The body: `type` (`alert.firing`, ...), `timestamp`, `data` (the record as it is in the topic) and `link`."""
    alert = news.alert
    told_ms = {
        "resolved": alert.ends_at,
        "acknowledged": alert.acknowledged_at,
    }.get(news.kind) or alert.starts_at
    body = {
        "type": f"alert.{news.kind}",
        "timestamp": datetime.fromtimestamp(told_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "data": msgspec.Raw(value),
    }
    link = account_link(board_url, alert.account_id)
    return msgspec.json.encode(body | ({"link": link} if link else {}))


class Parcel(NamedTuple):
    """One record on its way: its id, its body, and the record as it came."""

    identity: str
    body: bytes
    record: Any


def judged(reply: Reply) -> Outcome:
    """What an answer means: 5xx, 408, 425 and 429 are tried again, 410 ends all, all else but 2xx is final."""
    if reply.is_good:
        return Outcome("taken")
    reason, message = f"status_{reply.status}", f"status {reply.status}: {reply.text}"
    if reply.status == _GONE:
        return Outcome("gone", reason, message)
    if reply.status in _SERVER_ERRORS or reply.status in _COMES_BACK:
        return Outcome("again", reason, message, reply.retry_after_s or 0.0)
    return Outcome("refused", reason, message)


class WebhookSink:
    """Posts every record that is news; `post` posts body and headers, `producer` writes dead letters."""

    def __init__(
        self,
        post: Post,
        keys: Sequence[bytes],
        producer: KafkaProducer,
        telemetry: SinkTelemetry,
        *,
        give_up_s: float,
        longest_pause_s: float,
        board_url: str | None,
    ) -> None:
        """Nothing is under way."""
        self._post = post
        self._keys = keys
        self._producer = producer
        self._telemetry = telemetry
        self._board_url = board_url
        self._courier: Courier[Parcel] = Courier(
            self._deliver, telemetry, threads=THREADS, give_up_s=give_up_s, longest_pause_s=longest_pause_s
        )
        self._to_bury: list[Ended[Parcel]] = []
        self._burying: list[tuple[Ended[Parcel], Any]] = []
        self._bury_at_s = 0.0
        self._told_gone = False

    def offer(self, news: Notification, record: Any) -> bool:
        """Take all there is to say, in the line of its account."""
        line = news.alert.account_id or news.alert.fingerprint
        body = payload(news, record.value, self._board_url)
        self._courier.put(line, Parcel(news.alert.id, body, record))
        return True

    def refuse(self, record: Any, reason: str, message: str) -> bool:
        """It goes to the dead letters with the next step."""
        self._to_bury.append(Ended(Parcel("", b"", record), Outcome("refused", reason, message)))
        return True

    def recall(self, news: Notification, stamp_ms: int) -> None:
        """What was delivered is delivered."""

    def step(self) -> list[Any]:
        """Records taken, and those that lie among the dead letters now."""
        return self._dealt_with(self._courier.step())

    def wait_s(self) -> float | None:
        """As the courier says."""
        return self._courier.wait_s()

    def stop(self) -> list[Any]:
        """Wait for the requests under way, and a while for the dead letters."""
        self._told_gone = True
        dealt_with = self._dealt_with(self._courier.stop())
        deadline_s = time.monotonic() + _LAST_SENDS_WITHIN_S
        for _, future in self._burying:
            with contextlib.suppress(KafkaError):
                future.get(timeout=max(0.0, deadline_s - time.monotonic()))
        return dealt_with + self._buried()

    def _deliver(self, parcel: Parcel) -> Outcome:
        headers = signed_headers(self._keys, parcel.identity, int(time.time()), parcel.body)
        try:
            return judged(self._post(parcel.body, headers))
        except PostError as error:
            return Outcome("again", "no_answer", str(error))
        except RefusedAddressError as error:
            return Outcome("refused", "address_refused", str(error))

    def _dealt_with(self, ended: list[Ended[Parcel]]) -> list[Any]:
        if self._courier.disabled and not self._told_gone:
            self._told_gone = True
            self._telemetry.disabled.set(1)
            log.error(
                "webhook_disabled",
                answer=self._courier.disabled.message,
                do="the receiver says that it is gone: correct webhook_url and start again; what waits is kept",
            )
        self._to_bury += [one for one in ended if one.outcome.status == "refused"]
        buried = self._buried()
        self._bury()
        return [one.thing.record for one in ended if one.outcome.status == "taken"] + buried

    def _bury(self) -> None:
        """Hand refused records to the producer, unless it has failed just now. What it has, it sends on by itself."""
        if time.monotonic() < self._bury_at_s:
            return
        while self._to_bury:
            try:
                future = self._producer.send(WEBHOOK_DLQ, **dead_letter(self._to_bury[0]))
            except KafkaError as error:
                self._failed_to_bury(error)
                return
            self._burying.append((self._to_bury.pop(0), future))

    def _buried(self) -> list[Any]:
        """Records that the dead-letter topic has since; those it has not taken, and only those, are sent again."""
        buried, under_way = [], []
        for one, future in self._burying:
            if not future.is_done:
                under_way.append((one, future))
            elif future.failed():
                self._to_bury.append(one)
                self._failed_to_bury(future.exception)
            else:
                buried.append(one.thing.record)
                self._telemetry.dead_letters.inc()
                why = {"reason": one.outcome.reason, "error": one.outcome.message}
                place = {"partition": one.thing.record.partition, "offset": one.thing.record.offset}
                log.error("webhook_refused", id=one.thing.identity, **why, **place)
        self._burying = under_way
        return buried

    def _failed_to_bury(self, error: Exception) -> None:
        self._bury_at_s = time.monotonic() + _BURY_AGAIN_S
        log.warning("dead_letter_failed", error=f"{type(error).__name__} {error}", will="retry")


def dead_letter(one: Ended[Parcel]) -> dict[str, Any]:
    """The record byte for byte, for a producer, with headers that say why it is there.

    What kafka-python does not write is empty instead of null: a header, or the value of a record without a key too.
    """
    record, outcome = one.thing.record, one.outcome
    place = {"topic": ALERTS, "partition": record.partition, "offset": record.offset}
    why = {"reason": outcome.reason, "message": outcome.message, **place}
    headers = [(name, value or b"") for name, value in record.headers]
    headers += [(ERROR_HEADER + name, str(value).encode()) for name, value in why.items()]
    value = b"" if record.key is None and record.value is None else record.value
    return {"key": record.key, "value": value, "headers": headers}
