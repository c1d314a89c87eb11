"""Play events and profiles through an engine in order of their time, from moment to moment.

Guarantees that nothing is ahead of its moment: after `advance_to`, the engine has every event and profile up to that
moment, all window boundaries up to it have passed, and nothing later has been applied. `vitals score`, `explain`,
`check --against` and `backtest` read scores only through this, so they agree on every moment. Called by
`agents.files.replay` and `agents.backtest.replay`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.process.progress import Progress, unseen
from schemas.events import CONTROL_SOURCE, PROFILE_SOURCE, Event, ProfileEvent
from schemas.sources import Sources
from stream.engine.engine import Engine, Mode
from stream.ingest.aliases import claims_of
from stream.ingest.batch import ERASE, Batch, kind_of
from stream.plan.plan import Plan
from stream.publishing.effects import Effects

STEP_EVENTS = 5_000
DEDUP_IDS = 50_000_000


class TimedEvent(NamedTuple):
    """An event with its time (epoch ms), its source, and the file and line that it is in."""

    time_ms: int
    source: str
    event: Event
    file: str = "(events)"
    line: int = 0


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is not a valid event: its file and number, and the reason."""

    file: str
    line: int
    reason: str
    message: str


class Playback:
    """A new engine, and events that are applied to it in order of their time."""

    def __init__(
        self,
        plan: Plan,
        events: Sequence[TimedEvent],
        collect: Callable[[Effects], None],
        *,
        mode: Mode = Mode.CONFLATED,
        progress: Progress = unseen,
    ) -> None:
        """Nothing has been applied yet. `events` are in order of time, and whoever read them has judged their times.

        `collect` gets what the engine returns: in mode CONFLATED it publishes nothing, in HEAD what a worker does. The
        scores are the same.
        """
        self.engine, events = Engine(plan, dedup_ids=DEDUP_IDS, earliest_ms=0), with_claims(events)
        self._events, self._mode, self._collect, self._progress = events, mode, collect, progress
        self._times = np.fromiter((timed.time_ms for timed in events), dtype=np.int64, count=len(events))
        self._offsets = Counter[str]()
        self._done = 0
        self.bad: list[BadLine] = []
        """Lines that the engine has refused so far."""
        self._cuts = self._profiles_after_boundaries(plan) if self.engine.cuts(mode) else np.zeros(0, dtype=np.int64)

    def _profiles_after_boundaries(self, plan: Plan) -> NDArray[np.int64]:
        """Indexes of profiles that are the first record after a window boundary.

        A profile does not move time, so without a cut the engine would apply it before that boundary.
        """
        numbers = plan.calendar.boundary_numbers(self._times, plan.boundary_unit)
        profile = np.fromiter(
            (timed.source == PROFILE_SOURCE for timed in self._events), dtype=bool, count=len(numbers)
        )
        return np.flatnonzero(profile[1:] & (numbers[1:] > numbers[:-1])) + 1

    def advance_to(self, moment_ms: int) -> None:
        """Apply all events and profiles up to a moment, and let time pass up to it.

        Before the first event no time passes, and the engine has no `as_of`.
        """
        end = int(np.searchsorted(self._times, moment_ms, side="right"))
        cuts = self._cuts[(self._cuts >= self._done) & (self._cuts < end)].tolist()
        for until in (*cuts, end):
            while self._done < until:
                self._apply(min(until, self._done + STEP_EVENTS))
            if until < end:
                self._collect(self.engine.tick(int(self._times[until]) - 1, self._mode))
        if self.engine.as_of is not None:
            self._collect(self.engine.advance_to(moment_ms, self._mode))

    def _apply(self, until: int) -> None:
        events = self._events[self._done : until]
        batches = batches_of(events, self._offsets, self.engine.sources)
        self._done = until
        effects = self.engine.step(batches, self._mode, None)
        for letter in effects.dead_letters:
            batch = batches[letter.batch]
            timed = events[int(batch.stamps[letter.offset - int(batch.offsets[0])])]
            self.bad.append(BadLine(timed.file, timed.line, letter.reason, letter.message))
        self._collect(effects)
        self._progress("events applied", until, len(self._events))


def with_claims(events: Sequence[TimedEvent]) -> Sequence[TimedEvent]:
    """The events with the merges that follow from aliases, each right after the first profile that has the alias."""
    if not any(isinstance(timed.event, ProfileEvent) and timed.event.aliases for timed in events):
        return events
    added: list[TimedEvent] = []
    claimed: dict[str, set[str]] = {}
    for number, timed in enumerate(events):
        added.append(timed)
        event = timed.event
        if isinstance(event, ProfileEvent) and event.aliases:
            account = event.account_id.strip()
            known = claimed.setdefault(account, set())
            claims = claims_of(event, account, known, str(number))
            known.update(claim.account_id for claim in claims)
            added += [timed._replace(source=CONTROL_SOURCE, event=claim) for claim in claims]
        elif kind_of(event) == ERASE:
            claimed.clear()  # an erased account has no aliases
    return added


def batches_of(events: Sequence[TimedEvent], offsets: Counter[str], sources: Sources) -> list[Batch]:
    """Consecutive events as one batch for each source; `offsets` has the next offset of each and is advanced."""
    batches = []
    for source in sources.names:
        selected = [(index, timed.event) for index, timed in enumerate(events) if timed.source == source]
        if selected:
            first = offsets[source]
            offsets[source] += len(selected)
            # The index in the merged order serves as record time.
            stamps = np.array([index for index, _ in selected], dtype=np.int64)
            numbers = np.arange(first, offsets[source], dtype=np.int64)
            batches.append(Batch(source, numbers, stamps, [event for _, event in selected], offsets[source]))
    return batches
