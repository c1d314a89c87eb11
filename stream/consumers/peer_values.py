"""Peer values: the measures of all accounts as `health.scores` has them, and the daily peer tables made of them.

Owns what is known of every account and the rule that closes a day. Pure; called by `agents.derived.peers`.

A day is over for a partition when the partition has published a score of after midnight: its scores of midnight come
before. So a table is made when every partition has published one, or any has published one of an hour later. Until a
partition's midnight is closed, its later records wait.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from schemas.peers import PeerScore, PeersMessage
from stream.columns.panes import UNIT_MS
from stream.plan.plan import Plan
from stream.plan.segments import NO_SEGMENT
from stream.scoring.peers import message_of, raw_names

PATIENCE_MS = UNIT_MS["hour"]
"""How long, in event time, a table waits for partitions that publish nothing."""


class PeerValues:
    """The latest values of every account of all partitions."""

    def __init__(self, plan: Plan, closed_ms: int | None) -> None:
        """No account; `closed_ms` is the midnight of the newest table there is."""
        self._plan = plan
        self._names = raw_names(plan)
        self._numbers = {segment.name: number for number, segment in enumerate(plan.policy.segments)}
        self._values: dict[str, tuple[int, list[float]]] = {}
        self._waiting: dict[int, deque[tuple[str, PeerScore | None]]] = {}
        self._reached: dict[int, int] = {}
        self._closed_ms = closed_ms

    def __len__(self) -> int:
        """Accounts known."""
        return len(self._values)

    def load(self, partition: int, account: str, score: PeerScore | None) -> None:
        """Apply a record that is there when the process starts, at once: records before it are compacted away."""
        self._reach(partition, score)
        self._set(account, score)

    def apply(self, partition: int, account: str, score: PeerScore | None) -> None:
        """Apply the next record of a partition; None is a tombstone."""
        if self._closed_ms is None and not self._reached and score is not None:
            self._closed_ms = self._midnight_before(score.as_of)  # nobody had a value then
        self._reach(partition, score)
        queue = self._waiting.setdefault(partition, deque())
        queue.append((account, score))
        if self._closed_ms is not None:
            self._set_until(queue, self._next_midnight(self._closed_ms))

    def due(self) -> PeersMessage | None:
        """The tables of the newest midnight that is over and has none; of several midnights only the newest."""
        if not self._reached:
            return None
        midnight = self._midnight_before(min(self._reached.values()))
        midnight = max(midnight, self._midnight_before(max(self._reached.values()) - PATIENCE_MS + 1))
        if self._closed_ms is not None and midnight <= self._closed_ms:
            return None
        self._closed_ms = midnight
        for queue in self._waiting.values():
            self._set_until(queue, midnight)
        message = self._message(midnight)
        for queue in self._waiting.values():
            self._set_until(queue, self._next_midnight(midnight))
        return message

    def _reach(self, partition: int, score: PeerScore | None) -> None:
        if score is not None:
            self._reached[partition] = max(self._reached.get(partition, score.as_of), score.as_of)

    def _set_until(self, queue: deque[tuple[str, PeerScore | None]], until_ms: int) -> None:
        """Set the values of the first records of a queue, up to the first score of after a moment."""
        while queue:
            score = queue[0][1]
            if score is not None and score.as_of > until_ms:
                return
            self._set(*queue.popleft())

    def _set(self, account: str, score: PeerScore | None) -> None:
        if score is None or score.raw is None or score.policy != self._plan.label:
            self._values.pop(account, None)
            return
        values = [np.nan if (value := score.raw.get(name)) is None else value for name in self._names]
        self._values[account] = (self._numbers.get(score.segment or "", NO_SEGMENT), values)

    def _message(self, midnight: int) -> PeersMessage | None:
        if not self._values:
            return None
        values = np.array([values for _, values in self._values.values()], dtype=np.float64)
        segments = np.array([segment for segment, _ in self._values.values()], dtype=np.int8)
        return message_of(self._plan, midnight, values, segments if self._numbers else None)

    def _midnight_before(self, moment_ms: int) -> int:
        """The last midnight that lies before a moment, not at it."""
        calendar = self._plan.calendar
        return calendar.start_ms(calendar.pane_of(moment_ms - 1, "day"), "day")

    def _next_midnight(self, midnight: int) -> int:
        (following,) = self._plan.calendar.midnights_after(midnight, 1)
        return following
