"""Open and past alerts of all accounts.

Owns the latest record of each episode in `health.alerts`. A fingerprint has at most one open episode; for operational
alerts, a fingerprint and partition. Pure. Called by `agents.board.state.state`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from agents.board.views.types import AlertState
from schemas.outputs import Alert

PAST_OF_ACCOUNT = 50
FEWEST_PAST = 5
PAST_OF_ALL = 50_000
"""Limit of past episodes in memory, about 1.5 kB each. Each account keeps `FEWEST_PAST` even above it."""
LATEST = 500
"""The list of all past alerts has this many, the latest."""
_WORST_FIRST = {"critical": 0, "warning": 1, "info": 2}

EpisodeKey = tuple[str, str]
"""Fingerprint and, of operational alerts, the partition."""


def state_of(alert: Alert) -> AlertState:
    """The state of an alert, from its latest record."""
    if alert.status == "resolved":
        return "resolved"
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
            return before is None or before.id != alert.id
        opened.pop(key, None)
        if not opened:
            del self._open[account]
        episodes = self._past.setdefault(account, deque())
        episodes.append(alert)
        limit = min(max(PAST_OF_ALL // len(self._past), FEWEST_PAST), PAST_OF_ACCOUNT)
        while len(episodes) > limit:
            episodes.popleft()
        self._latest.append(alert)
        return True

    def accounts(self) -> set[str]:
        """Accounts with an episode; "" stands for the operational alerts."""
        return {*self._open, *self._past}

    def drop(self, account: str) -> None:
        """Drop everything of an account."""
        self._open.pop(account, None)
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
        """The latest past alerts of all accounts, newest first."""
        return reversed(self._latest)
