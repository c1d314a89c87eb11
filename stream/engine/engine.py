"""The engine of one partition: batches of events in, effects out, state in between.

Owns the order of things: what counts, when panes turn, when accounts are scored, when scores are published.
Synchronous; it knows no broker, no clock and no policy text: time is an argument, effects are returned. One engine
serves one partition number of every source. Called by `agents.worker.processor` (live) and `agents.files.replay`
(files).

Definitions (the contract's "Time and windows" and DESIGN 4): `as_of` is the largest event time applied, or the last
border passed by the clock. A border is a multiple of the finest pane in use. At the head, and in `exact` catch-up, a
step is cut at every border it crosses and all accounts are scored there; in conflated catch-up they are scored when
`flush` is called.
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
from stream.alerts.idle_sources import Stalls
from stream.columns.columns import NEVER, Rows
from stream.columns.members import Members
from stream.columns.panes import UNIT_MS, pane_of, segment_of, segments_of
from stream.engine.scorer import Scorer
from stream.ingest.aggregation import Folder, Learning, fresh_profiles, merge_order, places, too_late
from stream.ingest.batch import LINES, PEERS, Batch, Candidates, in_turn, sort_out
from stream.ingest.event_ids import SeenIds
from stream.plan.plan import Plan
from stream.plan.segments import Segmenter
from stream.publishing.effects import Effects
from stream.publishing.encoding import Said
from stream.publishing.publisher import Publisher
from stream.publishing.trigger import Occasion
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
        segments = plan.policy.segments
        self.accounts = Accounts(
            len(plan.measures) + len(plan.peers),
            plan.scores,
            self.columns,
            owns or (lambda _account: True),
            Segmenter(segments) if segments else None,
            rules=plan.rules,
            source_of=plan.held_columns,
        )
        self.seen = {} if dedup_ids is None else {source: SeenIds(dedup_ids) for source in METRIC_SOURCES}
        self.as_of: int | None = None
        self.judged_ms: int | None = None
        """Newest time by which events are judged late. After a crash in mid-commit `as_of` may be ahead of it, as rows
        were; what is replayed is still judged as it was the first time."""
        self.position = dict.fromkeys(LINES, 0)
        """Offset from which each source has not been settled yet."""
        self.settled: Counter[tuple[str, str]] = Counter()
        """Outcomes by (source, outcome), each record once, across restarts."""
        self._folder = Folder(plan, self.accounts, self.columns)
        self.watermarks = self._folder.watermarks
        self.stalls = Stalls(plan, self.watermarks, partition)
        self.alerter = Alerter(plan, self.accounts, self.columns, partition)
        self.peers = Peers(plan)
        self._makes_tables = bool(plan.peers) and owns is None
        self.scorer = Scorer(plan, self.accounts, self.columns, self.stalls, self.peers)
        self.publisher = Publisher(plan, self.accounts, self.peers)
        self._stalled: tuple[str, ...] = ()
        self._restate = False
        self._swept = NEVER
        self._stale = False

    # -- time ---------------------------------------------------------------------------------------------------------

    @property
    def _clocked(self) -> bool:
        """Whether days alone may change what is said of an account."""
        accounts, plan = self.accounts, self.plan
        return plan.clocked or plan.minds_borders or bool(self.stalls or accounts.overrides or accounts.words)

    def _advance(self, as_of_ms: int) -> None:
        """Move the moment of scores forward; never back."""
        if self.as_of is not None and as_of_ms <= self.as_of:
            return
        if self.as_of is None or pane_of(as_of_ms, self.plan.border_unit) > pane_of(self.as_of, self.plan.border_unit):
            self.scorer.advance(as_of_ms)
            self._stale = True
            if self.stalls:
                self.as_of = as_of_ms
                self._note_stalls(at_border=True)
        self.as_of = as_of_ms

    def _note_stalls(self, *, at_border: bool) -> None:
        """Learn which sources have stalled or come again; at a border all accounts are told anew of what changed.

        Between borders not: what comes again brings what it missed, account by account, and old scores are better than
        scores of accounts whose events are still to come.
        """
        assert self.as_of is not None
        stalled = self.stalls.stalled(self.as_of)
        self._restate |= stalled != self._stalled
        self._stalled = stalled
        if at_border and self._restate:
            self._restate = False
            self.accounts.unsent[self.accounts.alive()] = True

    def _sweep_until(self, border: int, mode: Mode, effects: Effects) -> None:
        """Score all accounts at every border up to and including number `border`."""
        if self.as_of is None:
            return
        first = max(self._swept + 1, segment_of(self.as_of, self.plan.border_unit))
        # When the longest window has passed with no event, every pane is empty and only a new day can change anything.
        spent = (
            first + max(panes * UNIT_MS[unit] for unit, panes in self.plan.longest.items()) // self.plan.border_ms + 1
        )
        for number in range(first, (border if self._clocked else min(border, spent)) + 1):
            if number > spent and not self.plan.minds_borders and number * self.plan.border_ms % UNIT_MS["day"]:
                continue
            self._advance(number * self.plan.border_ms)
            alive = self.accounts.alive()
            scored = None
            if self.plan.minds_borders:
                scored = self.scorer.pass_border(alive, number * self.plan.border_ms, self._stalled)
            if mode is not Mode.CONFLATED:
                self._publish(alive, mode, effects, Occasion.BORDER, scored)
                self._stale = False
            if self._makes_tables and number * self.plan.border_ms % UNIT_MS["day"] == 0:
                self._meet(self.scorer.table(number * self.plan.border_ms), mode, effects)
        if border >= first:
            self._advance(border * self.plan.border_ms)
            self._swept = border

    def tick(self, now_ms: int) -> Effects:
        """Let the clock pass every border up to `now_ms`, for a partition that is idle in live use."""
        effects = Effects()
        self._sweep_until(now_ms // self.plan.border_ms, Mode.HEAD, effects)
        self.judged_ms = self.as_of
        return effects

    def settle(self, as_of_ms: int) -> Effects:
        """Let time pass up to a moment that need not be a border, and score every account there."""
        effects = Effects()
        self._sweep_until(as_of_ms // self.plan.border_ms, Mode.HEAD, effects)
        self._advance(as_of_ms)
        self.judged_ms = self.as_of
        self._publish(self.accounts.alive(), Mode.HEAD, effects, Occasion.TIME)
        return effects

    # -- events -------------------------------------------------------------------------------------------------------

    def step(self, batches: Sequence[Batch], mode: Mode, now_ms: int | None) -> Effects:
        """Take in batches that belong together (see `stream.ingest.merge`), publish what `mode` says.

        `now_ms` is the clock that tells future events; None lets every time pass.
        """
        effects = Effects()
        for turn in in_turn(batches):
            self._take_in(turn.batches, mode, now_ms, effects)
            if turn.table is not None and turn.offset >= self.position[PEERS]:
                self._meet(turn.table, mode, effects)
        self._count(effects)
        for batch in batches:
            name = LINES[batch.fence]
            self.position[name] = max(self.position[name], batch.end)
        return effects

    def _take_in(self, batches: Sequence[tuple[int, Batch]], mode: Mode, now_ms: int | None, effects: Effects) -> None:
        """Take in batches with their numbers in the step."""
        parts: list[Candidates] = []
        profiles: list[Candidates] = []
        for at, batch in batches:
            position = self.position[LINES[batch.fence]]
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
            self._learn_alone(profiles, mode, effects)

    def _meet(self, table: PeersMessage, mode: Mode, effects: Effects) -> None:
        """Score all accounts by new tables of peers."""
        if not self.peers.take(table):
            return
        if mode is Mode.CONFLATED and self.as_of is not None:
            self._stale = True
            return
        if self.as_of is not None:
            self._publish(self.accounts.alive(), mode, effects, Occasion.TIME)
        self._stale = self.peers.fresh = False

    def _count(self, effects: Effects) -> None:
        for (source, outcome), count in effects.outcomes.items():
            if outcome != "replayed":
                self.settled[source, "applied" if outcome == "fenced" else outcome] += count
        for source in METRIC_SOURCES:
            # A fenced record is new to the tally but not to the row: to the outside it is a replay.
            count = effects.outcomes.pop((source, "fenced"), 0)
            if count:
                effects.outcomes[source, "replayed"] += count

    def _learn_alone(self, profiles: list[Candidates], mode: Mode, effects: Effects) -> None:
        """Profiles in a step without events."""
        for part in profiles:
            rows = np.unique(self._folder.learn(part, slice(None)))
            if len(rows) and mode is not Mode.CONFLATED and self.as_of is not None:
                self._publish(rows, mode, effects, Occasion.EVENTS)

    def _apply(self, parts: list[Candidates], profiles: list[Candidates], mode: Mode, effects: Effects) -> None:
        profiles = [part for part in profiles if len(part.rows)]
        order, times = merge_order([*parts, *profiles])
        running = np.maximum.accumulate(times)
        if profiles:
            # A profile moves no clock. One before every event of the step holds now, or else with the first event.
            running[running == NEVER] = times[times != NEVER][0] if self.as_of is None else self.as_of
            times = np.where(times == NEVER, running, times)
        judged = running if self.judged_ms is None else np.maximum(running, self.judged_ms)
        late = too_late(self.plan.longest, times, judged)
        self.judged_ms = int(judged[-1])
        if self.as_of is not None:
            running = np.maximum(running, self.as_of)
        segments = segments_of(running, self.plan.border_unit)
        at_places = places([*parts, *profiles], order)
        folds = []
        for part, at in zip(parts, at_places, strict=False):
            self._folder.tally(part, late[at], self.position[LINES[part.batch.fence]], effects)
            folds.append(self._folder.prepare(part, late[at], running[at], segments[at]))
        learned = [Learning(part, segments[at]) for part, at in zip(profiles, at_places[len(parts) :], strict=True)]
        cut = mode is not Mode.CONFLATED or self.plan.minds_borders or self._makes_tables
        one = not cut or segments[0] == segments[-1]
        numbers = [int(segments[-1])] if one else np.unique(segments).tolist()
        for number in numbers:
            if cut:
                self._sweep_until(number - 1, mode, effects)
            # Before time moves on: a source heard of for the first time must not lose its events to the moment.
            self._folder.watch(folds, number)
            self._advance(int(running[np.searchsorted(segments, number, side="right") - 1]))
            if self.stalls:
                self.scorer.advance(self.as_of or 0)
                self._note_stalls(at_border=False)
            touched = [rows for fold in folds if len(rows := self._folder.fold(fold, number))]
            touched += [rows for part in learned if len(rows := self._folder.learn(part.profiles, part.until(number)))]
            if mode is not Mode.CONFLATED and touched:
                rows = touched[0] if len(touched) == 1 else np.concatenate(touched)
                self._publish(np.unique(rows), mode, effects, Occasion.EVENTS)

    # -- scores -------------------------------------------------------------------------------------------------------

    def score(self, rows: Rows) -> Scored:
        """Scores of rows as of now."""
        assert self.as_of is not None
        return self.scorer.score(rows, self.as_of)

    def ahead(self, rows: Rows, borders: Iterable[int]) -> Iterator[tuple[int, Scored]]:
        """Scores of rows at `borders` (epoch ms, ascending) as if no event came any more."""
        return self.scorer.ahead(rows, borders, self._stalled)

    def _publish(
        self, rows: Rows, mode: Mode, effects: Effects, occasion: Occasion, scored: Scored | None = None
    ) -> None:
        """Say what there is to say of rows, which may have been `scored` as of now already."""
        if not len(rows):
            return
        assert self.as_of is not None
        accounts = self.accounts
        scored = self.score(rows) if scored is None else scored
        moved = self.publisher.note(rows, scored)
        said = self.publisher.said(rows, scored, self.as_of, catching_up=mode is not Mode.HEAD, stalled=self._stalled)
        self.publisher.go_on(said)
        if accounts.alerts.orphans:
            self.alerter.end_orphans(said, effects)
        if mode is not Mode.CONFLATED:
            # Before the changes, which make what is said now the baseline of the next.
            self.alerter.tell(said, effects, occasion)
            if self.stalls or self.stalls.told:  # what a policy before this one has told comes to its end
                self.stalls.tell(self.as_of, effects)
        self.publisher.changes(said, effects, moved=moved, swept=occasion is not Occasion.EVENTS)
        accounts.on_time[rows] = False
        accounts.touched[rows] = False
        accounts.pulse[rows] = False
        if mode is not Mode.EXACT:
            unsent = accounts.unsent[rows]
            if unsent.any():
                self.publisher.scores(said if unsent.all() else said.pick(unsent), effects)

    def flush(self, mode: Mode) -> Effects:
        """Publish what conflation has held back: one change and one score an account. Called before every save."""
        effects = Effects()
        if self.as_of is None:
            return effects
        accounts = self.accounts
        told = Mode.HEAD if mode is Mode.HEAD else Mode.CONFLATED
        waiting = accounts.touched | accounts.unsent
        if mode is Mode.CONFLATED and self._stale:
            alive = accounts.alive()
            self._publish(alive[~waiting[alive]], told, effects, Occasion.TIME)
            self._stale = self.peers.fresh = False
        rows = np.flatnonzero(waiting & (accounts.applied > 0))
        self._publish(rows, told, effects, Occasion.EVENTS)
        return effects

    def arrive(self) -> Effects:
        """One exact sweep on reaching the head: held alerts fire if they are still true."""
        effects = Effects()
        if self.as_of is not None:
            self._publish(self.accounts.alive(), Mode.HEAD, effects, Occasion.ARRIVAL)
            self._stale = False
            # A border at this very moment has not passed yet: events of the same time may still come.
            self._swept = max(self._swept, segment_of(self.as_of, self.plan.border_unit) - 1)
        return effects

    def restart(self, as_of_ms: int, clocks: Mapping[str, int]) -> None:
        """Set the moment of an empty engine, so that rows can be loaded; `clocks` (ms) of sources that can stall."""
        assert not len(self.accounts), "only an empty engine restarts"
        self.stalls.clocks.update(clocks)
        self._advance(as_of_ms)

    def current(self, rows: Rows | None = None) -> Effects:
        """The score message of rows, or of every account, as of now, whether it was sent before or not."""
        effects = Effects()
        rows = self.accounts.alive() if rows is None else rows
        if self.as_of is not None and len(rows):
            self.publisher.scores(self.said(rows), effects)
        return effects

    def said(self, rows: Rows) -> Said:
        """What there is to say of rows as of now."""
        assert self.as_of is not None
        return self.publisher.said(rows, self.score(rows), self.as_of, catching_up=False, stalled=self._stalled)

    def recast(self) -> None:
        """Score every account anew without publishing, after rows were loaded."""
        if self.as_of is not None:
            alive = self.accounts.alive()
            self.publisher.note(alive, self.score(alive))
            self.accounts.unsent[:] = False
            # A worker that crashed may have told more than it saved: what stands in `health.scores` is not known, so
            # that the first score of every account is sent, whatever it is.
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
