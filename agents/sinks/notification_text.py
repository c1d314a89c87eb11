"""The text of a notification, plain and as Markdown (CommonMark), and the link to the account's page on the board.

Owns the wording and the escaping: account names are untrusted input. In Markdown every ASCII punctuation mark in them
is escaped, so that they cannot form markup, HTML, links or mentions; in both forms control and direction characters
are removed and `@` cannot mention anybody. Pure. Called by the sinks.
"""

from __future__ import annotations

import string
import unicodedata
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote

from schemas.outputs import Alert
from stream.alerts.messages import STORM
from stream.consumers.notifications import Notification

LONGEST_TITLE = 150
_LONGEST_FIELD = 1_000
_ESCAPED = str.maketrans({mark: f"\\{mark}" for mark in string.punctuation})
_NO_MARKUP = str.maketrans(dict.fromkeys("<>[]`*_~|\\", " "))
"""Titles are neither plain text nor Markdown for certain: characters that could be markup become spaces."""
_NO_MENTION = "@\N{WORD JOINER}"
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories of control and format characters (direction marks, zero width), separators and unassigned."""


class NotificationText(NamedTuple):
    """A title, and the same body in two forms."""

    title: str
    plain: str
    markdown: str


def account_link(board_url: str | None, account: str) -> str | None:
    """The account's page on the board, or the board's first page for an alert that is not about an account."""
    if board_url is None:
        return None
    base = board_url.rstrip("/")
    return f"{base}/accounts/{quote(account, safe='')}" if account else f"{base}/"


def plain(untrusted: str) -> str:
    """Untrusted text as one line of plain text."""
    line = "".join(char for char in " ".join(untrusted.split()) if unicodedata.category(char) not in _HIDDEN)
    if len(line) > _LONGEST_FIELD:
        line = line[: _LONGEST_FIELD - 1] + "…"
    return line.replace("@", _NO_MENTION)


def escaped(untrusted: str) -> str:
    """Untrusted text as one line of Markdown."""
    return plain(untrusted).translate(_ESCAPED)


def notification_text(notification: Notification, board_url: str | None) -> NotificationText:
    """The text of a notification."""
    alert = notification.alert
    rows = _digest_rows(notification) if alert.rule == STORM else _rows(notification)
    rows = [(name, value) for name, value in rows if value]
    link = account_link(board_url, alert.account_id)
    lines = [plain(alert.summary), "", *(f"{name}: {plain(value)}" for name, value in rows)]
    markdown = [f"**{escaped(alert.summary)}**", "", *(f"- {name}: {escaped(value)}" for name, value in rows)]
    if link:
        lines += ["", link]
        link_text = "Open the account" if alert.account_id else "Open the board"
        markdown += ["", f"[{link_text}](<{link}>)"]
    return NotificationText(_title(notification), "\n".join(lines), "\n".join(markdown))


def _title(notification: Notification) -> str:
    alert = notification.alert
    state = {"resolved": "resolved", "reminded": f"{alert.severity}, still open"}.get(notification.kind, alert.severity)
    subject = alert.annotations.get("account") or alert.account_id or alert.labels.get("source", "")
    suffix = f": {plain(subject).translate(_NO_MARKUP)}" if subject else ""
    name = "many accounts at once" if alert.rule == STORM else plain(alert.rule)
    return f"[{plain(state)}] {name}{suffix}"[:LONGEST_TITLE]


def _rows(notification: Notification) -> list[tuple[str, str]]:
    """Names and values in the text about one alert."""
    alert, annotations = notification.alert, notification.alert.annotations
    return [
        ("Score", _score(alert)),
        ("What changed", annotations.get("reason", "")),
        ("Why you receive this", f"rule {alert.rule}, severity {alert.severity}{_flapping(alert)}"),
        ("What to do", "" if notification.kind == "resolved" else annotations.get("actions", "")),
        ("Owner", annotations.get("owner", "")),
        ("Since", _moment(alert.starts_at)),
        ("Until", "" if alert.ends_at is None else _moment(alert.ends_at)),
    ]


def _digest_rows(notification: Notification) -> list[tuple[str, str]]:
    """Names and values in the text about a digest: it is about many accounts, so it has no score."""
    alert, annotations = notification.alert, notification.alert.annotations
    ongoing = notification.kind != "resolved"
    return [
        ("What they share", annotations.get("reason", "")),
        ("Why one message", "alerts that fire while this one is open are not sent one by one" if ongoing else ""),
        (
            "What to do",
            annotations.get("actions", "look for a common cause: a source, a release, a policy") if ongoing else "",
        ),
        ("Owner", annotations.get("owner", "")),
        ("Since", _moment(alert.starts_at)),
        ("Until", "" if alert.ends_at is None else _moment(alert.ends_at)),
    ]


def _score(alert: Alert) -> str:
    if alert.score is None:
        return ""
    name = alert.labels.get("score", "score")
    return f"{name} {alert.score:.1f}" + (f", {alert.band}" if alert.band else "")


def _flapping(alert: Alert) -> str:
    return f", fired again within a day ({alert.flaps} in a row)" if alert.flaps else ""


def _moment(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
