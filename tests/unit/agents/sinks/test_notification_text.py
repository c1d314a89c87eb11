"""The text of notifications: wording, both forms, hostile account names; and the notify sink."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import apprise
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from agents.sinks.http_post import allow_all
from agents.sinks.metrics import SinkTelemetry
from agents.sinks.notification_text import LONGEST_TITLE, account_link, escaped, notification_text, plain
from agents.sinks.notify import NotifySink
from agents.sinks.receiver import Receiver
from schemas.outputs import Alert
from stream.consumers.notifications import Notification, OpenAlerts

BOARD = "https://board.example"
HOSTILE = [
    "<script>alert(1)</script>",
    "<!channel> <!here> <@U123>",
    "@everyone @here",
    "[free money](https://evil.example)",
    "![x](https://evil.example/pixel.png)",
    "<https://evil.example|click>",
    "**bold** _it_ `code` ~~no~~ # head",
    "&lt;b&gt; &#60;i&#62;",
    "line\r\nBcc: everyone@example.com\n\n# not a heading",
    "\u202egnp.exe\u2066 \u200bzero\x00\x1b[31m",
    "| a | b |\n|---|---|",
    "https://evil.example",
]


def alert(**more: Any) -> Alert:
    fields = {
        "id": "f1",
        "fingerprint": "p1",
        "account_id": "acme",
        "rule": "band:health:attention",
        "severity": "warning",
        "status": "firing",
        "starts_at": 1_700_000_000_000,
        "score": 67.52,
        "band": "attention",
        "summary": "Acme is attention: health 67.5 (support tickets -8.0)",
        "labels": {"account_id": "acme", "score": "health", "segment": "enterprise"},
        "annotations": {
            "reason": "support tickets -8.0",
            "account": "Acme",
            "actions": "call the champion",
            "owner": "csm",
        },
    }
    return Alert(**{**fields, **more})


def first_notification(opened: Alert) -> Notification:
    notification = OpenAlerts().apply(opened)
    assert notification is not None
    return notification


def test_text_has_score_change_reason_action_owner_and_link() -> None:
    text = notification_text(first_notification(alert()), BOARD)
    assert text.title == "[warning] band:health:attention: Acme"
    assert text.plain.splitlines() == [
        "Acme is attention: health 67.5 (support tickets -8.0)",
        "",
        "Score: health 67.5, attention",
        "What changed: support tickets -8.0",
        "Why you receive this: rule band:health:attention, severity warning",
        "What to do: call the champion",
        "Owner: csm",
        "Since: 2023-11-14 22:13 UTC",
        "",
        "https://board.example/accounts/acme",
    ]
    assert text.markdown.splitlines() == [
        r"**Acme is attention\: health 67\.5 \(support tickets \-8\.0\)**",
        "",
        r"- Score: health 67\.5\, attention",
        r"- What changed: support tickets \-8\.0",
        r"- Why you receive this: rule band\:health\:attention\, severity warning",
        "- What to do: call the champion",
        "- Owner: csm",
        r"- Since: 2023\-11\-14 22\:13 UTC",
        "",
        "[Open the account](<https://board.example/accounts/acme>)",
    ]


def test_text_of_a_resolve_has_its_end_and_no_action() -> None:
    open_alerts = OpenAlerts()
    open_alerts.apply(alert())
    notification = open_alerts.apply(alert(id="r1", status="resolved", ends_at=1_700_000_600_000))
    assert notification is not None
    text = notification_text(notification, None)
    assert text.title.startswith("[resolved] ")
    assert "Until: 2023-11-14 22:23 UTC" in text.plain
    assert "What to do" not in text.plain
    assert "http" not in text.plain


def test_text_of_a_flapping_alert_has_the_number_of_flaps() -> None:
    assert "fired again within a day (3 in a row)" in notification_text(first_notification(alert(flaps=3)), None).plain


def test_text_of_a_digest_is_about_many_accounts() -> None:
    storm = alert(
        account_id="",
        rule="storm",
        severity="critical",
        score=None,
        band=None,
        summary="120 accounts alert: low, logins",
        labels={"rule": "storm", "severity": "critical"},
        annotations={"reason": "logins"},
    )
    text = notification_text(first_notification(storm), BOARD)
    assert text.title == "[critical] many accounts at once"
    lines = text.plain.splitlines()
    assert lines[0] == "120 accounts alert: low, logins"
    assert "What they share: logins" in lines
    assert not [line for line in lines if line.startswith("Score")]
    assert lines[-1] == "https://board.example/"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_account_name_forms_no_markup_or_mention(name: str) -> None:
    text = notification_text(
        first_notification(alert(summary=f"{name} is poor", account_id=name, annotations={"account": name})), BOARD
    )
    assert "\n" not in text.title
    assert len(text.title) <= LONGEST_TITLE
    for form in (text.title, text.plain):
        assert not set(form) & set("\r\x00\x1b\u202e\u2066\u200b")
    assert not set(text.title.partition("] ")[2]) & set("<>[]`*_~|\\")
    for form in (text.title, text.plain, text.markdown):
        assert "@everyone" not in form
        assert "@here" not in form
    bullets = [line for line in text.markdown.splitlines() if line.startswith("- ")]
    assert [line.split(":")[0] for line in bullets] == ["- Score", "- Why you receive this", "- Since"]
    assert_shows(text.markdown, plain(f"{name} is poor"))


def assert_shows(markdown: str, words: str) -> None:
    """Fail unless the rendered text has only our markup, only links to the board, and exactly these words."""
    tokens = MarkdownIt("commonmark", {"html": True, "linkify": False}).parse(markdown)
    inline = [child for token in tokens for child in token.children or ()]
    assert {token.type for token in tokens} <= {
        *("paragraph_open", "paragraph_close", "inline", "bullet_list_open", "bullet_list_close"),
        *("list_item_open", "list_item_close"),
    }
    kinds = {child.type for child in inline}
    assert kinds <= {"text", "text_special", "strong_open", "strong_close", "link_open", "link_close"}
    links = [str(child.attrGet("href")) for child in inline if child.type == "link_open"]
    assert all(link.startswith(f"{BOARD}/") for link in links)
    first = next(token for token in tokens if token.type == "inline")
    assert "".join(child.content for child in first.children or ()) == words


@given(st.text())
def test_escaping_keeps_any_words_unchanged(words: str) -> None:
    assert "\n" not in plain(words)
    if shown := plain(words):
        assert_shows(f"**x{escaped(words)}**", f"x{shown}")


def test_the_link_can_not_leave_the_board() -> None:
    assert account_link(f"{BOARD}/", "../../admin?x#y z/é") == f"{BOARD}/accounts/..%2F..%2Fadmin%3Fx%23y%20z%2F%C3%A9"
    assert account_link(None, "acme") is None


# To receivers


@contextmanager
def inbox() -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """A server that records what apprise's json:// sends."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200 if "fail" not in self.path else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield httpd.server_address[1], got
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def receiver_of(url: str, number: int = 1) -> Receiver:
    return Receiver(number, url, allow_all)


@pytest.mark.parametrize("name", HOSTILE)
def test_html_made_from_the_markdown_holds_no_html_of_an_account_name(name: str) -> None:
    text = notification_text(first_notification(alert(summary=f"{name} is poor", annotations={"account": name})), BOARD)
    with inbox() as (port, got):
        assert receiver_of(f"json://127.0.0.1:{port}/?format=html").send(text, apprise.NotifyType.INFO) is None
    html = got[0]["message"]
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("<a ") == 1
    assert "evil.example" not in html.partition("<a ")[2]


def test_a_receiver_gets_plain_text_or_markdown_by_its_format() -> None:
    text = notification_text(first_notification(alert()), BOARD)
    with inbox() as (port, got):
        for form in ("text", "markdown"):
            url = f"json://127.0.0.1:{port}/?format={form}"
            assert receiver_of(url).send(text, apprise.NotifyType.WARNING) is None
    assert [notification["message"].splitlines()[0] for notification in got] == [
        text.plain.splitlines()[0],
        text.markdown.splitlines()[0],
    ]
    assert [(notification["title"], notification["type"]) for notification in got] == [(text.title, "warning")] * 2


class Record:
    """What a sink reads of a Kafka record."""

    def __init__(self, offset: int) -> None:
        self.partition, self.offset = 0, offset


def offered(sink: NotifySink, *alerts: Alert) -> list[bool]:
    open_alerts = OpenAlerts()
    accepted = []
    for offset, offered_alert in enumerate(alerts):
        notification = open_alerts.apply(offered_alert)
        accepted.append(notification is not None and sink.offer(notification, Record(offset)))
    return accepted


def sink_of(*urls: str, severity: str = "info", segments: tuple[str, ...] = ()) -> NotifySink:
    receivers = [receiver_of(url, number) for number, url in enumerate(urls, start=1)]
    options: dict[str, Any] = {"give_up_s": 0, "longest_pause_s": 0.1, "board_url": None}
    return NotifySink(receivers, SinkTelemetry("notify"), severity=severity, segments=segments, **options)


def test_alerts_are_sent_by_severity_and_segment() -> None:
    sink = sink_of("json://127.0.0.1:9/", severity="warning", segments=("enterprise",))
    other = {"score": "health", "segment": "small"}
    operational = alert(id="4", fingerprint="4", account_id="", rule="stalled:x", labels={})
    assert offered(
        sink,
        alert(id="1", fingerprint="1"),
        alert(id="2", fingerprint="2", severity="info"),
        alert(id="3", fingerprint="3", labels=other),
        operational,
        alert(id="5", fingerprint="1", acknowledged_at=5),
        alert(id="6", fingerprint="6", digest="storm"),
        alert(id="7", fingerprint="7", snoozed_until=5),
        alert(id="8", fingerprint="1", labels=other, status="resolved", ends_at=9),
    ) == [True, False, False, True, False, False, False, True]
    sink.stop()


def test_a_record_is_finished_when_it_is_delivered_or_given_up_for_every_receiver() -> None:
    with inbox() as (port, got):
        sink = sink_of(f"json://127.0.0.1:{port}/", f"json://127.0.0.1:{port}/fail")
        assert offered(sink, alert()) == [True]
        done: list[Any] = []
        while not done:
            done += sink.step()
            threading.Event().wait(0.01)
        sink.stop()
    assert [record.offset for record in done] == [0]
    assert len(got) == 2
    telemetry = sink._telemetry
    counters = (telemetry.delivered, telemetry.failed, telemetry.dead_letters)
    assert [counter._value.get() for counter in counters] == [1, 1, 1]
