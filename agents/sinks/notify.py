"""Alerts for people: chats and e-mail, by apprise (one URL a receiver: slack://, msteams://, mailto:// ...).

Owns which alerts people get (severity, segment, nothing muted) and each receiver's line. What they read is in
`agents.sinks.notification_text`. URLs hold secrets: none is logged, nor what apprise says of a failure before it is
cleaned.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, unquote_plus

import apprise
import structlog

from agents.sinks.delivery_pool import Courier, Ended, Outcome
from agents.sinks.metrics import SinkTelemetry
from agents.sinks.notification_text import Notice, notice
from stream.consumers.notifications import Notification

SEVERITIES = ("info", "warning", "critical")
_TIMEOUT_S = 30.0
_SHORTEST_SECRET = 5
_LONGEST_REASON = 300
_KINDS = frozenset({"firing", "reminded", "resolved"})

log = structlog.get_logger()


class Receiver:
    """One URL of apprise. Raises `ValueError`, without the URL in it, when apprise can not use it."""

    def __init__(self, number: int, url: str) -> None:
        """`number` (from 1) is how messages call it."""
        self.name = f"{number} ({_kind_of(url)})"
        asset = apprise.AppriseAsset(app_id="account-vitals", app_desc="account-vitals", app_url="", async_mode=False)
        # What it says comes with each result: the log must not have it before it is cleaned.
        logging.getLogger("apprise").propagate = False
        plugin = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        if plugin is None:
            raise ValueError(f"number {self.name} is no URL that apprise can use: see https://appriseit.com/services/")
        self._plugin = plugin
        self._apprise = apprise.Apprise(asset=asset)
        self._apprise.add(plugin)
        self._secrets = _secrets_in(url)

    def send(self, told: Notice, kind: apprise.NotifyType) -> str | None:
        """Send a notice; returns why it failed, in words without secrets, or None."""
        markdown = apprise.NotifyFormat.MARKDOWN
        form = (
            apprise.NotifyFormat.TEXT
            if self._plugin.resolve_format(markdown) == apprise.NotifyFormat.TEXT
            else markdown
        )
        body = told.markdown if form == markdown else told.text
        result = self._apprise.notify(
            body=body, title=told.title, body_format=form, notify_type=kind, timeout=_TIMEOUT_S
        )
        said = " ".join(entry.message for entry in result.logs())
        return None if result else self._clean(said) or "apprise gives no reason"

    def _clean(self, words: str) -> str:
        for secret in self._secrets:
            words = words.replace(secret, "***")
        return words[:_LONGEST_REASON]


def _kind_of(url: str) -> str:
    """The scheme of a URL. What has none may be part of a secret, such as a password with a space in it."""
    scheme, found, _ = url.partition("://")
    return scheme if found and re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,30}", scheme) else "no URL"


def _secrets_in(url: str) -> list[str]:
    """What of a URL must not be told, the longest first: its parts as they are written, and as they are decoded."""
    parts = re.split(r"[/:@?&=,;#\s]+", url)
    decoded = [decode(part) for part in parts for decode in (str, unquote, unquote_plus)]
    words = [word for text in (url, *decoded) for word in re.findall(r"[\w.~-]+", text)]
    return sorted({part for part in (*decoded, *words) if len(part) >= _SHORTEST_SECRET}, key=len, reverse=True)


class Letter(NamedTuple):
    """A notice for one receiver, and the record it came in."""

    receiver: Receiver
    told: Notice
    kind: apprise.NotifyType
    record: Any


class NotifySink:
    """Tells people. An alert below `severity`, or of an account in none of `segments` (if any), is not told."""

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
        """Nothing is under way."""
        self._receivers = receivers
        self._telemetry = telemetry
        self._severities = SEVERITIES[SEVERITIES.index(severity) :]
        self._segments = frozenset(segments)
        self._board_url = board_url
        self._left: dict[tuple[int, int], int] = {}
        self._courier: Courier[Letter] = Courier(
            _deliver, telemetry, threads=len(receivers), give_up_s=give_up_s, longest_pause_s=longest_pause_s
        )

    def offer(self, news: Notification, record: Any) -> bool:
        """Take what is for people, once for each receiver."""
        if not self._is_for_people(news):
            return False
        told, kind = notice(news, self._board_url), _kind(news)
        self._left[record.partition, record.offset] = len(self._receivers)
        for receiver in self._receivers:
            self._courier.put(receiver.name, Letter(receiver, told, kind, record))
        return True

    def refuse(self, record: Any, reason: str, message: str) -> bool:
        """Nothing but to log it."""
        del record, reason, message
        return False

    def recall(self, news: Notification, stamp_ms: int) -> None:
        """What was told was told."""

    def step(self) -> list[Any]:
        """Records that every receiver has, or will not get."""
        return self._dealt_with(self._courier.step())

    def wait_s(self) -> float | None:
        """As the courier says."""
        return self._courier.wait_s()

    def stop(self) -> list[Any]:
        """Wait for the messages under way."""
        return self._dealt_with(self._courier.stop())

    def _is_for_people(self, news: Notification) -> bool:
        named = news.opened
        if news.quiet or news.kind not in _KINDS or named.severity not in self._severities:
            return False
        return not (self._segments and named.account_id) or named.labels.get("segment") in self._segments

    def _dealt_with(self, ended: list[Ended[Letter]]) -> list[Any]:
        done = []
        for letter, outcome in ended:
            if outcome.status == "refused":
                self._telemetry.dead_letters.inc()
                log.error("notice_given_up", receiver=letter.receiver.name, error=outcome.message)
            place = (letter.record.partition, letter.record.offset)
            self._left[place] -= 1
            if not self._left[place]:
                del self._left[place]
                done.append(letter.record)
        return done


def _deliver(letter: Letter) -> Outcome:
    why = letter.receiver.send(letter.told, letter.kind)
    if why is None:
        return Outcome("taken")
    log.warning("notice_failed", receiver=letter.receiver.name, error=why, will="retry")
    return Outcome("again", "not_sent", why)


def _kind(news: Notification) -> apprise.NotifyType:
    """What apprise shows by colour or sign."""
    if news.kind == "resolved":
        return apprise.NotifyType.SUCCESS
    kinds = {"critical": apprise.NotifyType.FAILURE, "warning": apprise.NotifyType.WARNING}
    return kinds.get(news.alert.severity, apprise.NotifyType.INFO)
