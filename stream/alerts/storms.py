"""Storms: so many accounts begin to alert at once that one digest says more than all of them.

Owns when a storm begins and ends, and the digest. Called by `stream.alerts.emission`, which knows who fires.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence

import numpy as np

from schemas.codecs import encode
from stream.accounts.alert_lifecycle import is_open
from stream.accounts.alert_state import AlertState
from stream.alerts.messages import STORM, fingerprint, operational_alert
from stream.columns.columns import Rows
from stream.policy.alerts import Storms
from stream.publishing.effects import Effects, Message

_SEVERITY = "critical"
DIGEST = fingerprint("", STORM)


class StormWatch:
    """The storms of one partition."""

    def __init__(self, storms: Storms, partition: int | None) -> None:
        """No storm yet."""
        self._storms = storms
        self._labels = {} if partition is None else {"partition": str(partition)}
        self.open = False
        self.since = 0
        self.last = 0
        """When the latest storm began and when its last alert did (ms)."""
        self.alerts = 0
        """How many alerts have been part of it."""
        self._recent: deque[tuple[int, int]] | None = None
        """When alerts began lately (ms) and of which rows; None: to be found in what was restored."""

    def saved(self) -> list[int]:
        """The storm as numbers, for `load`."""
        return [int(self.open), self.since, self.last, self.alerts]

    def load(self, saved: Sequence[int] | None) -> None:
        """Go on with a storm that was saved, if there was one."""
        if saved is not None:
            begun, self.since, self.last, self.alerts = saved
            self.open = bool(begun)
        self._recent = None

    def note(
        self,
        now_ms: int,
        state: AlertState,
        rows: Rows,
        fired: Sequence[tuple[str, str]],
        effects: Effects,
        *,
        alive: Callable[[], int],
    ) -> None:
        """Alerts have begun now, of `rows` and as `fired` (rule, main factor); `alive` counts all accounts."""
        after_ms = now_ms - self._storms.within_ms
        if self._recent is None:
            began = np.where(is_open(state.phase), state.began, 0).max(axis=1, initial=0)
            known = np.flatnonzero(began > after_ms)
            known = known[np.argsort(began[known], kind="stable")]
            self._recent = deque(zip(began[known].tolist(), known.tolist(), strict=True))
        self._recent.extend((now_ms, row) for row in rows.tolist())
        while self._recent[0][0] <= after_ms:
            self._recent.popleft()
        if not self.open:
            if len(self._recent) < self._storms.least:
                return
            known = np.unique([row for _, row in self._recent])
            still = (is_open(state.phase[known]) & (state.began[known] > after_ms)).any(axis=1)
            met, there = len(np.union1d(known[still], rows)), alive()
            if met < max(self._storms.least, self._storms.share * there):
                return
            self.open, self.since, self.alerts = True, now_ms, len(fired)
            self.last = now_ms
            minutes = self._storms.within_ms // 60_000
            (rule, factor), count = Counter(fired).most_common(1)[0]
            common = f"{rule}, {factor}" if factor else rule
            summary = (
                f"{met} of {there} accounts began to alert within {minutes} minutes; "
                f"in common to {count} of the last {len(fired)}: {common}"
            )
            self._emit(summary, None, effects)
            return
        self.last = now_ms
        self.alerts += len(fired)

    def pass_to(self, now_ms: int, effects: Effects) -> None:
        """End a storm in which nothing has begun for a while."""
        if self.open and now_ms - self.last >= self._storms.within_ms:
            self.open = False
            self._emit(f"the storm is over: {self.alerts} alerts were part of it", now_ms, effects)

    def _emit(self, summary: str, ended_ms: int | None, effects: Effects) -> None:
        alert = operational_alert(
            STORM, summary, self._labels, began_ms=self.since, ended_ms=ended_ms, severity=_SEVERITY
        )
        effects.alerts.append(Message(STORM.encode(), encode(alert)))
        effects.alerted[STORM, alert.status] += 1
