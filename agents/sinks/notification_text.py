"""What people read of an alert, as plain text and as Markdown (CommonMark), and the link to the account's page.

Owns the words and the escaping: names of accounts are written by strangers. In Markdown every ASCII punctuation mark of
theirs is escaped, so that none is markup, HTML, a link or a mention; in both, control and direction characters are
dropped and `@` is kept from calling anybody. Pure. Called by the sinks.
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
"""Titles have one form, whatever shows them: what could be markup is left out."""
_NO_CALL = "@\N{WORD JOINER}"
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode's categories of controls, formats (direction marks, zero width), and what is no character."""


class Notice(NamedTuple):
    """A title and the same body in two forms."""

    title: str
    text: str
    markdown: str


def account_link(board_url: str | None, account: str) -> str | None:
    """The account's page on the board; the board itself where an alert is about no account."""
    if board_url is None:
        return None
    base = board_url.rstrip("/")
    return f"{base}/accounts/{quote(account, safe='')}" if account else f"{base}/"


def plain(words: str) -> str:
    """Words of strangers on one line of plain text."""
    visible = ("" if unicodedata.category(mark) in _HIDDEN else mark for mark in " ".join(words.split()))
    kept = "".join(visible)
    if len(kept) > _LONGEST_FIELD:
        kept = kept[: _LONGEST_FIELD - 1] + "…"
    return kept.replace("@", _NO_CALL)


def escaped(words: str) -> str:
    """Words of strangers on one line of Markdown."""
    return plain(words).translate(_ESCAPED)


def notice(news: Notification, board_url: str | None) -> Notice:
    """What to say of news."""
    alert = news.alert
    rows = _digest_rows(news) if alert.rule == STORM else _rows(news)
    rows = [(name, words) for name, words in rows if words]
    link = account_link(board_url, alert.account_id)
    text = [plain(alert.summary), "", *(f"{name}: {plain(words)}" for name, words in rows)]
    markdown = [f"**{escaped(alert.summary)}**", "", *(f"- {name}: {escaped(words)}" for name, words in rows)]
    if link:
        text += ["", link]
        what = "Open the account" if alert.account_id else "Open the board"
        markdown += ["", f"[{what}](<{link}>)"]
    return Notice(_title(news), "\n".join(text), "\n".join(markdown))


def _title(news: Notification) -> str:
    alert = news.alert
    state = {"resolved": "resolved", "reminded": f"{alert.severity}, still open"}.get(news.kind, alert.severity)
    subject = alert.annotations.get("account") or alert.account_id or alert.labels.get("source", "")
    of_whom = f": {plain(subject).translate(_NO_MARKUP)}" if subject else ""
    name = "many accounts at once" if alert.rule == STORM else plain(alert.rule)
    return f"[{plain(state)}] {name}{of_whom}"[:LONGEST_TITLE]


def _rows(news: Notification) -> list[tuple[str, str]]:
    """What stands in a notice of one alert."""
    alert, told = news.alert, news.alert.annotations
    return [
        ("Score", _score(alert)),
        ("What changed", told.get("reason", "")),
        ("Why you are told", f"rule {alert.rule}, severity {alert.severity}{_flapping(alert)}"),
        ("What to do", "" if news.kind == "resolved" else told.get("actions", "")),
        ("Owner", told.get("owner", "")),
        ("Since", _moment(alert.starts_at)),
        ("Until", "" if alert.ends_at is None else _moment(alert.ends_at)),
    ]


def _digest_rows(news: Notification) -> list[tuple[str, str]]:
    """What stands in a notice of a digest: it is about many accounts, so about no score."""
    alert, told = news.alert, news.alert.annotations
    ongoing = news.kind != "resolved"
    return [
        ("What they share", told.get("reason", "")),
        ("Why one message", "alerts that fire while this one is open are not sent one by one" if ongoing else ""),
        (
            "What to do",
            told.get("actions", "look for a common cause: a source, a release, a policy") if ongoing else "",
        ),
        ("Owner", told.get("owner", "")),
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
