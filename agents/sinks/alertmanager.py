"""The Alertmanager sink (API v2): posts alerts, and repeats the active ones, since Alertmanager can lose them.

Owns what is posted when. Each firing alert is posted at every interval with an end some intervals ahead, so that it
resolves by itself if this sink stops for good; each resolve is repeated for a while. The episodes of an alert are
posted in order, and a firing alert stays posted for an interval before its resolve, so that Alertmanager also notifies
about episodes that began and ended while it was unavailable. Posts are made in the consumer's thread. Called by
`agents.sinks.run`.
"""

from __future__ import annotations

import random
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec
import structlog

from agents.sinks.http_post import PostError, Reply
from agents.sinks.metrics import SinkTelemetry
from agents.sinks.notification_text import account_link
from agents.sinks.sink import Sink
from stream.consumers.notifications import PARTITION_LABEL, Notification
from stream.consumers.queues import pause_s

RESOLVED_FOR_S = 900.0
"""How long a resolve is repeated: as long as Prometheus does (`resolvedRetention` of its rule manager)."""
_END_AFTER_INTERVALS = 4
"""Intervals until a firing alert resolves by itself: four, as in Prometheus."""
_BATCH = 200
_BAD_REQUEST = 400
_NOT_A_LABEL = re.compile(r"[^a-zA-Z0-9_]")
_SHORTEST_WAIT_S = 0.1

log = structlog.get_logger()
Post = Callable[[bytes], Reply]
Entry: TypeAlias = tuple[Notification, Any]
"""A notification and the record it was made from."""


@dataclass(slots=True)
class PostedAlert:
    """The latest accepted post about an alert: when a firing one was first accepted, until when a resolve is repeated.

    `repeat_until_s` is None while the alert fires.
    """

    notification: Notification
    accepted_s: float
    repeat_until_s: float | None = None


class AlertmanagerSink(Sink):
    """Posts alerts. `post` posts a body; `clock_s` is a monotonic clock, `wall_ms` the time of day."""

    def __init__(
        self,
        post: Post,
        telemetry: SinkTelemetry,
        *,
        resend_s: float,
        longest_pause_s: float,
        board_url: str | None,
        clock_s: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """Nothing is queued or posted."""
        self._post = post
        self._telemetry = telemetry
        self._resend_s = resend_s
        self._longest_pause_s = longest_pause_s
        self._board_url = board_url
        self._clock_s, self._wall_ms = clock_s, wall_ms
        self._queues: dict[str, deque[Entry]] = {}
        self._posted: dict[str, PostedAlert] = {}
        self._repeat_at_s = clock_s()
        self._failures = 0
        self._failed_since_repeat = False
        self._not_before_s = clock_s()

    def offer(self, notification: Notification, record: Any) -> bool:
        """Queue a notification that is not muted, or whose alert is queued or posted already."""
        key = notification.alert.fingerprint
        known = key in self._posted or key in self._queues
        if notification.quiet and (notification.kind == "resolved" or not known):
            return False
        self._queues.setdefault(key, deque()).append((notification, record))
        return True

    def restore(self, notification: Notification, written_ms: int) -> None:
        """An alert that was posted before this start is repeated with the first round."""
        key, now_s = notification.alert.fingerprint, self._clock_s()
        if notification.kind != "resolved":
            if not notification.quiet or key in self._posted:
                self._posted[key] = PostedAlert(notification, now_s - self._resend_s)
            return
        self._posted.pop(key, None)
        left_s = RESOLVED_FOR_S - (self._wall_ms() - written_ms) / 1000
        if not notification.quiet and left_s > 0:
            self._posted[key] = PostedAlert(notification, now_s, now_s + left_s)

    def wait_s(self) -> float | None:
        """Seconds until the next round; new alerts are posted at once unless the last post failed."""
        now_s = self._clock_s()
        due_s = self._not_before_s if self._queues else max(self._repeat_at_s, self._not_before_s)
        return max(_SHORTEST_WAIT_S, due_s - now_s)

    def step(self) -> list[Any]:
        """Post new notifications, then, once an interval, repeat everything posted."""
        finished: list[Any] = []
        if self._clock_s() < self._not_before_s:
            return finished
        if self._failed_since_repeat and not self._repeat():
            return finished
        ready = list(self._ready(self._clock_s()))
        for start in range(0, len(ready), _BATCH):
            if not self._post_new(ready[start : start + _BATCH], finished):
                return finished
        if self._clock_s() >= self._repeat_at_s:
            self._repeat()
        return finished

    def _ready(self, now_s: float) -> Iterator[Entry]:
        """The queued entries to post now: all, except a last resolve whose firing was not posted for an interval.

        Last resolves come after everything else: an alert of a worse band fires before the better one resolves.
        """
        resolves: list[Entry] = []
        for key, queue in self._queues.items():
            entries = list(queue)
            if entries[-1][0].kind == "resolved":
                firing_queued = any(notification.kind in {"firing", "reminded"} for notification, _ in entries)
                posted = self._posted.get(key)
                firing = posted is not None and posted.repeat_until_s is None
                resolve = entries.pop()
                if not (
                    firing_queued or (firing and posted is not None and now_s - posted.accepted_s < self._resend_s)
                ):
                    resolves.append(resolve)
            yield from entries
        yield from resolves

    def _post_new(self, entries: list[Entry], finished: list[Any]) -> bool:
        """Post entries and append the records that are finished; False when all must be posted again."""
        accepted = self._accepted([notification for notification, _ in entries])
        if accepted is None:
            return False
        now_s = self._clock_s()
        for (notification, record), is_accepted in zip(entries, accepted, strict=True):
            key = notification.alert.fingerprint
            queue = self._queues[key]
            queue.popleft()
            if not queue:
                del self._queues[key]
            finished.append(record)
            if is_accepted:
                self._remember(key, notification, now_s)
        self._telemetry.succeeded(sum(accepted))
        return True

    def _remember(self, key: str, notification: Notification, now_s: float) -> None:
        posted = self._posted.get(key)
        if notification.kind == "resolved":
            self._posted[key] = PostedAlert(notification, now_s, now_s + RESOLVED_FOR_S)
        elif posted is None or posted.repeat_until_s is not None:
            self._posted[key] = PostedAlert(notification, now_s)
        else:
            posted.notification = notification

    def _repeat(self) -> bool:
        """Post again every alert that fires or resolved lately, drop expired resolves; False when a post failed.

        Alertmanager may have lost its alerts if it was unavailable: the firing ones begin anew for it, and stay posted
        for an interval before their resolve.
        """
        now_s = self._clock_s()
        self._posted = {
            key: posted
            for key, posted in self._posted.items()
            if posted.repeat_until_s is None or posted.repeat_until_s > now_s
        }
        keys = list(self._posted)
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            accepted = self._accepted([self._posted[key].notification for key in batch])
            if accepted is None:
                return False
            for key, is_accepted in zip(batch, accepted, strict=True):
                if not is_accepted:
                    del self._posted[key]
                elif self._failed_since_repeat:
                    self._posted[key].accepted_s = self._clock_s()
        self._failed_since_repeat = False
        self._repeat_at_s = now_s + self._resend_s
        if keys:
            self._telemetry.succeeded(0)
        return True

    def _accepted(self, notifications: Sequence[Notification]) -> list[bool] | None:
        """Post some alerts: whether each was accepted, or None when all must be posted again later.

        Alertmanager answers 400 if any alert of a post is invalid, even if it accepts the others: then each is posted
        in a request of its own.
        """
        reply = self._final_reply([self._api_alert(notification) for notification in notifications])
        if reply is None:
            return None
        if reply.is_good:
            return [True] * len(notifications)
        if len(notifications) == 1:
            alert = notifications[0].alert
            log.error("alert_rejected", id=alert.id, rule=alert.rule, status=reply.status, answer=reply.text)
            self._telemetry.dead_letters.inc()
            return [False]
        accepted = []
        for notification in notifications:
            single = self._accepted([notification])
            if single is None:
                return None
            accepted += single
        return accepted

    def _final_reply(self, alerts: list[dict[str, Any]]) -> Reply | None:
        """Alertmanager's answer if it is 2xx or 400; otherwise None, and no post is made for a while.

        Retry-After is obeyed up to the longest pause only: firing alerts would resolve meanwhile.
        """
        after_s = 0.0
        try:
            reply = self._post(msgspec.json.encode(alerts))
        except PostError as error:
            problem = str(error)
        else:
            if reply.is_good or reply.status == _BAD_REQUEST:
                self._failures = 0
                return reply
            problem, after_s = f"status {reply.status}: {reply.text}", reply.retry_after_s or 0.0
        self._failures += 1
        self._failed_since_repeat = True
        pause = pause_s(self._failures, self._longest_pause_s, random.random())  # noqa: S311 -- spreads load
        self._not_before_s = self._clock_s() + max(pause, min(after_s, self._longest_pause_s))
        self._telemetry.failed.inc()
        log.warning("alertmanager_failed", error=problem, attempts=self._failures, will="retry")
        return None

    def _api_alert(self, notification: Notification) -> dict[str, Any]:
        """An alert in the form of the API (`postableAlert` in Alertmanager's api/v2/openapi.yaml)."""
        alert, opened, now_ms = notification.alert, notification.opened, self._wall_ms()
        ends_ms = now_ms + round(_END_AFTER_INTERVALS * self._resend_s * 1000)
        if notification.kind == "resolved":
            # An end after Alertmanager's clock does not resolve the alert.
            ends_ms = min(now_ms, now_ms if alert.ends_at is None else alert.ends_at)
        labels = {
            _NOT_A_LABEL.sub("_", name): value for name, value in opened.labels.items() if name != PARTITION_LABEL
        }
        annotations = {
            "summary": alert.summary,
            "acknowledged_by": alert.acknowledged_by,
            "snoozed_until": None if alert.snoozed_until is None else _rfc3339(alert.snoozed_until),
            **alert.annotations,
        }
        link = account_link(self._board_url, alert.account_id)
        return {
            "labels": {name: value for name, value in ({"alertname": alert.rule} | labels).items() if value},
            "annotations": {_NOT_A_LABEL.sub("_", name): text for name, text in annotations.items() if text},
            "startsAt": _rfc3339(min(opened.starts_at, ends_ms)),
            "endsAt": _rfc3339(ends_ms),
            **({"generatorURL": link} if link else {}),
        }


def _rfc3339(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
