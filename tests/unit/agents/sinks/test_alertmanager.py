"""What is posted to Alertmanager, and when, with a simulated Alertmanager and a manual clock."""

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
    fields = {
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
    return msgspec.convert({**fields, **more}, type=Alert)


def resolved(account: str, begun_ms: int = NOW_MS, **more: Any) -> Alert:
    labels = {"account_id": account, "rule": "low", "severity": "warning", "band": "good"}
    return alert(account, begun_ms, status="resolved", ends_at=begun_ms + MINUTE_MS, labels=labels, **more)


class Bench:
    """A sink, its posts, and an Alertmanager that answers with `status`, or not at all when it is 0."""

    def __init__(self) -> None:
        self.time_s = 0.0
        self.status = 200
        self.retry_after_s: float | None = None
        self.invalid_account = ""
        self.posts: list[list[dict[str, Any]]] = []
        self.telemetry = SinkTelemetry("alertmanager")
        self.open_alerts = OpenAlerts()
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
            raise PostError("no answer")
        alerts = json.loads(body)
        if self.status == 200 and self.invalid_account:
            bad = [item for item in alerts if item["labels"]["account_id"] == self.invalid_account]
            if bad:
                return Reply(400, None, "invalid")
        if self.status == 200:
            self.posts.append(alerts)
        return Reply(self.status, self.retry_after_s, "")

    def offer(self, *alerts: Alert) -> list[bool]:
        accepted = []
        for offered in alerts:
            notification = self.open_alerts.apply(offered)
            accepted.append(notification is not None and self.sink.offer(notification, offered.id))
        return accepted

    def restore(self, before: Alert, age_s: float = 0) -> None:
        notification = self.open_alerts.apply(before)
        assert notification is not None
        self.sink.restore(notification, int(NOW_MS + 10 * MINUTE_MS - age_s * 1000))

    def step(self, seconds: float = 0) -> list[Any]:
        self.time_s += seconds
        return self.sink.step()

    def posted(self, since: int = 0) -> list[tuple[str, str]]:
        """Account and status of each alert in the posts from `since` on; the status follows from the end."""
        now = NOW_MS + 10 * MINUTE_MS + int(self.time_s * 1000)
        return [
            (item["labels"]["account_id"], "firing" if item["endsAt"] > iso(now) else "resolved")
            for post in self.posts[since:]
            for item in post
        ]


def iso(time_ms: int) -> str:
    seconds, milliseconds = divmod(time_ms - NOW_MS, 1000)
    minutes, seconds = divmod(13 * 60 + 20 + seconds, 60)
    return f"2023-11-14T22:{minutes:02}:{seconds:02}.{milliseconds:03}+00:00"


def flat(posts: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [item for post in posts for item in post]


def test_form_of_a_posted_alert() -> None:
    bench = Bench()
    bench.offer(alert("a/b"))
    assert bench.step() == [alert("a/b").id]
    (item,) = bench.posts[0]
    assert item == {
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


def test_a_resolve_has_the_labels_of_its_firing_and_an_end_in_the_past() -> None:
    bench = Bench()
    bench.offer(alert("a"))
    bench.step()
    bench.offer(resolved("a", summary="better"))
    bench.step(60)
    (item,) = bench.posts[-1] if len(bench.posts[-1]) == 1 else bench.posts[-2]
    assert item["labels"] == bench.posts[0][0]["labels"]
    assert (item["endsAt"], item["annotations"]["summary"]) == ("2023-11-14T22:14:20.000+00:00", "better")


def test_an_end_in_the_future_becomes_now() -> None:
    bench = Bench()
    bench.offer(alert("a", NOW_MS + 20 * MINUTE_MS), resolved("a", NOW_MS + 20 * MINUTE_MS))
    bench.step()
    bench.step(60)
    last = [item for item in flat(bench.posts) if item["endsAt"] <= iso(NOW_MS + 11 * MINUTE_MS)]
    assert last
    assert all(item["startsAt"] <= item["endsAt"] for item in flat(bench.posts))


def test_a_firing_alert_is_repeated_every_interval_and_its_resolve_for_a_while() -> None:
    bench = Bench()
    bench.offer(alert("a"))
    bench.step()
    count = len(flat(bench.posts))
    for _ in range(3):
        bench.step(59)
        bench.step(1)
    assert len(flat(bench.posts)) == count + 3
    bench.offer(resolved("a"))
    bench.step()
    assert bench.posted()[-1] == ("a", "resolved")
    count = len(flat(bench.posts))
    while bench.time_s < RESOLVED_FOR_S + 600:
        bench.step(60)
    more = bench.posted()[count:]
    assert set(more) == {("a", "resolved")}
    assert 14 <= len(more) <= 16


def test_a_resolve_waits_until_its_firing_was_posted_for_an_interval() -> None:
    bench = Bench()
    bench.offer(alert("a"), resolved("a"))
    assert bench.step() == [alert("a").id]
    assert bench.step(59) == []
    assert set(bench.posted()) == {("a", "firing")}
    assert bench.step(1) == [resolved("a").id]
    assert ("a", "resolved") in bench.posted()


def worsens(account: str) -> tuple[Alert, Alert]:
    """The records of an alert that worsens, as a worker publishes them: the worse one fires, the better one ends."""
    more = {"fingerprint": f"{account}-bad", "rule": "bad", "summary": f"{account} is bad"}
    worse = alert(account, NOW_MS + MINUTE_MS, worsened_from="low", **more)
    return worse, resolved(account, worsened_to="bad", summary=f"{account} worsened")


def test_a_worse_alert_fires_before_the_better_one_resolves() -> None:
    bench = Bench()
    accounts = [f"a{number:03}" for number in range(150)]
    bench.offer(*map(alert, accounts))
    bench.step()
    bench.step(60)
    first = len(bench.posts)
    for account in accounts:
        bench.offer(alert(account, acknowledged_at=NOW_MS + 1), *worsens(account))
    bench.step()
    summaries = [[item["annotations"]["summary"] for item in post] for post in bench.posts[first:]]
    for account in accounts:
        assert position_of(f"{account} is bad", summaries) < position_of(f"{account} worsened", summaries)


def position_of(summary: str, posts: list[list[str]]) -> int:
    """The number of the first post with an alert of that summary."""
    return next(number for number, post in enumerate(posts) if summary in post)


def test_flaps_are_posted_in_order_and_only_the_last_resolve_waits() -> None:
    bench = Bench()
    later = NOW_MS + 2 * MINUTE_MS
    bench.offer(alert("a"), resolved("a"), alert("a", later), resolved("a", later))
    assert bench.step() == [alert("a").id, resolved("a").id, alert("a", later).id]
    assert [item["startsAt"] for item in bench.posts[0]] == [iso(NOW_MS), iso(NOW_MS), iso(later)]
    assert bench.step(60) == [resolved("a", later).id]


def test_nothing_is_lost_in_an_outage_and_firing_alerts_are_posted_anew_after_it() -> None:
    bench = Bench()
    bench.offer(alert("a"), alert("b"))
    bench.step()
    bench.step(60)
    bench.status = 0
    bench.offer(resolved("a"), alert("c"), resolved("c"))
    for _ in range(30):
        assert bench.step(10) == []
    assert bench.telemetry.failed._value.get() > 10
    bench.status, before = 200, len(bench.posts)
    assert bench.step(10) == [alert("c").id]
    assert sorted(set(bench.posted(before))) == [("a", "firing"), ("b", "firing"), ("c", "firing")]
    assert sorted(bench.step(60)) == sorted([resolved("a").id, resolved("c").id])


def test_server_errors_are_retried_after_a_pause() -> None:
    bench = Bench()
    bench.status = 503
    bench.offer(alert("a"))
    bench.step()
    assert bench.telemetry.failed._value.get() == 1
    bench.step()
    assert bench.telemetry.failed._value.get() == 1
    bench.status = 200
    assert bench.step(10) == [alert("a").id]


def test_retry_after_is_capped_at_the_longest_pause() -> None:
    """A firing alert resolves four intervals after its last post: a pause of a day would resolve it for people."""
    bench = Bench()
    bench.status, bench.retry_after_s = 503, 86_400.0
    bench.offer(alert("a"))
    bench.step()
    bench.status = 200
    assert bench.step(10) == [alert("a").id]


def test_a_rejected_alert_does_not_block_others() -> None:
    bench = Bench()
    bench.invalid_account = "bad"
    bench.offer(alert("a"), alert("bad"), alert("b"))
    assert bench.step() == [alert("a").id, alert("bad").id, alert("b").id]
    assert {account for account, _ in bench.posted()} == {"a", "b"}
    assert bench.telemetry.dead_letters._value.get() == 1
    bench.step(60)
    assert bench.telemetry.dead_letters._value.get() == 1


def test_alerts_are_posted_in_batches() -> None:
    bench = Bench()
    bench.offer(*(alert(f"a{number}") for number in range(450)))
    assert len(bench.step()) == 450
    assert [len(post) for post in bench.posts[:3]] == [200, 200, 50]


def test_a_start_repeats_open_alerts_and_recent_resolves() -> None:
    bench = Bench()
    bench.restore(alert("open"), age_s=10_000)
    for account, age_s in (("fresh", 100), ("old", RESOLVED_FOR_S + 1)):
        bench.restore(alert(account), age_s=10_000)
        bench.restore(resolved(account), age_s=age_s)
    bench.step()
    assert sorted(set(bench.posted())) == [("fresh", "resolved"), ("open", "firing")]
    assert bench.offer(resolved("open")) == [True]
    assert bench.step() == [resolved("open").id]


def test_a_muted_alert_is_not_posted_and_an_active_one_is_updated() -> None:
    bench = Bench()
    muted = alert("muted", snoozed_until=NOW_MS + 1)
    assert bench.offer(
        muted, resolved("muted"), alert("active"), alert("active", acknowledged_at=1, acknowledged_by="ann")
    ) == [
        False,
        False,
        True,
        True,
    ]
    bench.step()
    assert {account for account, _ in bench.posted()} == {"active"}
    assert flat(bench.posts)[-1]["annotations"]["acknowledged_by"] == "ann"


def test_the_partition_label_is_left_out_and_label_names_are_made_valid() -> None:
    bench = Bench()
    labels = {"rule": "stalled:x", "source": "x", "partition": "3", "our-team": "csm", "empty": ""}
    bench.offer(alert("", fingerprint="s", rule="stalled:x", labels=labels, score=None, band=None))
    bench.step()
    (item,) = bench.posts[0]
    assert item["labels"] == {"alertname": "stalled:x", "rule": "stalled:x", "source": "x", "our_team": "csm"}
    assert item["generatorURL"] == "https://board.example/"
