"""Notifications: which records of `health.alerts` to pass on, and as what.

Owns the open episodes as a reader of the topic knows them. Records with a repeated `id` are dropped, members of a
digest are left out, and operational alerts that several partitions publish are merged: one is open while any
partition's is. The result depends on the records before alone, never on deliveries or on a clock, so reading the topic
again gives the same notifications. Knows no sink. Called by `agents.sinks.alert_consumer`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from schemas.outputs import Alert
from stream.alerts.messages import fingerprint

REMEMBERED = 100_000
"""How many of the latest ids, and of the latest ended episodes, are known. A worker that crashed repeats the latest."""

Kind = Literal["firing", "reminded", "acknowledged", "snoozed", "resolved"]
"""`reminded`: a snooze has ended, or a muted episode is passed on for the first time; its alert is open."""

PARTITION_LABEL = "partition"
"""The label in which the records of one operational alert differ by partition."""


class Notification(NamedTuple):
    """A record with something new in it.

    `opened` is the first record of the episode that was passed on: its labels name the episode until the end, since the
    account's band may have changed by then. `quiet` notifications are not for people: the episode is, or was, muted
    throughout. `replaced`: the alert ended because one of a worse band fires, and that one was passed on.
    """

    kind: Kind
    alert: Alert
    opened: Alert
    quiet: bool
    replaced: bool = False

    @property
    def worsened(self) -> bool:
        """Whether the alert ended because one of a worse band fires: people are notified of that one."""
        return self.kind == "resolved" and self.alert.worsened_to is not None


@dataclass(slots=True)
class _Episode:
    """An open alert: the first record of it, the latest of each partition, and whether people were notified."""

    opened: Alert
    latest: dict[str, Alert] = field(default_factory=dict)
    notified: bool = False


class _RecentKeys:
    """The latest keys, `size` at most."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._keys: OrderedDict[Hashable, None] = OrderedDict()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._keys

    def add(self, key: Hashable) -> None:
        self._keys[key] = None
        self._keys.move_to_end(key)
        if len(self._keys) > self._size:
            self._keys.popitem(last=False)


class OpenAlerts:
    """The open episodes after the records applied so far."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        """Nothing is open. `remembered` is how many of the latest ids and ended episodes are known."""
        self._open: dict[str, _Episode] = {}
        self._ids = _RecentKeys(remembered)
        self._ended = _RecentKeys(remembered)

    def __len__(self) -> int:
        """How many episodes are open of which people were notified."""
        return sum(episode.notified for episode in self._open.values())

    def apply(self, alert: Alert) -> Notification | None:
        """Apply the next record of the topic; returns its notification, or None when nothing in it is new."""
        if alert.id in self._ids:
            return None
        self._ids.add(alert.id)
        return self._fire(alert) if alert.status == "firing" else self._resolve(alert)

    def _fire(self, alert: Alert) -> Notification | None:
        partition = alert.labels.get(PARTITION_LABEL, "")
        episode = self._open.get(alert.fingerprint)
        if episode is None:
            episode = self._open[alert.fingerprint] = _Episode(alert)
        before = episode.latest.get(partition)
        if before is not None and before.starts_at != alert.starts_at and len(episode.latest) == 1:
            # The end of the episode before was never published: this is another one, and people are to be notified.
            episode = self._open[alert.fingerprint] = _Episode(alert)
            before = None
        episode.latest[partition] = alert
        if alert.digest is not None and not episode.notified:
            return None
        if not episode.notified:
            if alert.snoozed_until is not None:
                return Notification("snoozed", alert, episode.opened, quiet=True)
            muted = before is not None and before.digest is None
            episode.notified, episode.opened = True, alert
            return Notification("reminded" if muted else "firing", alert, alert, quiet=False)
        return None if before is None else _update(before, alert, episode)

    def _resolve(self, alert: Alert) -> Notification | None:
        partition, key = alert.labels.get(PARTITION_LABEL, ""), alert.fingerprint
        episode = self._open.get(key)
        latest = episode.latest.get(partition) if episode else None
        ended_before = (key, partition, alert.starts_at) in self._ended
        if (latest is None or latest.starts_at != alert.starts_at) and ended_before:
            return None
        self._ended.add((key, partition, alert.starts_at))
        if episode is None:
            # The episode began before what the topic keeps.
            return None if alert.digest else Notification("resolved", alert, alert, quiet=False)
        episode.latest.pop(partition, None)
        if episode.latest:
            return None
        del self._open[key]
        if not episode.notified and episode.opened.digest is not None:
            return None
        return Notification(
            "resolved", alert, episode.opened, quiet=not episode.notified, replaced=self._is_worse_passed_on(alert)
        )

    def _is_worse_passed_on(self, alert: Alert) -> bool:
        """Whether the alert of the worse band is open and no mere member of a digest. It is published before."""
        worse = self._open.get(fingerprint(alert.account_id, alert.worsened_to)) if alert.worsened_to else None
        return worse is not None and (worse.notified or worse.opened.digest is None)


def _update(before: Alert, alert: Alert, episode: _Episode) -> Notification | None:
    """What a record adds to the one before it, of an open episode of which people were notified."""
    if alert.snoozed_until is not None:
        new = alert.snoozed_until != before.snoozed_until
        return Notification("snoozed", alert, episode.opened, quiet=True) if new else None
    if before.snoozed_until is not None:
        return Notification("reminded", alert, episode.opened, quiet=alert.acknowledged_at is not None)
    if alert.acknowledged_at != before.acknowledged_at:
        return Notification("acknowledged", alert, episode.opened, quiet=True)
    return None
