"""Reconcile a restored engine with what the worker before it published after its last commit.

A worker that crashes may have published score changes and alerts that its successor does not know. The successor reads
the records after the last commit from both output topics (`Tail`) and applies the same events again, in batches of its
own. Until the engine has come as far as a record's worker had, nothing is published of what the record is about: it is
held back. Then the engine goes on from the published record.

| topic | held back | until |
|---|---|---|
| `health.score-changes` | changes of the account, by `Publisher` | the account has reached the revision and time |
| `health.score-changes` | of an account that was erased everything, by `Engine` | the account is erased again |
| `health.alerts` | alerts of the account and rule, here | the partition has reached every `vitals.position` |

What is never reached expires: when all records that were in the sources at the beginning are applied, nothing is held
back any more. `complete` says for which topics that is so, and thus what a commit may write down as known. Decision 27
says why. Owns the order of this; the two kinds of record are in `stream.publishing.baseline` and
`stream.recovery.published_alerts`. Pure; filled by `agents.worker.tasks.published`, called by
`agents.worker.tasks.task`, `agents.worker.tasks.processor` and `agents.worker.commit.checkpoint`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from schemas.topics import ALERTS, CHANGES
from stream.engine.engine import Engine, Mode
from stream.publishing.baseline import Baseline
from stream.publishing.effects import Effects
from stream.recovery.namespaces import PUBLISHED_KEYS
from stream.recovery.published_alerts import PublishedAlerts


class Tail(NamedTuple):
    """The records of one partition of an output topic from offset `start`, the last commit, to before `end`.

    A record is its value and, of `health.alerts`, its header `vitals.position`, None where it has none; of
    `health.score-changes`, its key. They are read once.
    """

    start: int = 0
    end: int = 0
    records: Iterable[tuple[bytes | None, bytes | None]] = ()


def start_of(topic: str, committed: Mapping[str, int], end: int) -> int:
    """The offset from which a partition of a topic is read, given the offsets in the changelog and the partition's end.

    Without an offset in the changelog all alerts are read, and no changes: which of these the restored state knows can
    not be decided. An offset beyond the end is of a topic that was deleted and created again.
    """
    return min(committed.get(topic, 0 if topic == ALERTS else end), end)


class Reconciler:
    """What was published of one partition after its last commit; false when nothing is held back any more."""

    def __init__(self, tails: Mapping[str, Tail] = MappingProxyType({})) -> None:
        """Load the tail of each topic of `PUBLISHED_KEYS`; one that is left out is empty."""
        tails = {topic: tails.get(topic, Tail()) for topic in PUBLISHED_KEYS}
        self.starts = {topic: tail.start for topic, tail in tails.items()}
        """The offset from which each topic was read: before it everything is known to the restored state."""
        self._ends = {topic: tail.end for topic, tail in tails.items()}
        self._ends_of_sources: Sequence[int] | None = None
        self._alerts = PublishedAlerts(tails[ALERTS].records)
        self._changes = Baseline(tails[CHANGES].records, tails[CHANGES].end)

    def __bool__(self) -> bool:
        return bool(self._alerts or self._changes)

    def load(self, engine: Engine) -> None:
        """Give a restored engine what was published, before its first step."""
        engine.publisher.load(self._changes, engine.as_of)
        self._alerts.load(engine)

    def complete(self) -> dict[str, int]:
        """The offset up to which the engine knows what was published, by topic; without topics still held back."""
        pending = {ALERTS: self._alerts, CHANGES: self._changes}
        return {topic: end for topic, end in self._ends.items() if not pending[topic]}

    def hold_back(self, effects: Effects) -> None:
        """Take out of `effects` what must not be published yet. The engine itself holds back changes."""
        self._alerts.hold_back(effects)

    def reconcile(
        self, engine: Engine, mode: Mode, *, ends_of_sources: Sequence[int] | None, now_ms: int, idle: bool = False
    ) -> Effects | None:
        """Reconcile where the engine has come as far, or where what is left has expired; None where it did nothing.

        `ends_of_sources` are the end offsets of `Sources.inputs`, None while they are not known; the first that are
        known count. `now_ms` is the broker's clock. `idle` says that nothing has come for a while, and nothing is
        left. While the engine catches up in mode `CONFLATED` alerts have no state, so nothing is reconciled.
        """
        if self._ends_of_sources is None:
            self._ends_of_sources = ends_of_sources
        if not self or mode is Mode.CONFLATED or engine.as_of is None:
            return None
        effects, reconciled = Effects(), False
        # Changes first: an alert's reason compares with the last published score.
        if self._changes and (idle or self._expired(engine, self._changes.until_ms, now_ms)):
            engine.publisher.expire()
            reconciled = True
        if self._alerts and (
            idle or self._alerts.reached(engine) or self._expired(engine, self._alerts.until_ms, now_ms)
        ):
            self._alerts.reconcile(engine, effects)
            reconciled = True
        return effects if reconciled else None

    def _expired(self, engine: Engine, until_ms: int, now_ms: int) -> bool:
        """Whether all records that were in the sources are applied, and time has passed as it had before the crash.

        The worker before may have passed a window boundary by the clock. What claims to be of the future is not waited
        for.
        """
        if self._ends_of_sources is None or engine.as_of is None:
            return False
        ends = zip(engine.sources.inputs, self._ends_of_sources, strict=True)
        return all(engine.position[source] >= end for source, end in ends) and engine.as_of >= min(until_ms, now_ms)
