"""Open and past alerts of all accounts.

Owns the latest record of each episode in `health.alerts`, and those before it that say how it came there: the first,
and the first after an acknowledgement. So the past is shown as it was published then. A fingerprint has at most one
open episode; for operational alerts, a fingerprint and partition. Pure. Called by `agents.board.state.state`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from agents.board.views.types import AlertState
from schemas.outputs import Alert

PAST_OF_ACCOUNT = 50
FEWEST_PAST = 5
PAST_OF_ALL = 30_000
"""Limit of past episodes in memory, about 3 kB each. Each account keeps `FEWEST_PAST` even above it."""
LATEST = 500
"""The list of all past alerts has this many, the latest."""
_WORST_FIRST = {"critical": 0, "warning": 1, "info": 2}

EpisodeKey = tuple[str, str]
"""Fingerprint and, of operational alerts, the partition."""


def state_of(alert: Alert) -> AlertState:
    """The state of an alert, from its latest record."""
    if alert.status == "resolved":
        return "resolved" if alert.worsened_to is None else "worsened"
    if alert.snoozed_until is not None:
        return "snoozed"
    return "firing" if alert.acknowledged_at is None else "acknowledged"


def urgency(alert: Alert) -> tuple[int, int]:
    """Sort key: worst severity first, then newest."""
    return _WORST_FIRST.get(alert.severity, len(_WORST_FIRST)), -alert.starts_at


def key_of(alert: Alert) -> EpisodeKey:
    """The key of an episode while it is open."""
    return alert.fingerprint, "" if alert.account_id else alert.labels.get("partition", "")


class Episodes:
    """Open and past episodes. Memory: all open ones, 5 to 50 past ones an account, and the latest 500 past ones."""

    def __init__(self) -> None:
        """Empty."""
        self._open: dict[str, dict[EpisodeKey, Alert]] = {}
        self._past: dict[str, deque[Alert]] = {}
        self._latest: deque[Alert] = deque(maxlen=LATEST)
        self._earlier: dict[str, dict[tuple[EpisodeKey, int], list[Alert]]] = {}
        """Of each account the records before the latest of each episode (its key and start) that `records_of` has."""

    def add(self, alert: Alert) -> bool:
        """Apply a record and return whether it changes anything. A repeat of a past episode has the same start."""
        key, account = key_of(alert), alert.account_id
        past = self._past.get(account, ())
        if any(key_of(episode) == key and episode.starts_at == alert.starts_at for episode in past):
            return False
        opened = self._open.setdefault(account, {})
        if alert.status == "firing":
            before = opened.get(key)
            opened[key] = alert
            self._keep(key, before, alert)
            return before is None or before.id != alert.id
        self._keep(key, opened.pop(key, None), alert)
        if not opened:
            del self._open[account]
        episodes = self._past.setdefault(account, deque())
        episodes.append(alert)
        limit = min(max(PAST_OF_ALL // len(self._past), FEWEST_PAST), PAST_OF_ACCOUNT)
        while len(episodes) > limit:
            gone = episodes.popleft()
            self._forget(gone.account_id, (key_of(gone), gone.starts_at))
        if alert.worsened_to is None:  # an alert of a worse band has taken its place, and nothing is resolved
            self._latest.append(alert)
        return True

    def _keep(self, key: EpisodeKey, before: Alert | None, alert: Alert) -> None:
        """Keep the record before `alert` if it is of the same episode and the first of its kind."""
        if before is None:
            return
        if before.starts_at != alert.starts_at:
            self._forget(before.account_id, (key, before.starts_at))  # its end was never published
            return
        records = self._earlier.setdefault(alert.account_id, {}).setdefault((key, alert.starts_at), [])
        if not records or (before.acknowledged_at is not None and records[-1].acknowledged_at is None):
            records.append(before)

    def _forget(self, account: str, episode: tuple[EpisodeKey, int]) -> None:
        episodes = self._earlier.get(account, {})
        episodes.pop(episode, None)
        if not episodes:
            self._earlier.pop(account, None)

    def records_of(self, alert: Alert) -> list[Alert]:
        """The records of an episode of which `alert` is the latest: the first, the first acknowledged, the latest."""
        return [*self._earlier.get(alert.account_id, {}).get((key_of(alert), alert.starts_at), ()), alert]

    def accounts(self) -> set[str]:
        """Accounts with an episode; "" stands for the operational alerts."""
        return {*self._open, *self._past}

    def drop(self, account: str) -> None:
        """Drop everything of an account."""
        self._open.pop(account, None)
        self._earlier.pop(account, None)
        if self._past.pop(account, None) is not None:
            others = [alert for alert in self._latest if alert.account_id != account]
            self._latest = deque(others, maxlen=LATEST)

    def open_of(self, account: str) -> list[Alert]:
        """Open alerts of an account, worst first; for "", the operational alerts."""
        return sorted(self._open.get(account, {}).values(), key=urgency)

    def past_of(self, account: str) -> list[Alert]:
        """Past alerts of an account, newest first."""
        return list(reversed(self._past.get(account, ())))

    def find(self, account: str, rule: str) -> Alert | None:
        """The open alert of a rule on an account."""
        return next((alert for alert in self._open.get(account, {}).values() if alert.rule == rule), None)

    def get(self, account: str, key: EpisodeKey) -> Alert | None:
        """The latest record of the open episode, else of the last past one."""
        opened = self._open.get(account, {}).get(key)
        return opened or next((alert for alert in self.past_of(account) if key_of(alert) == key), None)

    def all_open(self) -> Iterator[Alert]:
        """Every open alert."""
        for opened in self._open.values():
            yield from opened.values()

    def latest_past(self) -> Iterator[Alert]:
        """The latest resolved alerts of all accounts, newest first."""
        return reversed(self._latest)
