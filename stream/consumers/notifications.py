"""What the records of `health.alerts` mean to somebody who passes them on: which are news, and of what kind.

Owns the open episodes as a reader of the topic knows them. Repeats (by `id`) are dropped, members of a digest are left
out, and an operational alert that several lanes tell is one: it is open while any lane's is. What a record means
depends on the records before it alone, never on whether something was delivered or on a clock, so that reading the
topic again gives the same answers. Must not know sinks. Called by `agents.sinks`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from schemas.outputs import Alert

REMEMBERED = 100_000
"""Latest ids, and latest ended episodes, that are known; a worker that crashed repeats what it said shortly before."""

Kind = Literal["firing", "reminded", "acknowledged", "snoozed", "resolved"]
"""`reminded`: a snooze has ended, or a muted episode speaks for the first time; its alert is open."""

PARTITION_LABEL = "partition"
"""The label in which the records of several lanes of one operational alert differ."""


class Notification(NamedTuple):
    """A record that says something new.

    `opened` is the first record of the episode as it was told: its labels name the episode until the end, since a band
    may be another one by then. `quiet`: no person is to be told, because the episode is or was muted throughout.
    """

    kind: Kind
    alert: Alert
    opened: Alert
    quiet: bool


@dataclass(slots=True)
class Episode:
    """An open alert: the latest record of each lane, the first of all, and whether people were told of it."""

    opened: Alert
    tasks: dict[str, Alert] = field(default_factory=dict)
    told: bool = False


class _Latest:
    """The latest so many keys."""

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
    """The open episodes after the records taken so far."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        """Nothing is open. `remembered` bounds the ids and ended episodes that are known again."""
        self._open: dict[str, Episode] = {}
        self._ids = _Latest(remembered)
        self._ended = _Latest(remembered)

    def __len__(self) -> int:
        """How many episodes are open that people were told of."""
        return sum(episode.told for episode in self._open.values())

    def take(self, alert: Alert) -> Notification | None:
        """What the next record of the topic says, or None when it says nothing new."""
        if alert.id in self._ids:
            return None
        self._ids.add(alert.id)
        return self._fires(alert) if alert.status == "firing" else self._resolves(alert)

    def _fires(self, alert: Alert) -> Notification | None:
        task = alert.labels.get(PARTITION_LABEL, "")
        episode = self._open.get(alert.fingerprint)
        if episode is None:
            episode = self._open[alert.fingerprint] = Episode(alert)
        before = episode.tasks.get(task)
        if before is not None and before.starts_at != alert.starts_at and len(episode.tasks) == 1:
            # Its end was never said: the episode is another one, of which people are to hear.
            episode = self._open[alert.fingerprint] = Episode(alert)
            before = None
        episode.tasks[task] = alert
        if alert.digest is not None and not episode.told:
            return None
        if not episode.told:
            if alert.snoozed_until is not None:
                return Notification("snoozed", alert, episode.opened, quiet=True)
            muted = before is not None and before.digest is None
            episode.told, episode.opened = True, alert
            return Notification("reminded" if muted else "firing", alert, alert, quiet=False)
        return None if before is None else _turned(before, alert, episode)

    def _resolves(self, alert: Alert) -> Notification | None:
        task, key = alert.labels.get(PARTITION_LABEL, ""), alert.fingerprint
        episode = self._open.get(key)
        mine = episode.tasks.get(task) if episode else None
        if (mine is None or mine.starts_at != alert.starts_at) and (key, task, alert.starts_at) in self._ended:
            return None
        self._ended.add((key, task, alert.starts_at))
        if episode is None:
            # Its beginning is older than what the topic keeps.
            return None if alert.digest else Notification("resolved", alert, alert, quiet=False)
        episode.tasks.pop(task, None)
        if episode.tasks:
            return None
        del self._open[key]
        if not episode.told and episode.opened.digest is not None:
            return None
        return Notification("resolved", alert, episode.opened, quiet=not episode.told)


def _turned(before: Alert, alert: Alert, episode: Episode) -> Notification | None:
    """What a record of an open episode of which people know adds to the one before it."""
    if alert.snoozed_until is not None:
        new = alert.snoozed_until != before.snoozed_until
        return Notification("snoozed", alert, episode.opened, quiet=True) if new else None
    if before.snoozed_until is not None:
        return Notification("reminded", alert, episode.opened, quiet=alert.acknowledged_at is not None)
    if alert.acknowledged_at != before.acknowledged_at:
        return Notification("acknowledged", alert, episode.opened, quiet=True)
    return None
