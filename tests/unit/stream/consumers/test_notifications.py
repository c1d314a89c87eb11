"""What records of `health.alerts` mean to those who pass them on: news of which kind, told once, in order."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.outputs import Alert
from stream.consumers.notifications import Notification, OpenAlerts


def alert(identity: str, begun: int = 100, **more: Any) -> Alert:
    given = {
        "fingerprint": "f1",
        "account_id": "acme",
        "rule": "low",
        "severity": "warning",
        "status": "firing",
        "score": 30.0,
        "band": "poor",
        "summary": "acme is poor",
        "labels": {"account_id": "acme", "rule": "low", "band": "poor"},
        "annotations": {},
    }
    return msgspec.convert({**given, "id": identity, "starts_at": begun, **more}, type=Alert)


def over(identity: str, begun: int = 100, ended: int = 200, **more: Any) -> Alert:
    return alert(identity, begun, status="resolved", ends_at=ended, **more)


def task(identity: str, partition: str, *, status: str = "firing", begun: int = 100) -> Alert:
    labels = {"rule": "stalled:billing", "source": "billing", "partition": partition}
    return alert(identity, begun, fingerprint="s1", account_id="", rule="stalled:billing", status=status, labels=labels)


def taken(*alerts: Alert) -> list[tuple[str, str, bool] | None]:
    """Kind, id and whether it is quiet, for each record."""
    namespace = OpenAlerts()
    return [news and (news.kind, news.alert.id, news.quiet) for news in map(namespace.take, alerts)]


def test_an_episode_fires_once_and_resolves_once() -> None:
    assert taken(alert("f"), over("r")) == [("firing", "f", False), ("resolved", "r", False)]


def test_repeats_are_dropped_by_their_id() -> None:
    assert taken(alert("f"), alert("f"), over("r"), alert("f"), over("r")) == [
        ("firing", "f", False),
        None,
        ("resolved", "r", False),
        None,
        None,
    ]


def test_only_so_many_ids_are_remembered() -> None:
    namespace = OpenAlerts(remembered=2)
    for identity in ("a", "b", "c"):
        namespace.take(alert(identity, fingerprint=identity))
    assert namespace.take(alert("c", fingerprint="c")) is None
    assert len(namespace) == 3
    assert namespace.take(over("end", fingerprint="a")) is not None
    assert len(namespace) == 2


def test_a_resolve_of_what_has_ended_says_nothing_new_even_by_another_id() -> None:
    assert taken(alert("f"), over("r"), over("again"))[2] is None
    assert taken(alert("f"), over("r"), alert("g", 300), over("again"), over("s", 300))[3:] == [
        None,
        ("resolved", "s", False),
    ]


def test_a_resolve_whose_firing_is_not_kept_any_more_is_told() -> None:
    assert taken(over("r")) == [("resolved", "r", False)]


def test_a_firing_after_a_firing_is_another_episode() -> None:
    assert taken(alert("f", 100), alert("g", 300), over("r", 300)) == [
        ("firing", "f", False),
        ("firing", "g", False),
        ("resolved", "r", False),
    ]


def test_an_acknowledgement_is_told_to_no_person() -> None:
    known = alert("a", acknowledged_at=150, acknowledged_by="ann")
    assert taken(alert("f"), known, over("r")) == [
        ("firing", "f", False),
        ("acknowledged", "a", True),
        ("resolved", "r", False),
    ]


def test_a_snooze_is_quiet_and_its_end_reminds() -> None:
    assert taken(alert("f"), alert("s", snoozed_until=500), alert("b"), over("r")) == [
        ("firing", "f", False),
        ("snoozed", "s", True),
        ("reminded", "b", False),
        ("resolved", "r", False),
    ]


def test_the_end_of_a_snooze_does_not_remind_of_what_is_acknowledged() -> None:
    records = [alert("f"), alert("s", snoozed_until=500, acknowledged_at=150), alert("b", acknowledged_at=150)]
    assert taken(*records)[1:] == [("snoozed", "s", True), ("reminded", "b", True)]


def test_an_episode_that_is_muted_from_beginning_to_end_is_told_to_no_person() -> None:
    assert taken(alert("s", snoozed_until=500), over("r")) == [("snoozed", "s", True), ("resolved", "r", True)]


def test_an_episode_that_began_muted_is_told_when_the_snooze_ends() -> None:
    assert taken(alert("s", snoozed_until=500), alert("b"), over("r")) == [
        ("snoozed", "s", True),
        ("reminded", "b", False),
        ("resolved", "r", False),
    ]


def test_members_of_a_digest_are_left_out() -> None:
    assert taken(alert("f", digest="d"), alert("a", digest="d", acknowledged_at=1), over("r", digest="d")) == [None] * 3
    assert taken(alert("f", digest="d"), over("r")) == [None, None]


def test_what_was_told_before_the_storm_is_resolved_even_by_a_record_of_the_digest() -> None:
    assert taken(alert("f"), over("r", digest="d")) == [("firing", "f", False), ("resolved", "r", False)]


def test_a_member_of_a_digest_that_leaves_it_is_told() -> None:
    assert taken(alert("f", digest="d"), alert("g"), over("r")) == [
        None,
        ("firing", "g", False),
        ("resolved", "r", False),
    ]


def test_an_operational_alert_is_open_while_any_lane_tells_it() -> None:
    records = [
        task("f0", "0"),
        task("f1", "1"),
        task("r0", "0", status="resolved"),
        task("g0", "0", begun=300),
        task("r1", "1", status="resolved"),
        task("s0", "0", status="resolved", begun=300),
    ]
    assert taken(*records) == [("firing", "f0", False), None, None, None, None, ("resolved", "s0", False)]


def test_news_carry_the_record_that_named_the_episode() -> None:
    namespace = OpenAlerts()
    namespace.take(alert("f"))
    news = namespace.take(over("r", labels={"account_id": "acme", "rule": "low", "band": "good"}))
    assert isinstance(news, Notification)
    assert (news.alert.labels["band"], news.opened.labels["band"]) == ("good", "poor")


def test_open_alerts_are_those_people_know_of() -> None:
    namespace = OpenAlerts()
    namespace.take(alert("1", fingerprint="told"))
    namespace.take(alert("2", fingerprint="member", digest="told"))
    namespace.take(alert("3", fingerprint="muted", snoozed_until=9))
    assert len(namespace) == 1
