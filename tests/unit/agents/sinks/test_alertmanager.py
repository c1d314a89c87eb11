"""What Alertmanager is posted, and when: a made-up one answers as told, and time passes by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from agents.sinks.alertmanager import RESOLVED_FOR_S, AlertmanagerSink
from agents.sinks.http_post import PostError, Reply
from agents.sinks.metrics import SinkTelemetry
from schemas.outputs import Alert
from stream.consumers.notifications import OpenAlerts

NOW_MS = 1_700_000_000_000
MINUTE_MS = 60_000


def alert(account: str, begun_ms: int = NOW_MS, **more: Any) -> Alert:
    given = {
        "id": f"{account}-{begun_ms}-{sorted(more)}",
        "fingerprint": account,
        "account_id": account,
        "rule": "low",
        "severity": "warning",
        "status": "firing",
        "starts_at": begun_ms,
        "score": 30.0,
        "band": "poor",
        "summary": f"{account} is poor",
        "labels": {"account_id": account, "rule": "low", "severity": "warning", "band": "poor"},
        "annotations": {"reason": "nps -5.0", "owner": "csm", "actions": "call"},
    }
    return msgspec.convert({**given, **more}, type=Alert)


def over(account: str, begun_ms: int = NOW_MS, **more: Any) -> Alert:
    labels = {"account_id": account, "rule": "low", "severity": "warning", "band": "good"}
    return alert(account, begun_ms, status="resolved", ends_at=begun_ms + MINUTE_MS, labels=labels, **more)


class Play:
    """A sink, what it has posted, and an Alertmanager that answers with `status`, or not at all when it is 0."""

    def __init__(self) -> None:
        self.time_s = 0.0
        self.status = 200
        self.retry_after_s: float | None = None
        self.refuses = ""
        self.posts: list[list[dict[str, Any]]] = []
        self.telemetry = SinkTelemetry("alertmanager")
        self.book = OpenAlerts()
        self.sink = AlertmanagerSink(
            self._post,
            self.telemetry,
            resend_s=60,
            longest_pause_s=10,
            board_url="https://board.example/",
            clock_s=lambda: self.time_s,
            wall_ms=lambda: NOW_MS + 10 * MINUTE_MS + int(self.time_s * 1000),
        )

    def _post(self, body: bytes) -> Reply:
        if not self.status:
            raise PostError("nobody is there")
        alerts = json.loads(body)
        if self.status == 200 and self.refuses:
            bad = [one for one in alerts if one["labels"]["account_id"] == self.refuses]
            if bad:
                return Reply(400, None, "invalid")
        if self.status == 200:
            self.posts.append(alerts)
        return Reply(self.status, self.retry_after_s, "")

    def offer(self, *alerts: Alert) -> list[bool]:
        found = []
        for one in alerts:
            news = self.book.apply(one)
            found.append(news is not None and self.sink.offer(news, one.id))
        return found

    def recall(self, one: Alert, age_s: float = 0) -> None:
        news = self.book.apply(one)
        assert news is not None
        self.sink.recall(news, int(NOW_MS + 10 * MINUTE_MS - age_s * 1000))

    def step(self, seconds: float = 0) -> list[Any]:
        self.time_s += seconds
        return self.sink.step()

    def told(self, since: int = 0) -> list[tuple[str, str]]:
        """Account and status of all that was posted from a post on; Alertmanager goes by the end."""
        now = NOW_MS + 10 * MINUTE_MS + int(self.time_s * 1000)
        return [
            (one["labels"]["account_id"], "firing" if one["endsAt"] > iso(now) else "resolved")
            for post in self.posts[since:]
            for one in post
        ]


def iso(time_ms: int) -> str:
    seconds, milliseconds = divmod(time_ms - NOW_MS, 1000)
    minutes, seconds = divmod(13 * 60 + 20 + seconds, 60)
    return f"2023-11-14T22:{minutes:02}:{seconds:02}.{milliseconds:03}+00:00"


def flat(posts: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [one for post in posts for one in post]


def test_what_is_posted() -> None:
    play = Play()
    play.offer(alert("a/b"))
    assert play.step() == [alert("a/b").id]
    (one,) = play.posts[0]
    assert one == {
        "labels": {
            "alertname": "low",
            "account_id": "a/b",
            "rule": "low",
            "severity": "warning",
            "band": "poor",
        },
        "annotations": {"summary": "a/b is poor", "reason": "nps -5.0", "owner": "csm", "actions": "call"},
        "startsAt": "2023-11-14T22:13:20.000+00:00",
        "endsAt": "2023-11-14T22:27:20.000+00:00",  # ten minutes later by its clock, and four intervals
        "generatorURL": "https://board.example/accounts/a%2Fb",
    }


def test_a_resolve_goes_by_the_labels_the_firing_had_and_ends_in_the_past() -> None:
    play = Play()
    play.offer(alert("a"))
    play.step()
    play.offer(over("a", summary="better"))
    play.step(60)
    (one,) = play.posts[-1] if len(play.posts[-1]) == 1 else play.posts[-2]
    assert one["labels"] == play.posts[0][0]["labels"]
    assert (one["endsAt"], one["annotations"]["summary"]) == ("2023-11-14T22:14:20.000+00:00", "better")


def test_an_end_ahead_of_the_clock_is_now() -> None:
    play = Play()
    play.offer(alert("a", NOW_MS + 20 * MINUTE_MS), over("a", NOW_MS + 20 * MINUTE_MS))
    play.step()
    play.step(60)
    last = [one for one in flat(play.posts) if one["endsAt"] <= iso(NOW_MS + 11 * MINUTE_MS)]
    assert last
    assert all(one["startsAt"] <= one["endsAt"] for one in flat(play.posts))


def test_what_fires_is_posted_again_at_every_interval_until_it_resolves_and_then_for_a_while() -> None:
    play = Play()
    play.offer(alert("a"))
    play.step()
    told = len(flat(play.posts))
    for _ in range(3):
        play.step(59)
        play.step(1)
    assert len(flat(play.posts)) == told + 3
    play.offer(over("a"))
    play.step()
    assert play.told()[-1] == ("a", "resolved")
    posted = len(flat(play.posts))
    while play.time_s < RESOLVED_FOR_S + 600:
        play.step(60)
    more = play.told()[posted:]
    assert set(more) == {("a", "resolved")}
    assert 14 <= len(more) <= 16


def test_a_resolve_waits_until_its_firing_has_stood_for_an_interval() -> None:
    play = Play()
    play.offer(alert("a"), over("a"))
    assert play.step() == [alert("a").id]
    assert play.step(59) == []
    assert set(play.told()) == {("a", "firing")}
    assert play.step(1) == [over("a").id]
    assert ("a", "resolved") in play.told()


def test_flaps_go_out_in_order_and_only_the_last_end_waits() -> None:
    play = Play()
    later = NOW_MS + 2 * MINUTE_MS
    play.offer(alert("a"), over("a"), alert("a", later), over("a", later))
    assert play.step() == [alert("a").id, over("a").id, alert("a", later).id]
    assert [one["startsAt"] for one in play.posts[0]] == [iso(NOW_MS), iso(NOW_MS), iso(later)]
    assert play.step(60) == [over("a", later).id]


def test_nothing_is_lost_while_it_is_away_and_what_fires_is_told_anew_when_it_is_back() -> None:
    play = Play()
    play.offer(alert("a"), alert("b"))
    play.step()
    play.step(60)
    play.status = 0
    play.offer(over("a"), alert("c"), over("c"))
    for _ in range(30):
        assert play.step(10) == []
    assert play.telemetry.failed._value.get() > 10
    play.status, before = 200, len(play.posts)
    assert play.step(10) == [alert("c").id]
    assert sorted(set(play.told(before))) == [("a", "firing"), ("b", "firing"), ("c", "firing")]
    assert sorted(play.step(60)) == sorted([over("a").id, over("c").id])


def test_errors_of_a_server_are_tried_again_with_pauses() -> None:
    play = Play()
    play.status = 503
    play.offer(alert("a"))
    play.step()
    assert play.telemetry.failed._value.get() == 1
    play.step()
    assert play.telemetry.failed._value.get() == 1
    play.status = 200
    assert play.step(10) == [alert("a").id]


def test_a_longer_pause_than_ours_is_not_granted() -> None:
    """What fires ends four intervals after it was posted last: a wish for a day would end it for people."""
    play = Play()
    play.status, play.retry_after_s = 503, 86_400.0
    play.offer(alert("a"))
    play.step()
    play.status = 200
    assert play.step(10) == [alert("a").id]


def test_one_alert_that_is_refused_holds_up_no_other() -> None:
    play = Play()
    play.refuses = "bad"
    play.offer(alert("a"), alert("bad"), alert("b"))
    assert play.step() == [alert("a").id, alert("bad").id, alert("b").id]
    assert {account for account, _ in play.told()} == {"a", "b"}
    assert play.telemetry.dead_letters._value.get() == 1
    play.step(60)
    assert play.telemetry.dead_letters._value.get() == 1


def test_alerts_go_in_batches() -> None:
    play = Play()
    play.offer(*(alert(f"a{number}") for number in range(450)))
    assert len(play.step()) == 450
    assert [len(post) for post in play.posts[:3]] == [200, 200, 50]


def test_a_start_tells_what_was_open_before_and_resolves_that_are_fresh() -> None:
    play = Play()
    play.recall(alert("open"), age_s=10_000)
    for account, age_s in (("fresh", 100), ("old", RESOLVED_FOR_S + 1)):
        play.recall(alert(account), age_s=10_000)
        play.recall(over(account), age_s=age_s)
    play.step()
    assert sorted(set(play.told())) == [("fresh", "resolved"), ("open", "firing")]
    assert play.offer(over("open")) == [True]
    assert play.step() == [over("open").id]


def test_what_is_muted_is_not_told_and_what_was_told_keeps_its_state() -> None:
    play = Play()
    muted = alert("muted", snoozed_until=NOW_MS + 1)
    assert play.offer(muted, over("muted"), alert("told"), alert("told", acknowledged_at=1, acknowledged_by="ann")) == [
        False,
        False,
        True,
        True,
    ]
    play.step()
    assert {account for account, _ in play.told()} == {"told"}
    assert flat(play.posts)[-1]["annotations"]["acknowledged_by"] == "ann"


def test_lanes_are_one_alert_and_names_of_labels_are_made_valid() -> None:
    play = Play()
    labels = {"rule": "stalled:x", "source": "x", "partition": "3", "our-team": "csm", "empty": ""}
    play.offer(alert("", fingerprint="s", rule="stalled:x", labels=labels, score=None, band=None))
    play.step()
    (one,) = play.posts[0]
    assert one["labels"] == {"alertname": "stalled:x", "rule": "stalled:x", "source": "x", "our_team": "csm"}
    assert one["generatorURL"] == "https://board.example/"
