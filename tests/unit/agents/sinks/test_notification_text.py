"""What people read: the words, the two forms, and names that try to be more than names."""

from __future__ import annotations

import io
import json
import logging
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

from agents.sinks.metrics import SinkTelemetry
from agents.sinks.notification_text import LONGEST_TITLE, account_link, escaped, notice, plain
from agents.sinks.notify import NotifySink, Receiver
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
    given = {
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
    return Alert(**{**given, **more})


def fresh(one: Alert) -> Notification:
    news = OpenAlerts().apply(one)
    assert news is not None
    return news


def test_a_notice_says_score_change_reason_action_owner_and_where_to_look() -> None:
    told = notice(fresh(alert()), BOARD)
    assert told.title == "[warning] band:health:attention: Acme"
    assert told.text.splitlines() == [
        "Acme is attention: health 67.5 (support tickets -8.0)",
        "",
        "Score: health 67.5, attention",
        "What changed: support tickets -8.0",
        "Why you are told: rule band:health:attention, severity warning",
        "What to do: call the champion",
        "Owner: csm",
        "Since: 2023-11-14 22:13 UTC",
        "",
        "https://board.example/accounts/acme",
    ]
    assert told.markdown.splitlines() == [
        r"**Acme is attention\: health 67\.5 \(support tickets \-8\.0\)**",
        "",
        r"- Score: health 67\.5\, attention",
        r"- What changed: support tickets \-8\.0",
        r"- Why you are told: rule band\:health\:attention\, severity warning",
        "- What to do: call the champion",
        "- Owner: csm",
        r"- Since: 2023\-11\-14 22\:13 UTC",
        "",
        "[Open the account](<https://board.example/accounts/acme>)",
    ]


def test_a_resolve_says_until_when_and_asks_for_nothing() -> None:
    book = OpenAlerts()
    book.apply(alert())
    news = book.apply(alert(id="r1", status="resolved", ends_at=1_700_000_600_000))
    assert news is not None
    told = notice(news, None)
    assert told.title.startswith("[resolved] ")
    assert "Until: 2023-11-14 22:23 UTC" in told.text
    assert "What to do" not in told.text
    assert "http" not in told.text


def test_flaps_are_told() -> None:
    assert "fired again within a day (3 in a row)" in notice(fresh(alert(flaps=3)), None).text


def test_a_digest_speaks_of_many_accounts() -> None:
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
    told = notice(fresh(storm), BOARD)
    assert told.title == "[critical] many accounts at once"
    lines = told.text.splitlines()
    assert lines[0] == "120 accounts alert: low, logins"
    assert "What they share: logins" in lines
    assert not [line for line in lines if line.startswith("Score")]
    assert lines[-1] == "https://board.example/"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_a_name(name: str) -> None:
    told = notice(fresh(alert(summary=f"{name} is poor", account_id=name, annotations={"account": name})), BOARD)
    assert "\n" not in told.title
    assert len(told.title) <= LONGEST_TITLE
    for text in (told.title, told.text):
        assert not set(text) & set("\r\x00\x1b\u202e\u2066\u200b")
    assert not set(told.title.partition("] ")[2]) & set("<>[]`*_~|\\")
    for text in (told.title, told.text, told.markdown):
        assert "@everyone" not in text
        assert "@here" not in text
    bullets = [line for line in told.markdown.splitlines() if line.startswith("- ")]
    assert [line.split(":")[0] for line in bullets] == ["- Score", "- Why you are told", "- Since"]
    assert_shows(told.markdown, plain(f"{name} is poor"))


def assert_shows(markdown: str, words: str) -> None:
    """Rendered, there is no markup but ours, no link but to the board, and the words are there as they are."""
    tokens = MarkdownIt("commonmark", {"html": True, "linkify": False}).parse(markdown)
    inline = [part for token in tokens for part in token.children or ()]
    assert {token.type for token in tokens} <= {
        *("paragraph_open", "paragraph_close", "inline", "bullet_list_open", "bullet_list_close"),
        *("list_item_open", "list_item_close"),
    }
    kinds = {part.type for part in inline}
    assert kinds <= {"text", "text_special", "strong_open", "strong_close", "link_open", "link_close"}
    links = [str(part.attrGet("href")) for part in inline if part.type == "link_open"]
    assert all(link.startswith(f"{BOARD}/") for link in links)
    first = next(token for token in tokens if token.type == "inline")
    assert "".join(part.content for part in first.children or ()) == words


@given(st.text())
def test_any_words_survive_escaping_as_they_are(words: str) -> None:
    assert "\n" not in plain(words)
    if shown := plain(words):
        assert_shows(f"**x{escaped(words)}**", f"x{shown}")


def test_the_link_can_not_leave_the_board() -> None:
    assert account_link(f"{BOARD}/", "../../admin?x#y z/é") == f"{BOARD}/accounts/..%2F..%2Fadmin%3Fx%23y%20z%2F%C3%A9"
    assert account_link(None, "acme") is None


# To receivers


@contextmanager
def inbox() -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """A server that takes what apprise's json:// sends."""
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


@pytest.mark.parametrize("name", HOSTILE)
def test_html_that_is_made_of_a_notice_holds_no_html_of_strangers(name: str) -> None:
    told = notice(fresh(alert(summary=f"{name} is poor", annotations={"account": name})), BOARD)
    with inbox() as (port, got):
        assert Receiver(1, f"json://127.0.0.1:{port}/?format=html").send(told, apprise.NotifyType.INFO) is None
    html = got[0]["message"]
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("<a ") == 1
    assert "evil.example" not in html.partition("<a ")[2]


def test_a_receiver_gets_text_or_markdown_as_it_shows() -> None:
    told = notice(fresh(alert()), BOARD)
    with inbox() as (port, got):
        for form in ("text", "markdown"):
            url = f"json://127.0.0.1:{port}/?format={form}"
            assert Receiver(1, url).send(told, apprise.NotifyType.WARNING) is None
    assert [one["message"].splitlines()[0] for one in got] == [told.text.splitlines()[0], told.markdown.splitlines()[0]]
    assert [(one["title"], one["type"]) for one in got] == [(told.title, "warning")] * 2


def test_why_a_message_failed_is_told_without_secrets() -> None:
    logged = io.StringIO()
    handler = logging.StreamHandler(logged)
    logging.getLogger().addHandler(handler)
    with inbox() as (port, _):
        url = f"json://robot:hunter2secret@127.0.0.1:{port}/fail/tok3nt0ken"
        why = Receiver(1, url).send(notice(fresh(alert()), None), apprise.NotifyType.INFO)
    logging.getLogger().removeHandler(handler)
    assert why is not None
    assert "500" in why
    for secret in ("hunter2secret", "tok3nt0ken"):
        assert secret not in why
        assert secret not in logged.getvalue()


def test_a_url_that_apprise_does_not_know_is_named_by_its_number_and_kind() -> None:
    with pytest.raises(ValueError, match=r"number 3 \(nosuch\)") as caught:
        Receiver(3, "nosuch://hunter2secret/")
    assert "hunter2secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["hunter2secret", "hunter2secret:x", "me:hunter2secret@host://x", "hunter2secret/x://"])
def test_what_is_no_url_is_not_told_for_it_may_be_part_of_a_secret(url: str) -> None:
    with pytest.raises(ValueError, match=r"number 2 \(no URL\)") as caught:
        Receiver(2, url)
    assert "hunter2secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "decoded"),
    [
        ("p%40ss%3Aword%21", "p@ss:word!"),
        ("hunter%32secret", "hunter2secret"),
        ("two+wo%20rds", "two wo rds"),
        ("caf%C3%A9secret", "cafésecret"),
        ("a%2Fb%2Fcdef", "a/b/cdef"),
    ],
)
def test_secrets_are_hidden_as_they_are_written_and_as_they_are_decoded(written: str, decoded: str) -> None:
    receiver = Receiver(1, f"json://robot:{written}@127.0.0.1:9/x?token={written}")
    assert receiver._clean(f"no login with {decoded} ({written})") == "no login with *** (***)"


class Place:
    """What a sink needs of a record."""

    def __init__(self, offset: int) -> None:
        self.partition, self.offset = 0, offset


def offered(sink: NotifySink, *alerts: Alert) -> list[bool]:
    book = OpenAlerts()
    found = []
    for at, one in enumerate(alerts):
        news = book.apply(one)
        found.append(news is not None and sink.offer(news, Place(at)))
    return found


def sink_of(*urls: str, severity: str = "info", segments: tuple[str, ...] = ()) -> NotifySink:
    receivers = [Receiver(at, url) for at, url in enumerate(urls, start=1)]
    how: dict[str, Any] = {"give_up_s": 0, "longest_pause_s": 0.1, "board_url": None}
    return NotifySink(receivers, SinkTelemetry("notify"), severity=severity, segments=segments, **how)


def test_people_get_what_is_severe_enough_and_of_their_segments() -> None:
    sink = sink_of("json://127.0.0.1:9/", severity="warning", segments=("enterprise",))
    other = {"score": "health", "segment": "small"}
    lane = alert(id="4", fingerprint="4", account_id="", rule="stalled:x", labels={})
    assert offered(
        sink,
        alert(id="1", fingerprint="1"),
        alert(id="2", fingerprint="2", severity="info"),
        alert(id="3", fingerprint="3", labels=other),
        lane,
        alert(id="5", fingerprint="1", acknowledged_at=5),
        alert(id="6", fingerprint="6", digest="storm"),
        alert(id="7", fingerprint="7", snoozed_until=5),
        alert(id="8", fingerprint="1", labels=other, status="resolved", ends_at=9),
    ) == [True, False, False, True, False, False, False, True]
    sink.stop()


def test_a_record_is_done_when_every_receiver_has_it_or_was_given_up() -> None:
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
    told = sink._telemetry
    assert (told.delivered._value.get(), told.failed._value.get(), told.dead_letters._value.get()) == (1, 1, 1)
