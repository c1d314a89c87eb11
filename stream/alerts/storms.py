"""Detect storms: so many accounts begin to alert at once that one digest alert speaks for all of them.

Owns when a storm begins and ends, and the digest. Called by `stream.alerts.emission`, which knows which alerts fire.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

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
        """No storm yet. `storms` are the policy's thresholds; `partition` is a label of the digest."""
        self._storms = storms
        self._labels = {} if partition is None else {"partition": str(partition)}
        self.open = False
        self.since = 0
        self.last = 0
        """When the latest storm began and when its last alert did (ms)."""
        self.alerts = 0
        """How many alerts have been part of it."""
        self.rescored: NDArray[np.bool_] | None = None
        """By row, whether a rescoring has scored it so far, while it does: the share is that among those.

        A storm that waited for the share of all accounts would leave as many alerts without a digest.
        """
        self._recent: deque[tuple[int, int]] | None = None
        """When alerts began lately (ms) and of which rows; None: to be read from the restored alert state."""

    def saved(self) -> list[int]:
        """The storm as numbers, for `load`."""
        return [int(self.open), self.since, self.last, self.alerts]

    def load(self, saved: Sequence[int] | None) -> None:
        """Restore what `saved` returned, if anything."""
        if saved is not None:
            is_open_now, self.since, self.last, self.alerts = saved
            self.open = bool(is_open_now)
        self._recent = None

    def add(
        self,
        now_ms: int,
        state: AlertState,
        rows: Rows,
        causes: Sequence[tuple[str, str]],
        effects: Effects,
        *,
        listed: Callable[[], NDArray[np.bool_]],
    ) -> None:
        """Count alerts that fire now, and begin a storm if there are enough.

        `rows` are their accounts, `causes` their (rule, main factor); `listed` says by row which accounts have scores.
        """
        if self.open:
            self.last = now_ms
            self.alerts += len(causes)
            self._add_recent(now_ms, state, rows)
            return
        recent = self._add_recent(now_ms, state, rows)
        if len(recent) < self._storms.least:
            return
        counted = listed()
        if self.rescored is not None:
            counted = counted[: len(self.rescored)] & self.rescored
        accounts = int(np.count_nonzero(counted))
        least = max(self._storms.least, self._storms.share * accounts)
        if len(recent) < least:
            return
        recent_rows = np.unique([row for _, row in recent])
        if self.rescored is not None:
            recent_rows = recent_rows[recent_rows < len(self.rescored)]
            recent_rows = recent_rows[self.rescored[recent_rows]]
        after_ms = now_ms - self._storms.within_ms
        began_lately = is_open(state.phase[recent_rows]) & (state.began[recent_rows] > after_ms)
        alerting = len(np.union1d(recent_rows[began_lately.any(axis=1)], rows))
        if alerting >= least:
            self.open, self.since, self.last, self.alerts = True, now_ms, now_ms, len(causes)
            self._emit(self._summary(alerting, accounts, causes), None, effects)

    def _add_recent(self, now_ms: int, state: AlertState, rows: Rows) -> deque[tuple[int, int]]:
        """The alerts that began within the policy's time, with those of `rows` now."""
        after_ms = now_ms - self._storms.within_ms
        if self._recent is None:
            began = np.where(is_open(state.phase), state.began, 0).max(axis=1, initial=0)
            recent_rows = np.flatnonzero(began > after_ms)
            recent_rows = recent_rows[np.argsort(began[recent_rows], kind="stable")]
            self._recent = deque(zip(began[recent_rows].tolist(), recent_rows.tolist(), strict=True))
        self._recent.extend((now_ms, row) for row in rows.tolist())
        while self._recent[0][0] <= after_ms:
            self._recent.popleft()
        return self._recent

    def forget(self, row: int) -> None:
        """Forget the alerts of a row."""
        if self._recent is not None:
            self._recent = deque(entry for entry in self._recent if entry[1] != row)

    def _summary(self, alerting: int, accounts: int, causes: Sequence[tuple[str, str]]) -> str:
        minutes = self._storms.within_ms // 60_000
        (rule, factor), count = Counter(causes).most_common(1)[0]
        common = f"{rule}, {factor}" if factor else rule
        return (
            f"{alerting} of {accounts} accounts began to alert within {minutes} minutes; "
            f"in common to {count} of the last {len(causes)}: {common}"
        )

    def end_if_over(self, now_ms: int, effects: Effects) -> None:
        """End a storm in which no alert has begun for a while."""
        if self.open and now_ms - self.last >= self._storms.within_ms:
            self.open = False
            self._emit(f"the storm is over: {self.alerts} alerts were part of it", now_ms, effects)

    def _emit(self, summary: str, ended_ms: int | None, effects: Effects) -> None:
        alert = operational_alert(
            STORM, summary, self._labels, began_ms=self.since, ended_ms=ended_ms, severity=_SEVERITY
        )
        effects.alerts.append(Message(STORM.encode(), encode(alert)))
        effects.alerted[STORM, alert.status] += 1
