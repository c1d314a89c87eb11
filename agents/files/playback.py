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

import numpy as np
from numpy.typing import NDArray

from agents.files.timeline import TimedEvent, Timeline
from agents.process.progress import Progress, unseen
from schemas.events import CONTROL_SOURCE, PROFILE_SOURCE, ProfileEvent
from schemas.sources import Sources
from stream.engine.engine import Engine, Mode
from stream.ingest.aliases import claims_of
from stream.ingest.batch import ERASE, Batch, kind_of
from stream.plan.plan import Plan
from stream.publishing.effects import Effects

STEP_EVENTS = 5_000
"""What is applied at once where the engine publishes: it publishes after every step, as a worker does."""
QUIET_STEP_EVENTS = 50_000
"""What is applied at once where it publishes nothing; its state does not depend on the size of steps."""
DEDUP_IDS = 50_000_000


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
        self.engine = Engine(plan, dedup_ids=DEDUP_IDS, earliest_ms=0)
        self._events = with_claims(Timeline.of(events))
        self._mode, self._collect, self._progress = mode, collect, progress
        self._times = self._events.times
        self._step = QUIET_STEP_EVENTS if mode is Mode.CONFLATED else STEP_EVENTS
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
        profile = self._events.of_source(PROFILE_SOURCE)
        return np.flatnonzero(profile[1:] & (numbers[1:] > numbers[:-1])) + 1

    def advance_to(self, moment_ms: int) -> None:
        """Apply all events and profiles up to a moment, and let time pass up to it.

        Before the first event no time passes, and the engine has no `as_of`.
        """
        end = self._events.count_until(moment_ms)
        cuts = self._cuts[(self._cuts >= self._done) & (self._cuts < end)].tolist()
        for until in (*cuts, end):
            while self._done < until:
                self._apply(min(until, self._done + self._step))
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


def with_claims(events: Timeline) -> Timeline:
    """The events with the merges that follow from aliases, each right after the first profile that has the alias."""
    profiles = [events.events[index] for index in np.flatnonzero(events.of_source(PROFILE_SOURCE)).tolist()]
    if not any(isinstance(profile, ProfileEvent) and profile.aliases for profile in profiles):
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
    return Timeline.of(added)


def batches_of(events: Sequence[TimedEvent], offsets: Counter[str], sources: Sources) -> list[Batch]:
    """Consecutive events as one batch for each source; `offsets` has the next offset of each and is advanced."""
    batches, timeline = [], Timeline.of(events)
    for source in sources.names:
        # The index in the merged order serves as record time.
        stamps = np.flatnonzero(timeline.of_source(source)).astype(np.int64, copy=False)
        if not len(stamps):
            continue
        first = offsets[source]
        offsets[source] += len(stamps)
        numbers = np.arange(first, offsets[source], dtype=np.int64)
        alone = len(stamps) == len(timeline)
        selected = timeline.events if alone else [timeline.events[index] for index in stamps.tolist()]
        batches.append(Batch(source, numbers, stamps, selected, offsets[source]))
    return batches
