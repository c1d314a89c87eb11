"""Alerts for an Alertmanager (API v2): it is told again and again what fires, for it keeps nothing over a restart.

Owns what has to be posted when. Each firing alert is posted at every interval with an end some intervals ahead, so that
it ends there when its sink is gone for good; each resolve is posted for a while more. The episodes of an alert go out
in order, and a firing one stands for an interval before its resolve, so that Alertmanager notices episodes that came
and went while it was away. Posting is done in the feed's thread: nothing is delivered beside it.
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
from stream.consumers.notifications import PARTITION_LABEL, Notification
from stream.consumers.queues import pause_s

RESOLVED_FOR_S = 900.0
"""How long a resolve is posted again: as long as Prometheus does (`resolvedRetention` of its rule manager)."""
_AHEAD = 4
"""Intervals until a firing alert ends by itself: Prometheus' four."""
_BATCH = 200
_BAD_REQUEST = 400
_NOT_A_LABEL = re.compile(r"[^a-zA-Z0-9_]")

_WHILE_HELD_S = 0.1

log = structlog.get_logger()
Post = Callable[[bytes], Reply]
Entry: TypeAlias = tuple[Notification, Any]
"""Notification and the record they came in."""


@dataclass(slots=True)
class Standing:
    """What Alertmanager was told last of an alert: `since_s` when it took the firing, `until_s` for a resolve."""

    news: Notification
    since_s: float
    until_s: float | None = None


class AlertmanagerSink:
    """Posts alerts. `post` posts a body; `clock_s` gives seconds that only grow, `wall_ms` the time of day."""

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
        """Nothing was told yet; what is recalled or offered from now on is."""
        self._post = post
        self._telemetry = telemetry
        self._resend_s = resend_s
        self._longest_pause_s = longest_pause_s
        self._board_url = board_url
        self._clock_s, self._wall_ms = clock_s, wall_ms
        self._queues: dict[str, deque[Entry]] = {}
        self._standing: dict[str, Standing] = {}
        self._resend_at_s = clock_s()
        self._tries = 0
        self._was_away = False
        self._not_before_s = clock_s()

    def offer(self, news: Notification, record: Any) -> bool:
        """Take news of what is not muted, and of what Alertmanager knows."""
        key = news.alert.fingerprint
        known = key in self._standing or key in self._queues
        if news.quiet and (news.kind == "resolved" or not known):
            return False
        self._queues.setdefault(key, deque()).append((news, record))
        return True

    def refuse(self, record: Any, reason: str, message: str) -> bool:
        """Nothing but to log it."""
        del record, reason, message
        return False

    def recall(self, news: Notification, stamp_ms: int) -> None:
        """What was told before this start is told again with the first round."""
        key, now_s = news.alert.fingerprint, self._clock_s()
        if news.kind != "resolved":
            if not news.quiet or key in self._standing:
                self._standing[key] = Standing(news, now_s - self._resend_s)
            return
        self._standing.pop(key, None)
        left_s = RESOLVED_FOR_S - (self._wall_ms() - stamp_ms) / 1000
        if not news.quiet and left_s > 0:
            self._standing[key] = Standing(news, now_s, now_s + left_s)

    def wait_s(self) -> float | None:
        """Until the next round; new alerts go out at once unless the last post failed."""
        now_s = self._clock_s()
        due_s = self._not_before_s if self._queues else max(self._resend_at_s, self._not_before_s)
        return max(_WHILE_HELD_S, due_s - now_s)

    def step(self) -> list[Any]:
        """Post what is new, then, once an interval, all that stands."""
        done: list[Any] = []
        if self._clock_s() < self._not_before_s:
            return done
        if self._was_away and not self._post_standing():
            return done
        ready = list(self._ready(self._clock_s()))
        for first in range(0, len(ready), _BATCH):
            if not self._post_news(ready[first : first + _BATCH], done):
                return done
        if self._clock_s() >= self._resend_at_s:
            self._post_standing()
        return done

    def stop(self) -> list[Any]:
        """Nothing is under way."""
        return []

    def _ready(self, now_s: float) -> Iterator[Entry]:
        """What may be posted now: all that waits, except a last resolve whose firing has not stood for an interval."""
        for key, queue in self._queues.items():
            entries = list(queue)
            if entries[-1][0].kind == "resolved":
                fires = any(news.kind in {"firing", "reminded"} for news, _ in entries)
                standing = self._standing.get(key)
                stands = standing is not None and standing.until_s is None
                if fires or (stands and standing is not None and now_s - standing.since_s < self._resend_s):
                    entries.pop()
            yield from entries

    def _post_news(self, entries: list[Entry], done: list[Any]) -> bool:
        """Post entries and note what became of them; False when they are to be posted again."""
        accepted = self._posted([news for news, _ in entries])
        if accepted is None:
            return False
        now_s = self._clock_s()
        for (news, record), took in zip(entries, accepted, strict=True):
            key = news.alert.fingerprint
            queue = self._queues[key]
            queue.popleft()
            if not queue:
                del self._queues[key]
            done.append(record)
            if took:
                self._told(key, news, now_s)
        self._telemetry.succeeded(sum(accepted))
        return True

    def _told(self, key: str, news: Notification, now_s: float) -> None:
        before = self._standing.get(key)
        if news.kind == "resolved":
            self._standing[key] = Standing(news, now_s, now_s + RESOLVED_FOR_S)
        elif before is None or before.until_s is not None:
            self._standing[key] = Standing(news, now_s)
        else:
            before.news = news

    def _post_standing(self) -> bool:
        """Post all that stands, and forget resolves that were posted for long enough; False when it failed.

        Was Alertmanager away, it may have lost what it knew: what fires begins anew for it, and stands for an interval
        before its resolve.
        """
        now_s = self._clock_s()
        self._standing = {key: one for key, one in self._standing.items() if one.until_s is None or one.until_s > now_s}
        keys = list(self._standing)
        for first in range(0, len(keys), _BATCH):
            batch = keys[first : first + _BATCH]
            accepted = self._posted([self._standing[key].news for key in batch])
            if accepted is None:
                return False
            for key, took in zip(batch, accepted, strict=True):
                if not took:
                    del self._standing[key]
                elif self._was_away:
                    self._standing[key].since_s = self._clock_s()
        self._was_away = False
        self._resend_at_s = now_s + self._resend_s
        if keys:
            self._telemetry.succeeded(0)
        return True

    def _posted(self, news: Sequence[Notification]) -> list[bool] | None:
        """Post some alerts: which were taken, or None when all have to be posted again later.

        Alertmanager answers 400 when any alert of a post is invalid, whatever it took: then each goes alone.
        """
        reply = self._try([self._alert(one) for one in news])
        if reply is None:
            return None
        if reply.is_good:
            return [True] * len(news)
        if len(news) == 1:
            alert = news[0].alert
            log.error("alert_refused", id=alert.id, rule=alert.rule, status=reply.status, answer=reply.text)
            self._telemetry.dead_letters.inc()
            return [False]
        accepted = []
        for one in news:
            alone = self._posted([one])
            if alone is None:
                return None
            accepted += alone
        return accepted

    def _try(self, alerts: list[dict[str, Any]]) -> Reply | None:
        """The answer of Alertmanager where it is a last one, else None, and a pause begins.

        A wish for a longer one than ours (Retry-After) is not granted: what fires would end meanwhile.
        """
        after_s = 0.0
        try:
            reply = self._post(msgspec.json.encode(alerts))
        except PostError as error:
            problem = str(error)
        else:
            if reply.is_good or reply.status == _BAD_REQUEST:
                self._tries = 0
                return reply
            problem, after_s = f"status {reply.status}: {reply.text}", reply.retry_after_s or 0.0
        self._tries += 1
        self._was_away = True
        pause = pause_s(self._tries, self._longest_pause_s, random.random())  # noqa: S311 -- spreads load
        self._not_before_s = self._clock_s() + max(pause, min(after_s, self._longest_pause_s))
        self._telemetry.failed.inc()
        log.warning("alertmanager_failed", error=problem, tries=self._tries, will="retry")
        return None

    def _alert(self, news: Notification) -> dict[str, Any]:
        """An alert as the API takes it (Alertmanager's api/v2/openapi.yaml, postableAlert)."""
        alert, opened, now_ms = news.alert, news.opened, self._wall_ms()
        ends_ms = now_ms + round(_AHEAD * self._resend_s * 1000)
        if news.kind == "resolved":
            # An end ahead of Alertmanager's clock would be no end.
            ends_ms = min(now_ms, now_ms if alert.ends_at is None else alert.ends_at)
        labels = {
            _NOT_A_LABEL.sub("_", name): value for name, value in opened.labels.items() if name != PARTITION_LABEL
        }
        told = {
            "summary": alert.summary,
            "acknowledged_by": alert.acknowledged_by,
            "snoozed_until": None if alert.snoozed_until is None else _rfc3339(alert.snoozed_until),
            **alert.annotations,
        }
        link = account_link(self._board_url, alert.account_id)
        return {
            "labels": {name: value for name, value in ({"alertname": alert.rule} | labels).items() if value},
            "annotations": {_NOT_A_LABEL.sub("_", name): text for name, text in told.items() if text},
            "startsAt": _rfc3339(min(opened.starts_at, ends_ms)),
            "endsAt": _rfc3339(ends_ms),
            **({"generatorURL": link} if link else {}),
        }


def _rfc3339(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
