"""Notifications of `health.alerts`: each record gives one of the right kind, once, in order."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.outputs import Alert
from stream.alerts.messages import fingerprint
from stream.consumers.notifications import Notification, OpenAlerts


def alert(identity: str, begun: int = 100, **more: Any) -> Alert:
    fields = {
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
    return msgspec.convert({**fields, "id": identity, "starts_at": begun, **more}, type=Alert)


def resolved(identity: str, begun: int = 100, ended: int = 200, **more: Any) -> Alert:
    return alert(identity, begun, status="resolved", ends_at=ended, **more)


def operational(identity: str, partition: str, *, status: str = "firing", begun: int = 100) -> Alert:
    labels = {"rule": "stalled:billing", "source": "billing", "partition": partition}
    return alert(identity, begun, fingerprint="s1", account_id="", rule="stalled:billing", status=status, labels=labels)


def notifications(*alerts: Alert) -> list[tuple[str, str, bool] | None]:
    """Kind, id and whether it is quiet, of the notification of each record."""
    open_alerts = OpenAlerts()
    return [
        notification and (notification.kind, notification.alert.id, notification.quiet)
        for notification in map(open_alerts.apply, alerts)
    ]


def test_an_episode_fires_once_and_resolves_once() -> None:
    assert notifications(alert("f"), resolved("r")) == [("firing", "f", False), ("resolved", "r", False)]


def test_repeated_records_are_dropped_by_id() -> None:
    assert notifications(alert("f"), alert("f"), resolved("r"), alert("f"), resolved("r")) == [
        ("firing", "f", False),
        None,
        ("resolved", "r", False),
        None,
        None,
    ]


def test_oldest_ids_are_forgotten() -> None:
    open_alerts = OpenAlerts(remembered=2)
    for identity in ("a", "b", "c"):
        open_alerts.apply(alert(identity, fingerprint=identity))
    assert open_alerts.apply(alert("c", fingerprint="c")) is None
    assert len(open_alerts) == 3
    assert open_alerts.apply(resolved("end", fingerprint="a")) is not None
    assert len(open_alerts) == 2


def test_resolving_an_ended_episode_again_is_dropped_even_with_another_id() -> None:
    assert notifications(alert("f"), resolved("r"), resolved("again"))[2] is None
    assert notifications(alert("f"), resolved("r"), alert("g", 300), resolved("again"), resolved("s", 300))[3:] == [
        None,
        ("resolved", "s", False),
    ]


def test_resolved_record_without_its_firing_record_notifies() -> None:
    assert notifications(resolved("r")) == [("resolved", "r", False)]


def test_firing_again_with_another_start_is_another_episode() -> None:
    assert notifications(alert("f", 100), alert("g", 300), resolved("r", 300)) == [
        ("firing", "f", False),
        ("firing", "g", False),
        ("resolved", "r", False),
    ]


def test_acknowledgement_is_quiet() -> None:
    known = alert("a", acknowledged_at=150, acknowledged_by="ann")
    assert notifications(alert("f"), known, resolved("r")) == [
        ("firing", "f", False),
        ("acknowledged", "a", True),
        ("resolved", "r", False),
    ]


def test_snooze_is_quiet_and_its_end_reminds() -> None:
    assert notifications(alert("f"), alert("s", snoozed_until=500), alert("b"), resolved("r")) == [
        ("firing", "f", False),
        ("snoozed", "s", True),
        ("reminded", "b", False),
        ("resolved", "r", False),
    ]


def test_end_of_a_snooze_is_quiet_for_an_acknowledged_alert() -> None:
    records = [alert("f"), alert("s", snoozed_until=500, acknowledged_at=150), alert("b", acknowledged_at=150)]
    assert notifications(*records)[1:] == [("snoozed", "s", True), ("reminded", "b", True)]


def test_episode_snoozed_throughout_resolves_quietly() -> None:
    assert notifications(alert("s", snoozed_until=500), resolved("r")) == [
        ("snoozed", "s", True),
        ("resolved", "r", True),
    ]


def test_episode_that_began_snoozed_reminds_when_the_snooze_ends() -> None:
    assert notifications(alert("s", snoozed_until=500), alert("b"), resolved("r")) == [
        ("snoozed", "s", True),
        ("reminded", "b", False),
        ("resolved", "r", False),
    ]


def test_members_of_a_digest_give_no_notification() -> None:
    assert (
        notifications(alert("f", digest="d"), alert("a", digest="d", acknowledged_at=1), resolved("r", digest="d"))
        == [None] * 3
    )
    assert notifications(alert("f", digest="d"), resolved("r")) == [None, None]


def test_alert_notified_before_a_storm_resolves_even_as_a_member_of_the_digest() -> None:
    assert notifications(alert("f"), resolved("r", digest="d")) == [("firing", "f", False), ("resolved", "r", False)]


def test_alert_that_leaves_a_digest_fires() -> None:
    assert notifications(alert("f", digest="d"), alert("g"), resolved("r")) == [
        None,
        ("firing", "g", False),
        ("resolved", "r", False),
    ]


def test_operational_alert_is_open_while_any_partition_publishes_it_as_open() -> None:
    records = [
        operational("f0", "0"),
        operational("f1", "1"),
        operational("r0", "0", status="resolved"),
        operational("g0", "0", begun=300),
        operational("r1", "1", status="resolved"),
        operational("s0", "0", status="resolved", begun=300),
    ]
    assert notifications(*records) == [("firing", "f0", False), None, None, None, None, ("resolved", "s0", False)]


def test_notification_carries_the_record_that_opened_the_episode() -> None:
    open_alerts = OpenAlerts()
    open_alerts.apply(alert("f"))
    notification = open_alerts.apply(resolved("r", labels={"account_id": "acme", "rule": "low", "band": "good"}))
    assert isinstance(notification, Notification)
    assert (notification.alert.labels["band"], notification.opened.labels["band"]) == ("good", "poor")


WORSE: dict[str, Any] = {"rule": "band:h:worse", "fingerprint": fingerprint("acme", "band:h:worse"), "begun": 200}


def replaced_by(*worse: Alert) -> bool:
    """Whether the end of an alert that worsens, after records of the worse one, has that one in its place."""
    open_alerts = OpenAlerts()
    for record in (alert("f"), *worse):
        open_alerts.apply(record)
    ended = open_alerts.apply(resolved("r", worsened_to=WORSE["rule"]))
    assert ended is not None
    assert ended.worsened
    return ended.replaced


def test_a_worse_alert_takes_the_place_of_one_if_it_was_passed_on() -> None:
    assert replaced_by(alert("w", **WORSE))
    assert replaced_by(alert("w", snoozed_until=900, **WORSE))
    assert not replaced_by(alert("w", digest="storm", **WORSE)), "the storm was passed on instead"
    assert not replaced_by()
    assert not replaced_by(alert("w", account_id="other", **WORSE | {"fingerprint": "f2"}))
    before, after = OpenAlerts().apply(alert("f")), OpenAlerts().apply(resolved("r"))
    assert before is not None
    assert after is not None
    assert not before.replaced | after.replaced


def test_open_alerts_count_only_episodes_that_people_were_notified_of() -> None:
    open_alerts = OpenAlerts()
    open_alerts.apply(alert("1", fingerprint="notified"))
    open_alerts.apply(alert("2", fingerprint="member", digest="notified"))
    open_alerts.apply(alert("3", fingerprint="muted", snoozed_until=9))
    assert len(open_alerts) == 1
    open_alerts.apply(resolved("4", fingerprint="notified"))
    assert len(open_alerts) == 0
