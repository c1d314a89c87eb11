"""The engine of one partition: batches of events in, effects out, state in between.

Owns the order of steps. It is synchronous and pure: time is an argument, and what is to be published is returned as
`Effects`. It knows no broker, no clock and no policy text. One engine serves one partition number of every source.
Called by `agents.worker.tasks.processor` (live) and `agents.files.replay` (files).

The order of one step (`step`):

1. `split_at`: cut the batches where a peer table, or a control that erases or merges an account, lies between them.
2. `sort_out`: refuse impossible times, forward accounts of other partitions, drop repeated ids; `sort_out_merged`:
   forward records of merged accounts.
3. `merge_order`: order events and profiles of all sources by record time.
4. `StreamTime.follow`: give every event its stream time and lateness time; `Aggregator.prepare`: drop late events.
5. For each interval between window boundaries that has events:
   a. `_rescore_until`: advance to each boundary before it, move boundary state, rescore and publish all accounts;
      of the last one only accounts with an event now, where a partition is large: the others with `rescore_next`;
   b. advance stream time and columns to the interval's last event;
   c. `Aggregator.aggregate`: add its events to columns and accounts;
   d. `_publish`: score the changed accounts; emit alerts, then changes, then scores.
6. `Erasure.carry_out`, `Merging.carry_out`: erase or merge the account of the control at which the step was cut.
7. Count outcomes and move the settled positions.

In mode `CONFLATED` nothing is published in 5a and 5d: `flush` publishes the accounts that changed often,
`rescore_next` all accounts, some at a time (`stream.engine.rescoring`). The clocks are explained in
`stream.engine.time`.
"""

# long because: the order of one step is in one place, with all that it calls

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum

import numpy as np

from schemas.events import PROFILE_SOURCE
from schemas.peers import PeersMessage
from schemas.plausible_times import EARLIEST_MS
from schemas.sources import PEERS_INPUT
from stream.accounts.accounts import Accounts
from stream.alerts.emission import AlertEmitter
from stream.alerts.idle_sources import IdleSourceAlerts
from stream.columns.columns import NEVER, Rows
from stream.columns.members import Members
from stream.columns.panes import UNIT_MS, Unit
from stream.columns.sorted_set import sorted_set
from stream.columns.things import Things
from stream.engine.erasure import Erasure
from stream.engine.merging import Host, Merging
from stream.engine.rescoring import LOOKED_AT, Moment, Rescoring, changed_often
from stream.engine.scorer import Scorer
from stream.engine.time import StreamTime
from stream.ingest.aggregation import Aggregator, count_settled, final_before, merge_order, unsettled_profiles
from stream.ingest.aliases import claim_aliases
from stream.ingest.batch import Batch, Candidates, refuse_unknown_bands, sort_out
from stream.ingest.cuts import cuts_of, positions_after, split_at
from stream.ingest.event_ids import SeenIds
from stream.ingest.merged_accounts import sort_out_merged
from stream.plan.plan import Plan
from stream.publishing.effects import Effects
from stream.publishing.publisher import Publisher
from stream.publishing.scored_batch import ScoredBatch
from stream.publishing.trigger import Trigger
from stream.scoring.history import History
from stream.scoring.peers import Peers
from stream.scoring.scoring import Scored

SCORED_AT_ONCE = 32_768
"""Accounts that are scored at once after a restore: what is computed of all would be as large as their state."""
_LONGER_DAY: dict[Unit, int] = {"hour": 3, "day": 1}
"""How many boundaries later than its length a window may be empty: its days may be longer than 24 hours."""


class Mode(Enum):
    """How a step is published."""

    HEAD = "head"
    """Window boundaries are kept, everything is published at once, alerts fire."""
    EXACT = "exact"
    """Catching up with boundaries kept: changes and alerts as at the head, scores conflated until `flush`."""
    CONFLATED = "conflated"
    """Catching up: nothing is published until `flush` or `rescore_next`, no alert fires or ends until `caught_up`."""


class Engine:
    """All accounts of one partition number."""

    catching_up = False
    """Whether an account may have changes or alerts that were not published while catching up. Saved."""

    def __init__(
        self,
        plan: Plan,
        *,
        owns: Callable[[str], bool] | None = None,
        dedup_ids: int | None = 200_000,
        partition: int | None = None,
        earliest_ms: int = EARLIEST_MS,
        most_at_once: int | None = None,
    ) -> None:
        """Empty. `owns` says whether an account id hashes here, `dedup_ids` None turns deduplication off.

        Without `owns` all accounts are here; then peer tables are made here too, at every midnight. `partition`
        labels the alerts of no single account. `earliest_ms` is the earliest time of an event. At a boundary more
        than `most_at_once` accounts wait for `rescore_next`; None: none wait.
        """
        self.plan, self.sources, self._earliest_ms, self._most_at_once = plan, plan.sources, earliest_ms, most_at_once
        self.columns = [column.build() for column in plan.columns]
        self._things = [column for column in self.columns if isinstance(column, Things)]
        self.accounts = Accounts(plan, self.columns, owns or (lambda _account: True))
        self.seen = {} if dedup_ids is None else {source: SeenIds(dedup_ids) for source in self.sources.of_events}
        self.position = dict.fromkeys(self.sources.inputs, 0)
        """Offset from which each input has not been settled yet."""
        self._read_up_to: dict[str, int] = {}
        """Offset up to which each input was given to this engine (see `committable`)."""
        self.other_positions: dict[str, int] = {}
        """Restored positions of sources that this policy does not read, kept for a policy that reads them again."""
        self.settled: Counter[tuple[str, str]] = Counter()
        """Outcomes by (source, outcome), each record once, across restarts."""
        idle_after_ms = {source.source: source.after_ms for source in plan.policy.idle_sources}
        self.time = StreamTime(plan.boundary_unit, idle_after_ms, plan.calendar)
        self._aggregator = Aggregator(plan, self.accounts, self.columns, self.time.observe)
        self._detects_idle = bool(idle_after_ms)
        self.idle_source_alerts = IdleSourceAlerts(idle_after_ms, partition)
        self.alert_emitter = AlertEmitter(plan, self.accounts, self.columns, partition)
        self.peers, self.history, self._rescoring = Peers(plan), History(plan, self.columns), Rescoring()
        self.scorer = Scorer(plan, self.accounts, self.columns, self.time, self.peers)
        self.publisher = Publisher(plan, self.accounts, self.peers)
        self._local, self._makes_tables = owns is None, bool(plan.peers) and owns is None
        self.erasure = Erasure(self.accounts, self.publisher, self.alert_emitter, local=self._local)
        self.merging = Merging(self.accounts, self.alert_emitter, self.time, local=self._local)
        self.leftovers: list[bytes] = []
        """Changelog keys of erased accounts that a crash has left: the next snapshot deletes them."""
        self.saved_lateness_ms: int | None = None
        """Lateness time as of the last save: what was late then stays late in a replay. None before the first one."""
        self._idle_changed = self._outdated = False
        """Whether idle sources changed since all accounts were marked; whether time or peers may have moved scores."""
        self._day_shown_ms = NEVER
        """The last midnight after which an event was followed by a score; only with peers."""

    @property
    def as_of(self) -> int | None:
        """Stream time: the moment (epoch ms) that scores are as of; None before the first event."""
        return self.time.as_of_ms

    def committable(self) -> dict[str, int]:
        """The offset to commit for each input that was read since this engine was made.

        After a crash in the middle of a commit `position` can lie ahead of what is read again. Until the records before
        it were read, their ids are not known: another crash must read them once more.
        """
        return {name: min(offset, self.position[name]) for name, offset in self._read_up_to.items()}

    def skip_to(self, name: str, end: int) -> bool:
        """Count an input as read up to `end`, where no records remain before it; return whether that is new."""
        if end <= min(self._read_up_to.get(name, 0), self.position[name]):
            return False
        self._read_up_to[name] = max(end, self._read_up_to.get(name, 0))
        self.position[name] = max(end, self.position[name])
        return True

    # -- events -------------------------------------------------------------------------------------------------------

    def step(self, batches: Sequence[Batch], mode: Mode, now_ms: int | None) -> Effects:
        """Process batches that belong together (see `stream.ingest.merge`), publish what `mode` says.

        `now_ms` is the clock that decides which events lie in the future; None allows every time.
        """
        effects, cuts = Effects(), cuts_of(batches, self.sources)
        if cuts or mode is not Mode.HEAD:
            self._finish_boundary(effects)
        if mode is Mode.CONFLATED:
            self.catching_up = True
            self._rescoring.end_at_head()
        if cuts:
            self.erasure.begin(cut.erases for cut in cuts if cut.erases is not None)
        reached = dict(self.position)
        for substep in split_at(batches, cuts, self.sources):
            self._ingest(substep.batches, mode, now_ms, effects)
            if not cuts:
                break  # nothing to erase or to merge
            self._finish_boundary(effects)  # what is cut for changes accounts otherwise than by records of theirs
            reached = positions_after(reached, [batch for _, batch in substep.batches])
            self.erasure.carry_out(self.position, reached, self.as_of or 0, effects)
            self.merging.carry_out(self.position, reached, self._host(mode, effects), effects)
            cut = substep.cut
            if cut is not None and cut.table is not None and cut.offset >= self.position[PEERS_INPUT]:
                self._apply_peer_table(cut.table, mode, effects)
        self.erasure.end()
        effects.forwards.sort(key=lambda forward: forward.offset)  # an input can have several batches
        count_settled(effects, self.settled)
        self.position.update(positions_after(self.position, batches))
        for batch in batches:
            self._read_up_to[batch.input] = max(batch.end, self._read_up_to.get(batch.input, 0))
        self._fold()
        return effects

    def _host(self, mode: Mode, effects: Effects) -> Host:
        """What merges need in a step."""

        def reach(as_of_ms: int, clocks: Mapping[str, int]) -> None:
            if not as_of_ms:
                return  # no event was applied where the state comes from
            self.time.load(lateness_ms=None, watermarks={}, source_clocks=clocks)
            if self.cuts(mode):
                unit = self.plan.boundary_unit
                self._rescore_until(self.plan.calendar.boundary_number(as_of_ms, unit) - 1, mode, effects)
                self._finish_boundary(effects)  # what is merged changes the account
            self._advance(as_of_ms)
            self._advance_columns()

        def publish(rows: Rows) -> None:
            rows = rows[self.accounts.applied[rows] > 0]
            if len(rows) and mode is not Mode.CONFLATED and self.as_of is not None:
                self._publish(rows, mode, effects, Trigger.EVENTS)

        return Host(reach, publish)

    def _fold(self) -> None:
        """Let columns of things forget what no event can change any more, nor one that is replayed after a crash."""
        lateness_ms = self.time.lateness_ms if self.saved_lateness_ms is None else self.saved_lateness_ms
        if lateness_ms is not None:
            for column in self._things:
                column.fold(final_before(self.plan, lateness_ms))

    def _ingest(self, batches: Sequence[tuple[int, Batch]], mode: Mode, now_ms: int | None, effects: Effects) -> None:
        """Process batches, given with their numbers in the step."""
        events: list[Candidates] = []
        profiles: list[Candidates] = []
        for number, batch in batches:
            position = self.position[batch.input]
            seen = self.seen.get(batch.source)
            candidates = sort_out(
                refuse_unknown_bands(batch, self.plan.band_names),
                number,
                accounts=self.accounts,
                position=position,
                seen=seen,
                now_ms=now_ms,
                effects=effects,
                earliest_ms=self._earliest_ms,
            )
            candidates = sort_out_merged(candidates, number, self.accounts, effects, local=self._local)
            candidates = self.merging.set_aside(number, self.erasure.set_aside(number, candidates))
            if batch.source == PROFILE_SOURCE:
                profiles.append(unsettled_profiles(candidates, position, effects))
                effects.claims += [] if self._local else claim_aliases(profiles[-1], self.accounts)
            elif len(candidates.rows):
                events.append(candidates)
        if events:
            self._apply(events, profiles, mode, effects)
        else:
            self._apply_profiles_alone(profiles, mode, effects)

    def _apply(self, events: list[Candidates], profiles: list[Candidates], mode: Mode, effects: Effects) -> None:
        """Aggregate and publish, interval by interval between window boundaries."""
        profiles = [batch for batch in profiles if len(batch.rows)]
        order, times = merge_order([*events, *profiles], self.sources.index)
        moments = self.time.follow(times, untimed=bool(profiles))
        step = self._aggregator.prepare(events, profiles, order, moments, positions=self.position, effects=effects)
        cut = self.cuts(mode)
        first, last = int(moments.boundaries[0]), int(moments.boundaries[-1])
        for boundary in [last] if first == last or not cut else np.unique(moments.boundaries).tolist():
            if cut:
                self._rescore_until(boundary - 1, mode, effects)
                self._rescore_first((*events, *profiles), moments.as_of_until(boundary), effects)
            self._aggregator.observe(step, boundary)
            self._advance(moments.as_of_until(boundary))
            if self._detects_idle:
                self._advance_columns()
                self._detect_idle(at_boundary=False)
            changed = self._aggregator.aggregate(step, boundary)
            if mode is Mode.CONFLATED:
                self._rescoring.note(changed)
                for rows in changed:
                    self.accounts.times_changed[rows] += 1
            if not changed or (mode is Mode.CONFLATED and not self.plan.peers):
                continue
            rows = sorted_set(changed[0] if len(changed) == 1 else np.concatenate(changed))
            if self.plan.peers:
                self._show_new_day(rows)
            if mode is not Mode.CONFLATED:
                self._publish(rows, mode, effects, Trigger.EVENTS)

    def _show_new_day(self, rows: Rows) -> None:
        """Mark rows with the first events of a day for a score, so that `vitals peers` knows that it has begun."""
        calendar = self.plan.calendar
        midnight_ms = calendar.start_ms(calendar.pane_of(self.time.current_ms(), "day"), "day")
        after = rows[self.accounts.last_ms[rows] > midnight_ms]
        if len(after) and midnight_ms > self._day_shown_ms:
            self.accounts.score_pending[after] = True
            self._day_shown_ms = midnight_ms

    def _apply_profiles_alone(self, profiles: list[Candidates], mode: Mode, effects: Effects) -> None:
        """Apply the profiles of a step without events: no time passes."""
        self._rescore_first(profiles, self.as_of, effects)
        for batch in profiles:
            rows = sorted_set(self._aggregator.apply_profiles(batch))
            if len(rows) and mode is not Mode.CONFLATED and self.as_of is not None:
                self._publish(rows, mode, effects, Trigger.EVENTS)

    def _apply_peer_table(self, table: PeersMessage, mode: Mode, effects: Effects) -> None:
        """Score all accounts by new peer tables."""
        self._finish_boundary(effects)
        if not self.peers.apply(table):
            return
        self._detect_history()
        if mode is Mode.CONFLATED and self.as_of is not None:
            self._outdated = True
            return
        if self.as_of is not None:
            self._publish(self.accounts.alive(), mode, effects, Trigger.TIME)
        self.peers.changed = False
        self._note_all_scored()

    # -- time ---------------------------------------------------------------------------------------------------------

    def cuts(self, mode: Mode) -> bool:
        """Whether steps in this mode are cut at every window boundary they cross."""
        return mode is not Mode.CONFLATED or self.plan.needs_boundaries or self._makes_tables

    def tick(self, now_ms: int, mode: Mode = Mode.HEAD) -> Effects:
        """Pass every window boundary up to `now_ms` (the broker's clock), for a partition that is idle in live use.

        Of a large partition the accounts wait for `rescore_next`.
        """
        effects = Effects()
        if self.cuts(mode):
            self._rescore_until(self.plan.calendar.pane_of(now_ms, self.plan.boundary_unit), mode, effects)
        self.time.close_to_late_events()
        return effects

    def advance_to(self, as_of_ms: int, mode: Mode = Mode.HEAD) -> Effects:
        """Advance to a moment that need not be a window boundary; at the head, publish every account there."""
        effects = self.tick(as_of_ms, mode)
        self._finish_boundary(effects)
        self._advance(as_of_ms)
        self.time.close_to_late_events()
        if mode is not Mode.CONFLATED:
            self._publish(self.accounts.alive(), mode, effects, Trigger.TIME)
        return effects

    def _advance(self, as_of_ms: int) -> None:
        """Move stream time forward, and columns where it enters another pane."""
        if not self.time.advance(as_of_ms):
            return
        self._advance_columns()
        self._outdated = True
        if self._detects_idle:
            self._detect_idle(at_boundary=True)

    def _advance_columns(self) -> None:
        """Bring columns to stream time; where windows are full now that were not, mark all accounts for a new score."""
        self.scorer.advance_columns()
        self._detect_history()

    def _detect_history(self) -> None:
        if self.history.detect(self.peers.as_of_ms):
            self.accounts.score_pending[self.accounts.alive()] = True

    def _detect_idle(self, *, at_boundary: bool) -> None:
        """Detect idle sources; at a window boundary mark all accounts for a new score if these changed.

        Between boundaries accounts are not marked: a source that is back brings what it missed, account by account.
        """
        self._idle_changed |= self.time.detect_idle()
        if at_boundary and self._idle_changed:
            self._idle_changed = False
            self.accounts.score_pending[self.accounts.alive()] = True

    def _note_all_scored(self) -> None:
        """Note that the scores of all accounts are as of now, and published."""
        self._outdated = self.catching_up = False
        self._rescoring.end()

    def _rescore_until(self, boundary: int, mode: Mode, effects: Effects) -> None:
        """Score all accounts at every window boundary up to and including number `boundary`."""
        plan, boundaries = self.plan, self.time.boundaries_until(boundary)
        calendar, unit = plan.calendar, plan.boundary_unit
        if not boundaries:
            return
        self._finish_boundary(effects)
        # When the longest window has passed with no event, every pane is empty and only a new day can change anything.
        longest_ms = max(panes * UNIT_MS[unit] for unit, panes in plan.longest_windows.items())
        empty_from = boundaries[0] + longest_ms // UNIT_MS[unit] + _LONGER_DAY[unit]
        for number in boundaries if self._changes_with_time else self._turning_points(boundaries, empty_from):
            boundary_ms = calendar.start_ms(number, unit)
            if number > empty_from and not plan.needs_boundaries and not calendar.is_midnight(boundary_ms):
                continue
            self._advance(boundary_ms)
            alive = self.accounts.alive()
            if mode is Mode.HEAD and number == boundary and self._is_many(alive):
                self._note_all_scored()  # they are, before the state is saved
                moment = Moment(boundary_ms, self.time.idle)
                self._rescoring.begin(self.accounts.by_last_day(alive), at_head=True, boundary=moment)
            else:
                self._pass_boundary(alive, boundary_ms, mode, effects)
            if self._makes_tables and calendar.is_midnight(boundary_ms):
                self._apply_peer_table(self.scorer.peer_tables(), mode, effects)
        self._advance(calendar.start_ms(boundary, unit))
        self.time.mark_rescored(boundary)

    def _is_many(self, alive: Rows) -> bool:
        """Whether accounts at a window boundary wait for `rescore_next`."""
        return self._most_at_once is not None and len(alive) > self._most_at_once and not self._makes_tables

    def _pass_boundary(self, alive: Rows, boundary_ms: int, mode: Mode, effects: Effects) -> None:
        """Move boundary state of all accounts past the boundary that stream time is at, score and publish them."""
        scored = self.scorer.on_boundary(alive, boundary_ms) if self.plan.needs_boundaries else None
        if mode is not Mode.CONFLATED:
            self._publish(alive, mode, effects, Trigger.BOUNDARY, scored)
            self._note_all_scored()

    def _rescore_first(self, changing: Sequence[Candidates], as_of_ms: int | None, effects: Effects) -> None:
        """Publish accounts as of the boundary that they still wait for, before records of `as_of_ms` change them."""
        if not changing or as_of_ms is None or not self._rescoring.is_of_boundary():
            return
        # All accounts have columns of a source that begins; an event exactly on a boundary is in the pane after it.
        if self.time.enters_pane(as_of_ms) or any(self.time.begins(each.batch.source) for each in changing):
            self._finish_boundary(effects)
            return
        rows = sorted_set(np.concatenate([candidates.rows for candidates in changing]))
        if len(rows := self._rescoring.take_of(rows)):
            self._rescore_of_boundary(rows, effects)

    def _finish_boundary(self, effects: Effects) -> None:
        """Publish all accounts that wait for it as of the last boundary."""
        if self._rescoring.is_of_boundary():
            self._rescore_of_boundary(self._rescoring.take(None), effects)

    def _rescore_of_boundary(self, rows: Rows, effects: Effects) -> None:
        """Score and publish accounts as of the boundary of the rescoring, which stream time may have passed since."""
        self._publish_of_boundary(rows, self._score_of_boundary(rows), effects)

    def _score_of_boundary(self, rows: Rows) -> Scored:
        moment = self._rescoring.boundary
        assert moment is not None, "the rescoring is of a boundary"
        scored = self.scorer.on_boundary(rows, moment.as_of_ms) if self.plan.needs_boundaries else None
        return self.scorer.score(rows, moment.as_of_ms) if scored is None else scored

    def _publish_of_boundary(self, rows: Rows, scored: Scored, effects: Effects) -> None:
        moment = self._rescoring.boundary
        self.alert_emitter.storm.rescored = self._rescoring.taken
        self._publish(rows, Mode.HEAD, effects, Trigger.BOUNDARY, scored, moment=moment)
        self.alert_emitter.storm.rescored = None

    def _turning_points(self, boundaries: range, empty_from: int) -> Iterable[int]:
        """Boundaries up to number `empty_from`, and of those after it the midnights that change an account's status."""
        days = self.accounts.status_days(self.plan.dormant_days)
        calendar, unit = self.plan.calendar, self.plan.boundary_unit
        midnights = calendar.panes_of(calendar.starts_ms(days, "day"), unit).tolist()
        filled = range(boundaries.start, min(boundaries.stop, empty_from + 1))
        return [*filled, *(number for number in midnights if filled.stop <= number < boundaries.stop)]

    @property
    def _changes_with_time(self) -> bool:
        """Whether time alone may change what is published of an account whose windows are empty."""
        accounts, plan = self.accounts, self.plan
        return (
            plan.changes_by_calendar
            or plan.policy.new_accounts is not None
            or plan.needs_boundaries
            or self._detects_idle
            or bool(accounts.overrides or accounts.acknowledgements)
        )

    # -- scores -------------------------------------------------------------------------------------------------------

    def score(self, rows: Rows) -> Scored:
        """Scores of rows as of now."""
        return self.scorer.score(rows)

    def forecast(self, rows: Rows, boundaries: Iterable[int]) -> Iterator[tuple[int, Scored]]:
        """Scores of rows at `boundaries` (epoch ms, ascending) if no event comes."""
        return self.scorer.forecast(rows, boundaries)

    def _publish(
        self,
        rows: Rows,
        mode: Mode,
        effects: Effects,
        trigger: Trigger,
        scored: Scored | None = None,
        *,
        moment: Moment | None = None,
    ) -> None:
        """Publish what changed of rows, which may have been `scored` already; as of now unless a `moment` is named."""
        rows, scored = self.erasure.published(rows, scored)
        if not len(rows):
            return
        assert self.as_of is not None
        accounts, moment = self.accounts, Moment(self.as_of, self.time.idle) if moment is None else moment
        scored = self.scorer.score(rows, moment.as_of_ms) if scored is None else scored
        moved = self.publisher.record_scores(rows, scored)
        scored_batch = self._batch(rows, scored, moment, catching_up=mode is not Mode.HEAD)
        self.publisher.rebase(scored_batch)
        if accounts.alerts.removed_rule_alerts:
            self.alert_emitter.end_orphans(scored_batch, effects)
        if mode is not Mode.CONFLATED:
            # Before the changes: an alert's reason compares with the score that was published last.
            self.alert_emitter.emit(scored_batch, effects, trigger)
            if self._detects_idle or self.idle_source_alerts.open:  # alerts of an earlier policy are resolved
                self.idle_source_alerts.emit(self.time.idle_since(), self.as_of, effects)
        self.publisher.changes(scored_batch, effects, moved=moved, rescored=trigger is not Trigger.EVENTS)
        self.alert_emitter.last_fine.follow(scored_batch)
        accounts.on_time[rows] = False
        accounts.changed[rows] = False
        accounts.times_changed[rows] = 0
        accounts.pulse[rows] = False
        if mode is not Mode.EXACT:
            score_pending = accounts.score_pending[rows]
            if pending := np.count_nonzero(score_pending):
                self.publisher.scores(
                    scored_batch if pending == len(rows) else scored_batch.pick(score_pending), effects
                )

    def flush(self, mode: Mode) -> Effects:
        """Publish what conflation left unpublished. Called before every save.

        While catching up only accounts that changed often since they were published. The others wait until all accounts
        are rescored: at the head, and once there were as many changes as if all had changed often. What waits for the
        rescoring at the head is left to it. That of a boundary is finished.
        """
        effects, accounts = Effects(), self.accounts
        self._finish_boundary(effects)
        if self.as_of is None or self._rescoring.is_at_head():
            return effects
        waiting = (accounts.changed | accounts.score_pending) & (accounts.applied > 0)
        if mode is Mode.CONFLATED and not self.plan.peers:  # peer tables are made of what is published
            waiting &= changed_often(accounts.times_changed)
        published_as = Mode.HEAD if mode is Mode.HEAD else Mode.CONFLATED
        self._publish(np.flatnonzero(waiting), published_as, effects, Trigger.EVENTS)
        if mode is Mode.CONFLATED and self._rescoring.is_due(alive := accounts.alive()):
            self._begin_rescoring(alive, at_head=False)
        return effects

    def caught_up(self, most: int | None = None) -> Effects:
        """Score all accounts on reaching the head; alerts fire where their conditions hold now.

        Of more than `most` accounts the others follow with `rescore_next`.
        """
        if self.as_of is None:
            self.catching_up = False
            return Effects()
        self._begin_rescoring(self.accounts.alive(), at_head=True)
        self.time.mark_rescored_before_now()
        self.catching_up = self.is_rescoring
        return self.rescore_next(most)

    def _begin_rescoring(self, alive: Rows, *, at_head: bool) -> None:
        self._rescoring.begin(self.accounts.by_last_day(alive), at_head=at_head, outdated=self._outdated)
        self._outdated = False

    @property
    def is_rescoring(self) -> bool:
        """Whether accounts wait for `rescore_next`."""
        return bool(self._rescoring)

    @property
    def is_rescoring_at_head(self) -> bool:
        """Whether accounts wait for `rescore_next` that are to be published before the task is left."""
        return self._rescoring.is_at_head()

    @property
    def is_rescoring_of_boundary(self) -> bool:
        """Whether accounts wait for `rescore_next` without which the state cannot be saved."""
        return self._rescoring.is_of_boundary()

    def rescore_next(self, most: int | None = None) -> Effects:
        """Score and publish the next accounts that wait for it, at most `most`; steps may come in between.

        Of a boundary at most so many whose scores have moved, and others, which cost little.
        """
        effects, accounts, rescoring = Effects(), self.accounts, self._rescoring
        if not rescoring:
            return effects  # another engine of the task has accounts left
        if rescoring.boundary is not None:
            self._rescore_next_of_boundary(most, effects)
            return effects
        rows = rescoring.take(most)
        rows = rows[accounts.applied[rows] > 0]  # some may have been erased since
        waiting = accounts.changed[rows] | accounts.score_pending[rows]
        self._publish(rows[waiting], Mode.CONFLATED, effects, Trigger.EVENTS)
        if rescoring.at_head:
            self.alert_emitter.storm.rescored = rescoring.taken
            self._publish(rows, Mode.HEAD, effects, Trigger.CAUGHT_UP)
            self.alert_emitter.storm.rescored = None
        elif rescoring.outdated:
            self._publish(rows[~waiting], Mode.CONFLATED, effects, Trigger.TIME)
        if not rescoring:
            self.peers.changed = False
            self.catching_up &= not rescoring.at_head
        return effects

    def _rescore_next_of_boundary(self, most: int | None, effects: Effects) -> None:
        rows = self._rescoring.take(None if most is None else most * LOOKED_AT)
        scored = self._score_of_boundary(rows)
        moved = np.flatnonzero(self.publisher.have_moved(rows, scored))
        if most is not None and len(moved) > most:
            self._rescoring.put_back(rows[moved[most] :])
            rows, scored = rows[: moved[most]], scored.pick(np.arange(moved[most]))
        self._publish_of_boundary(rows, scored, effects)

    def restart(self, as_of_ms: int) -> None:
        """Set the stream time of an empty engine, so that rows can be loaded."""
        assert not len(self.accounts), "only an empty engine restarts"
        self._advance(as_of_ms)

    def current(self, rows: Rows | None = None) -> Effects:
        """The score message of rows, or of every account, as of now, whether it was published before or not."""
        effects = Effects()
        rows = self.accounts.alive() if rows is None else rows
        if self.as_of is not None and len(rows):
            self.publisher.scores(self.scored_batch(rows), effects)
        return effects

    def scored_batch(self, rows: Rows) -> ScoredBatch:
        """Rows scored as of now, ready to be published."""
        assert self.as_of is not None
        return self._batch(rows, self.score(rows), Moment(self.as_of, self.time.idle), catching_up=False)

    def _batch(self, rows: Rows, scored: Scored, moment: Moment, *, catching_up: bool) -> ScoredBatch:
        return self.publisher.scored_batch(
            rows,
            scored,
            moment.as_of_ms,
            catching_up=catching_up,
            idle=moment.idle,
            incomplete=self.history.incomplete,
        )

    def rescore_without_publishing(self) -> None:
        """Score every account anew without publishing, after rows were loaded."""
        if self.as_of is not None:
            alive = self.accounts.by_last_day(self.accounts.alive())
            for begin in range(0, len(alive), SCORED_AT_ONCE):
                rows = alive[begin : begin + SCORED_AT_ONCE]
                self.publisher.record_scores(rows, self.score(rows))
            self.accounts.score_pending[:] = False
            # A worker that crashed may have published more than it saved: the next score of each account is published.
            self.accounts.values[alive] = np.inf
            self._outdated = False

    def members(self) -> list[Members | Things]:
        """The columns saved in pages of their own."""
        return [column for column in self.columns if isinstance(column, Members | Things)]
