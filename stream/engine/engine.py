"""The engine of one partition: batches of events in, effects out, state in between.

Owns the order of things: what counts, when panes turn, when accounts are scored, when scores are published.
Synchronous; it knows no broker, no clock and no policy text: time is an argument, effects are returned. One engine
serves one partition number of every source. Called by `agents.worker.processor` (live) and `agents.files.replay`
(files).

`as_of` is the largest event time applied, or the last window boundary passed by the clock. At the head and in `exact`
catch-up a step is cut at every boundary, and all accounts are scored there; in conflated catch-up, when `flush` is
called.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from schemas.events import METRIC_SOURCES, PROFILE_SOURCE
from schemas.peers import PeersMessage
from stream.accounts.accounts import Accounts
from stream.alerts.emission import Alerter
from stream.alerts.idle_sources import IdleSources
from stream.columns.columns import NEVER, Rows
from stream.columns.members import Members
from stream.columns.panes import UNIT_MS, boundary_number, boundary_numbers, pane_of
from stream.engine.scorer import Scorer
from stream.ingest.aggregation import Aggregator, ProfileUpdate, fresh_profiles, merge_order, places, too_late
from stream.ingest.batch import INPUT_SOURCES, PEERS, Batch, Candidates, in_turn, sort_out
from stream.ingest.event_ids import SeenIds
from stream.plan.plan import Plan
from stream.publishing.effects import Effects
from stream.publishing.encoding import ScoredBatch
from stream.publishing.publisher import Publisher
from stream.publishing.trigger import Trigger
from stream.scoring.peers import Peers
from stream.scoring.scoring import Scored


class Mode(Enum):
    """How a step is published."""

    HEAD = "head"
    """Cut at borders, publish at once, alerts fire."""
    EXACT = "exact"
    """Catching up with borders kept: changes and alerts as at the head, scores conflated until `flush`."""
    CONFLATED = "conflated"
    """Catching up: nothing is published until `flush`, alerts are held."""


class Engine:
    """All accounts of one partition number."""

    def __init__(
        self,
        plan: Plan,
        *,
        owns: Callable[[str], bool] | None = None,
        dedup_ids: int | None = 200_000,
        partition: int | None = None,
    ) -> None:
        """Empty. `owns` tells which account ids hash here, `dedup_ids` None turns deduplication off.

        Without `owns` all accounts are here: then tables of peers are made here too, at every UTC midnight.
        `partition` is how alerts of no single account name the engine.
        """
        self.plan = plan
        self.columns = [column.build() for column in plan.columns]
        self.accounts = Accounts(plan, self.columns, owns or (lambda _account: True))
        self.seen = {} if dedup_ids is None else {source: SeenIds(dedup_ids) for source in METRIC_SOURCES}
        self.as_of: int | None = None
        self.lateness_time_ms: int | None = None
        """Time by which events are late. After a crash within a commit `as_of` may be ahead of it."""
        self.position = dict.fromkeys(INPUT_SOURCES, 0)
        """Offset from which each source has not been settled yet."""
        self.settled: Counter[tuple[str, str]] = Counter()
        """Outcomes by (source, outcome), each record once, across restarts."""
        self._aggregator = Aggregator(plan, self.accounts, self.columns)
        self.watermarks = self._aggregator.watermarks
        self.idle_sources = IdleSources(plan, self.watermarks, partition)
        self.alerter = Alerter(plan, self.accounts, self.columns, partition)
        self.peers = Peers(plan)
        self._makes_tables = bool(plan.peers) and owns is None
        self.scorer = Scorer(plan, self.accounts, self.columns, self.idle_sources, self.peers)
        self.publisher = Publisher(plan, self.accounts, self.peers)
        self._idle: tuple[str, ...] = ()
        self._restate = False
        self._rescored_until = NEVER
        self._stale = False

    # -- time ---------------------------------------------------------------------------------------------------------

    @property
    def _clocked(self) -> bool:
        """Whether days alone may change what is said of an account."""
        accounts, plan = self.accounts, self.plan
        return (
            plan.changes_by_calendar
            or plan.needs_boundaries
            or bool(self.idle_sources or accounts.overrides or accounts.acknowledgements)
        )

    def _advance(self, as_of_ms: int) -> None:
        """Move the moment of scores forward; never back."""
        if self.as_of is not None and as_of_ms <= self.as_of:
            return
        unit = self.plan.boundary_unit
        if self.as_of is None or pane_of(as_of_ms, unit) > pane_of(self.as_of, unit):
            self.scorer.advance(as_of_ms)
            self._stale = True
            if self.idle_sources:
                self.as_of = as_of_ms
                self._note_idle_sources(at_boundary=True)
        self.as_of = as_of_ms

    def _note_idle_sources(self, *, at_boundary: bool) -> None:
        """Learn which sources have stalled or come again; at a border all accounts are told anew of what changed.

        Between boundaries they are not: a source that is back brings what it missed, account by account.
        """
        assert self.as_of is not None
        idle = self.idle_sources.idle(self.as_of)
        self._restate |= idle != self._idle
        self._idle = idle
        if at_boundary and self._restate:
            self._restate = False
            self.accounts.score_pending[self.accounts.alive()] = True

    def _rescore_until(self, boundary: int, mode: Mode, effects: Effects) -> None:
        """Score all accounts at every border up to and including number `boundary`."""
        if self.as_of is None:
            return
        first = max(self._rescored_until + 1, boundary_number(self.as_of, self.plan.boundary_unit))
        # When the longest window has passed with no event, every pane is empty and only a new day can change anything.
        spent = (
            first
            + max(panes * UNIT_MS[unit] for unit, panes in self.plan.longest_windows.items()) // self.plan.boundary_ms
            + 1
        )
        for number in range(first, (boundary if self._clocked else min(boundary, spent)) + 1):
            if number > spent and not self.plan.needs_boundaries and number * self.plan.boundary_ms % UNIT_MS["day"]:
                continue
            self._advance(number * self.plan.boundary_ms)
            alive = self.accounts.alive()
            scored = None
            if self.plan.needs_boundaries:
                scored = self.scorer.on_boundary(alive, number * self.plan.boundary_ms, self._idle)
            if mode is not Mode.CONFLATED:
                self._publish(alive, mode, effects, Trigger.BOUNDARY, scored)
                self._stale = False
            if self._makes_tables and number * self.plan.boundary_ms % UNIT_MS["day"] == 0:
                self._apply_peer_table(self.scorer.table(number * self.plan.boundary_ms), mode, effects)
        if boundary >= first:
            self._advance(boundary * self.plan.boundary_ms)
            self._rescored_until = boundary

    def tick(self, now_ms: int) -> Effects:
        """Let the clock pass every border up to `now_ms`, for a partition that is idle in live use."""
        effects = Effects()
        self._rescore_until(now_ms // self.plan.boundary_ms, Mode.HEAD, effects)
        self.lateness_time_ms = self.as_of
        return effects

    def settle(self, as_of_ms: int) -> Effects:
        """Let time pass up to a moment that need not be a border, and score every account there."""
        effects = Effects()
        self._rescore_until(as_of_ms // self.plan.boundary_ms, Mode.HEAD, effects)
        self._advance(as_of_ms)
        self.lateness_time_ms = self.as_of
        self._publish(self.accounts.alive(), Mode.HEAD, effects, Trigger.TIME)
        return effects

    # -- events -------------------------------------------------------------------------------------------------------

    def step(self, batches: Sequence[Batch], mode: Mode, now_ms: int | None) -> Effects:
        """Take in batches that belong together (see `stream.ingest.merge`), publish what `mode` says.

        `now_ms` is the clock that tells future events; None lets every time pass.
        """
        effects = Effects()
        for turn in in_turn(batches):
            self._ingest(turn.batches, mode, now_ms, effects)
            if turn.table is not None and turn.offset >= self.position[PEERS]:
                self._apply_peer_table(turn.table, mode, effects)
        self._count(effects)
        for batch in batches:
            name = INPUT_SOURCES[batch.source_index]
            self.position[name] = max(self.position[name], batch.end)
        return effects

    def _ingest(self, batches: Sequence[tuple[int, Batch]], mode: Mode, now_ms: int | None, effects: Effects) -> None:
        """Take in batches with their numbers in the step."""
        parts: list[Candidates] = []
        profiles: list[Candidates] = []
        for at, batch in batches:
            position = self.position[INPUT_SOURCES[batch.source_index]]
            seen = self.seen.get(batch.source)
            found = sort_out(
                batch, at, accounts=self.accounts, position=position, seen=seen, now_ms=now_ms, effects=effects
            )
            if batch.source == PROFILE_SOURCE:
                profiles.append(fresh_profiles(found, position, effects))
            elif len(found.rows):
                parts.append(found)
        if parts:
            self._apply(parts, profiles, mode, effects)
        else:
            self._apply_profiles_alone(profiles, mode, effects)

    def _apply_peer_table(self, table: PeersMessage, mode: Mode, effects: Effects) -> None:
        """Score all accounts by new tables of peers."""
        if not self.peers.apply(table):
            return
        if mode is Mode.CONFLATED and self.as_of is not None:
            self._stale = True
            return
        if self.as_of is not None:
            self._publish(self.accounts.alive(), mode, effects, Trigger.TIME)
        self._stale = self.peers.changed = False

    def _count(self, effects: Effects) -> None:
        for (source, outcome), count in effects.outcomes.items():
            if outcome != "replayed":
                self.settled[source, "applied" if outcome == "already_applied" else outcome] += count
        for source in METRIC_SOURCES:
            # A fenced record is new to the tally but not to the row: to the outside it is a replay.
            count = effects.outcomes.pop((source, "already_applied"), 0)
            if count:
                effects.outcomes[source, "replayed"] += count

    def _apply_profiles_alone(self, profiles: list[Candidates], mode: Mode, effects: Effects) -> None:
        """Profiles in a step without events."""
        for part in profiles:
            rows = np.unique(self._aggregator.apply(part, slice(None)))
            if len(rows) and mode is not Mode.CONFLATED and self.as_of is not None:
                self._publish(rows, mode, effects, Trigger.EVENTS)

    def _apply(self, parts: list[Candidates], profiles: list[Candidates], mode: Mode, effects: Effects) -> None:
        profiles = [part for part in profiles if len(part.rows)]
        order, times = merge_order([*parts, *profiles])
        running = np.maximum.accumulate(times)
        if profiles:
            # A profile moves no clock. One before every event of the step holds now, or else with the first event.
            running[running == NEVER] = times[times != NEVER][0] if self.as_of is None else self.as_of
            times = np.where(times == NEVER, running, times)
        judged = running if self.lateness_time_ms is None else np.maximum(running, self.lateness_time_ms)
        late = too_late(self.plan.longest_windows, times, judged)
        self.lateness_time_ms = int(judged[-1])
        if self.as_of is not None:
            running = np.maximum(running, self.as_of)
        segments = boundary_numbers(running, self.plan.boundary_unit)
        at_places = places([*parts, *profiles], order)
        aggregations = []
        for part, at in zip(parts, at_places, strict=False):
            self._aggregator.tally(part, late[at], self.position[INPUT_SOURCES[part.batch.source_index]], effects)
            aggregations.append(self._aggregator.prepare(part, late[at], running[at], segments[at]))
        updates = [
            ProfileUpdate(part, segments[at]) for part, at in zip(profiles, at_places[len(parts) :], strict=True)
        ]
        cut = mode is not Mode.CONFLATED or self.plan.needs_boundaries or self._makes_tables
        one = not cut or segments[0] == segments[-1]
        numbers = [int(segments[-1])] if one else np.unique(segments).tolist()
        for number in numbers:
            if cut:
                self._rescore_until(number - 1, mode, effects)
            # Before time moves on: a source heard of for the first time must not lose its events to the moment.
            self._aggregator.watch(aggregations, number)
            self._advance(int(running[np.searchsorted(segments, number, side="right") - 1]))
            if self.idle_sources:
                self.scorer.advance(self.as_of or 0)
                self._note_idle_sources(at_boundary=False)
            changed = [rows for aggregate in aggregations if len(rows := self._aggregator.aggregate(aggregate, number))]
            changed += [rows for update in updates if len(rows := self._aggregator.apply_profiles(update, number))]
            if mode is not Mode.CONFLATED and changed:
                rows = changed[0] if len(changed) == 1 else np.concatenate(changed)
                self._publish(np.unique(rows), mode, effects, Trigger.EVENTS)

    # -- scores -------------------------------------------------------------------------------------------------------

    def score(self, rows: Rows) -> Scored:
        """Scores of rows as of now."""
        assert self.as_of is not None
        return self.scorer.score(rows, self.as_of)

    def ahead(self, rows: Rows, boundaries: Iterable[int]) -> Iterator[tuple[int, Scored]]:
        """Scores of rows at `boundaries` (epoch ms, ascending) as if no event came any more."""
        return self.scorer.ahead(rows, boundaries, self._idle)

    def _publish(
        self, rows: Rows, mode: Mode, effects: Effects, trigger: Trigger, scored: Scored | None = None
    ) -> None:
        """Say what there is to say of rows, which may have been `scored` as of now already."""
        if not len(rows):
            return
        assert self.as_of is not None
        accounts = self.accounts
        scored = self.score(rows) if scored is None else scored
        moved = self.publisher.note(rows, scored)
        scored_batch = self.publisher.scored_batch(
            rows, scored, self.as_of, catching_up=mode is not Mode.HEAD, idle=self._idle
        )
        self.publisher.go_on(scored_batch)
        if accounts.alerts.removed_rule_alerts:
            self.alerter.end_orphans(scored_batch, effects)
        if mode is not Mode.CONFLATED:
            # Before the changes, which make what is said now the baseline of the next.
            self.alerter.tell(scored_batch, effects, trigger)
            if self.idle_sources or self.idle_sources.told:  # what a policy before this one has told comes to its end
                self.idle_sources.tell(self.as_of, effects)
        self.publisher.changes(scored_batch, effects, moved=moved, rescored=trigger is not Trigger.EVENTS)
        accounts.on_time[rows] = False
        accounts.changed[rows] = False
        accounts.pulse[rows] = False
        if mode is not Mode.EXACT:
            score_pending = accounts.score_pending[rows]
            if score_pending.any():
                self.publisher.scores(
                    scored_batch if score_pending.all() else scored_batch.pick(score_pending), effects
                )

    def flush(self, mode: Mode) -> Effects:
        """Publish what conflation has held back: one change and one score an account. Called before every save."""
        effects = Effects()
        if self.as_of is None:
            return effects
        accounts = self.accounts
        told = Mode.HEAD if mode is Mode.HEAD else Mode.CONFLATED
        waiting = accounts.changed | accounts.score_pending
        if mode is Mode.CONFLATED and self._stale:
            alive = accounts.alive()
            self._publish(alive[~waiting[alive]], told, effects, Trigger.TIME)
            self._stale = self.peers.changed = False
        rows = np.flatnonzero(waiting & (accounts.applied > 0))
        self._publish(rows, told, effects, Trigger.EVENTS)
        return effects

    def caught_up(self) -> Effects:
        """One exact sweep on reaching the head: held alerts fire if they are still true."""
        effects = Effects()
        if self.as_of is not None:
            self._publish(self.accounts.alive(), Mode.HEAD, effects, Trigger.CAUGHT_UP)
            self._stale = False
            # A border at this very moment has not passed yet: events of the same time may still come.
            self._rescored_until = max(self._rescored_until, boundary_number(self.as_of, self.plan.boundary_unit) - 1)
        return effects

    def restart(self, as_of_ms: int, clocks: Mapping[str, int]) -> None:
        """Set the moment of an empty engine, so that rows can be loaded; `clocks` (ms) of sources that can stall."""
        assert not len(self.accounts), "only an empty engine restarts"
        self.idle_sources.clocks.update(clocks)
        self._advance(as_of_ms)

    def current(self, rows: Rows | None = None) -> Effects:
        """The score message of rows, or of every account, as of now, whether it was sent before or not."""
        effects = Effects()
        rows = self.accounts.alive() if rows is None else rows
        if self.as_of is not None and len(rows):
            self.publisher.scores(self.scored_batch(rows), effects)
        return effects

    def scored_batch(self, rows: Rows) -> ScoredBatch:
        """What there is to say of rows as of now."""
        assert self.as_of is not None
        return self.publisher.scored_batch(rows, self.score(rows), self.as_of, catching_up=False, idle=self._idle)

    def rescore_without_publishing(self) -> None:
        """Score every account anew without publishing, after rows were loaded."""
        if self.as_of is not None:
            alive = self.accounts.alive()
            self.publisher.note(alive, self.score(alive))
            self.accounts.score_pending[:] = False
            # A worker that crashed may have published more than it saved: the first score of every account is sent.
            self.accounts.values[alive] = np.inf
            self._stale = False

    def bands(self) -> list[NDArray[np.int64]]:
        """For each score how many accounts are in each band, ascending bands, int64 (bands,)."""
        known = self.accounts.band[self.accounts.alive()]
        return [
            np.bincount(column[column >= 0], minlength=len(part.score.bands))
            for part, column in zip(self.plan.scores, known.T, strict=True)
        ]

    def nbytes(self) -> int:
        """Bytes of memory the state holds."""
        return self.accounts.nbytes() + sum(seen.nbytes() for seen in self.seen.values())

    def members(self) -> list[Members]:
        """The columns saved in pages of their own."""
        return [column for column in self.columns if isinstance(column, Members)]
