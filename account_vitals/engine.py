"""An engine that is fed one batch of events at a time, as a worker feeds the engine of a partition.

Owns the numbering of events and what is published as Python objects. Everything else is `stream.engine`. Called by
users of the package.
"""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from account_vitals.inputs import Moment, Named, inputs_of, moment_of, reading_for
from account_vitals.policies import Policy, policy_of
from account_vitals.problems import LeftOutWarning, listed
from agents.files.playback import DEDUP_IDS, BadLine, batches_of
from agents.files.replay import read_events
from agents.files.scores import score_messages
from schemas.outputs import Alert, ScoreChange, ScoreMessage
from stream.engine.engine import Engine as PartitionEngine
from stream.engine.engine import Mode
from stream.publishing.effects import Effects

__all__ = ["Alert", "Engine", "Published", "ScoreChange", "ScoreMessage"]


@dataclass(frozen=True, slots=True)
class Published:
    """What a worker would have published for a batch: records of `health.scores`, score changes and alerts.

    `outcomes` counts the events by source and outcome (`applied`, `duplicate`, `late` and others). `left_out` are the
    rows that cannot be used: `file` (label of the batch), `line` (row), `reason` and `message`.
    """

    scores: list[ScoreMessage] = field(default_factory=list)
    changes: list[ScoreChange] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    left_out: list[BadLine] = field(default_factory=list)


class Engine:
    """All accounts under one policy, in memory; time is that of the events.

    >>> engine = Engine("deploy/policies/template.toml")
    >>> ticket = {"topic": "support-tickets", "id": "e1", "account_id": "acme", "time": "2026-03-02T09:00:00Z"}
    >>> published = engine.feed([ticket | {"ticket_id": "T1", "status": "opened"}])
    >>> [(change.account_id, change.band_to) for change in published.changes]
    [('acme', 'at-risk')]
    >>> engine.feed([ticket | {"ticket_id": "T1", "status": "opened"}]).outcomes
    Counter({('support-tickets', 'duplicate'): 1})
    """

    def __init__(
        self, policy: Policy | str | Path, *, mapping: Named | None = None, allow_before: Moment | None = None
    ) -> None:
        """Empty. `mapping` and `allow_before` are those of `account_vitals.score`."""
        self.policy = policy_of(policy)
        self._mapping, self._allow_before = mapping, allow_before
        self._engine = PartitionEngine(self.policy.plan, dedup_ids=DEDUP_IDS, earliest_ms=0)
        self._offsets = Counter[str]()
        self._batches = 0

    @property
    def as_of(self) -> datetime | None:
        """The moment of the scores, UTC; None before the first event."""
        as_of_ms = self._engine.as_of
        return None if as_of_ms is None else datetime.fromtimestamp(as_of_ms / 1000, UTC)

    def feed(self, events: Any) -> Published:
        """Apply a batch of events in order of their time, and return what a worker would publish.

        `events` are those of `account_vitals.score`. An id that came before counts once. Events may be older than those
        of a batch before; one that is older than every window is late. Rows that cannot be used are left out with a
        warning, and are in `left_out`.
        """
        self._batches += 1
        plan, bad = self.policy.plan, list[BadLine]()
        how = reading_for(plan.sources, None, self._mapping, self._allow_before)
        inputs = inputs_of(events, f"batch {self._batches}")
        timed = read_events(inputs, bad, how, plan.properties, plan.sources)
        batches = batches_of(timed, self._offsets, plan.sources)
        effects = self._engine.step(batches, Mode.HEAD, None)
        for letter in effects.dead_letters:
            batch = batches[letter.batch]
            row = timed[int(batch.stamps[letter.offset - int(batch.offsets[0])])]
            bad.append(BadLine(row.file, row.line, letter.reason, letter.message))
        if bad:
            warnings.warn(f"left out:\n{listed(bad)}", LeftOutWarning, stacklevel=2)
        return _published(effects, bad)

    def advance_to(self, moment: Moment) -> Published:
        """Let time pass up to a moment without events: windows move, scores change, alerts fire and end.

        An event that comes after this can be late. Does nothing before the first event.
        """
        moment_ms = moment_of(moment, "moment", calendar=self.policy.plan.calendar)
        assert moment_ms is not None
        if self._engine.as_of is None:
            return Published()
        return _published(self._engine.advance_to(moment_ms, Mode.HEAD), [])

    def scores(self) -> list[ScoreMessage]:
        """The scores of all accounts that have had an event, as of `as_of`, sorted by account."""
        return [] if self._engine.as_of is None else score_messages(self._engine)


def _published(effects: Effects, bad: list[BadLine]) -> Published:
    return Published(
        [msgspec.json.decode(message.value, type=ScoreMessage) for message in effects.scores],
        [msgspec.json.decode(message.value, type=ScoreChange) for message in effects.changes],
        [msgspec.json.decode(message.value, type=Alert) for message in effects.alerts],
        effects.outcomes,
        bad,
    )
