"""A lane: one partition number, its engines, what waits for them, and how far behind they are.

Owns what is known of a partition and when it may be worked on. What is done with it is for `agents.worker.processor`
and `agents.worker.checkpoint`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from schemas.topics import ALERTS, CHANGES
from stream.engine.engine import Engine, Mode
from stream.ingest.batch import INPUT_SOURCES
from stream.ingest.merge import Merge
from stream.publishing.baseline import Heard
from stream.recovery.alert_reconciler import Retelling
from stream.recovery.namespaces import Namespaces
from stream.recovery.shadow import Pair


@dataclass(slots=True)
class PartitionTask:
    """One partition number: its engines, what waits for them, and how far behind they are."""

    partition: int
    pair: Pair
    namespaces: Namespaces
    arrived: dict[int, list[Any]] = field(default_factory=dict)
    """Records taken and not decoded yet, by fence."""
    merge: Merge = field(default_factory=Merge)
    mode: Mode = Mode.HEAD
    fetched: dict[int, int] = field(default_factory=dict)
    """Offset after the last record taken, by fence."""
    taken_at: dict[int, float] = field(default_factory=dict)
    """Monotonic time of the last records taken, or asked for again, by fence."""
    blocked_since: dict[int, float] = field(default_factory=dict)
    given_up: set[int] = field(default_factory=set)
    applied_at: float = field(default_factory=time.monotonic)
    commit_soon: bool = False
    """Whether to commit as soon as nothing lags: catching up is over, and a crash now would do much of it again."""
    changed: bool = False
    """Whether something happened since the last commit."""
    told: Retelling | None = None
    """What readers of alerts were told that this lane may not know; None when they are told what it knows."""
    ends: list[int] | None = None
    """Where its sources ended when their ends were known first: the worker before it has come no further."""
    ready: bool = False
    """Whether it has heard what readers were told; before, nothing is applied, told or committed."""
    published_up_to: dict[str, int] = field(default_factory=dict)
    """Offset in a topic of `stream.recovery.namespaces.TOLD_KEYS` before which nothing was told that the engine does
    not know."""

    @property
    def engine(self) -> Engine:
        """The engine of the live policy."""
        return self.pair.live

    def hear(self, alerts: Retelling, changes: Heard) -> None:
        """Learn, before the first event, what readers were told."""
        self.told = alerts
        self.engine.publisher.hear(changes, self.engine.as_of)
        known = {ALERTS: 0, CHANGES: changes.end, **self.namespaces.told}
        # Not beyond the end: a topic that was made anew begins at 0 again.
        self.published_up_to = {ALERTS: min(known[ALERTS], alerts.end), CHANGES: min(known[CHANGES], changes.end)}
        self.namespaces.told = dict(self.published_up_to)
        self.applied_at = time.monotonic()
        self.ready = True

    def reached(self, source_index: int) -> int:
        """Offset up to which a source has been taken."""
        return self.fetched.get(source_index, self.engine.position[INPUT_SOURCES[source_index]])
