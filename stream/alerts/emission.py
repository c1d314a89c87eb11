"""Emit alerts: which alerts fire, change or are resolved for accounts that have just been scored.

Owns the published phase of alerts (`stream.accounts.alert_lifecycle`), and how acknowledgements, snoozes and storms
change it. It writes messages to `Effects` and updates `AlertState`. Conditions are in `stream.alerts.conditions`,
boundary state in `stream.alerts.boundary_state`, the messages' form in `stream.alerts.messages`. Called by
`stream.engine.engine`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.codecs import encode
from schemas.outputs import Alert
from stream.accounts.accounts import NO_BAND, Accounts
from stream.accounts.acknowledgements import Acknowledgement
from stream.accounts.alert_lifecycle import PUBLISHED, AlertInput, Phase, flaps_of, is_open
from stream.accounts.reasons import Reason
from stream.accounts.status import Status
from stream.alerts.boundary_state import daily_limit_reached, in_cooldown
from stream.alerts.conditions import fall, holds, silent_days
from stream.alerts.last_fine import SCORE_KINDS, LastFine
from stream.alerts.messages import (
    ERASED,
    ORPHANED,
    Beginning,
    Episode,
    account_alert,
    closed,
    encode_identified,
    firing_text,
    gone_alert,
    orphan_alert,
)
from stream.alerts.phase_changes import PhaseChange, with_worse
from stream.alerts.reasons import reasons_for
from stream.alerts.storms import DIGEST, StormWatch
from stream.alerts.subjects import subjects_of, subjects_of_changes
from stream.columns.sorted_set import slice_of
from stream.measures.base import AnyColumn
from stream.plan.plan import Plan
from stream.plan.rules import RulePlan
from stream.publishing.effects import Effects, Message
from stream.publishing.scored_batch import ScoredBatch
from stream.publishing.trigger import Trigger

Matrix = NDArray[np.bool_]
_Where = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows and columns of `AlertState`, (k,) each."""
_FIRING = np.array(Phase.FIRING, dtype=np.int8)
_PHASES = {int(phase): phase for phase in Phase}
_WITH_NUMBER = frozenset({"drop", "measure", "forecast", "silent"})
"""Kinds of rules whose sentence about a condition has a number, see `AlertEmitter._number`."""


class AlertEmitter:
    """Emits the alerts of one partition."""

    def __init__(self, plan: Plan, accounts: Accounts, columns: Sequence[AnyColumn], partition: int | None) -> None:
        """Bind to one policy and one partition."""
        self._plan, self._accounts, self._columns = plan, accounts, columns
        self.storm = StormWatch(plan.policy.storms, partition)
        self.continued: dict[tuple[str, str], Alert] = {}
        """Alerts that readers have as firing, and not as part of a storm, by account and rule.

        Until they are reconciled, or the episode is over: a later one is news.
        """
        self._band_rules = [
            (score, slice_of(np.array(columns, dtype=np.intp)), np.array(bands, dtype=np.int8))
            for score in range(len(plan.scores))
            if (pairs := [(rule.index, rule.band) for rule in plan.rules if rule.marks_band and rule.score == score])
            for columns, bands in [zip(*pairs, strict=True)]
        ]
        """Rules that fire in one band, by score: columns in `AlertState`, and the bands. Compared all at once."""
        self._about_score = [
            (score, np.array(rules, dtype=np.intp))
            for score in range(len(plan.scores))
            if (rules := [rule.index for rule in plan.rules if rule.score == score and rule.rule.kind != "silent"])
        ]
        """Rules about a score, by score: columns in `AlertState`."""
        self._other_rules = [rule_plan for rule_plan in plan.rules if not rule_plan.marks_band]
        self.last_fine = LastFine(plan, accounts)
        self._firing_texts: dict[int, str] = {}
        self._column_of = {rule_plan.name: rule_plan.index for rule_plan in plan.rules}

    def emit(self, scored_batch: ScoredBatch, effects: Effects, trigger: Trigger) -> None:
        """Publish what changed of the alerts of rows."""
        state = self._accounts.alerts
        self.storm.end_if_over(scored_batch.as_of_ms, effects)
        if not state.rules:
            return
        before = state.phase.take(scored_batch.rows, axis=0)
        wanted = self._wanted(scored_batch, trigger)
        acknowledged = bool(self._accounts.acknowledgements)
        if not acknowledged and not np.count_nonzero(before != wanted * _FIRING):
            return  # nearly always: those that are to be open fire, and no other does
        turns = np.where(wanted, np.int8(AlertInput.FIRE), np.int8(AlertInput.CLEAR))
        again = self._apply_acknowledgements(scored_batch, before, turns) if acknowledged else None
        after = PUBLISHED.next(before, turns)
        changed = after != before
        if again is not None:
            changed |= again & is_open(after)
        if np.count_nonzero(changed):
            positions, columns = np.nonzero(changed)
            phases = zip(before[positions, columns].tolist(), after[positions, columns].tolist(), strict=True)
            changes = [
                PhaseChange(position, self._plan.rules[column], _PHASES[old], _PHASES[new])
                for position, column, (old, new) in zip(positions.tolist(), columns.tolist(), phases, strict=True)
            ]
            self._change(scored_batch, changes, effects)

    def _wanted(self, scored_batch: ScoredBatch, trigger: Trigger) -> Matrix:
        """Which alerts are to be open, (k, R)."""
        rows, scored, state = scored_batch.rows, scored_batch.scored, self._accounts.alerts
        at_boundary = trigger is Trigger.BOUNDARY
        wanted = np.zeros((len(rows), len(state.rules)), dtype=bool)
        for score, columns, bands in self._band_rules:
            wanted[:, columns] = scored.scores[score].bands[:, None] == bands
        all_active = not np.count_nonzero(scored.status != int(Status.ACTIVE))
        if not all_active:
            wanted[scored.status == int(Status.NEW)] = False
        for rule_plan in self._other_rules:
            if rule_plan.boundary_index < 0:
                condition = holds(rule_plan, rows, scored, state, self._columns, at_boundary=at_boundary)
                wanted[:, rule_plan.index] = condition
                continue
            fires = state.boundary_phase[rows, rule_plan.boundary_index] == int(Phase.FIRING)
            if not at_boundary:
                if trigger is not Trigger.CAUGHT_UP:  # an alert that fired between boundaries stays until the next one
                    fires |= is_open(state.phase[rows, rule_plan.index])
                fires |= self._fires_early(rule_plan, scored_batch)
            wanted[:, rule_plan.index] = fires
        if not all_active:
            wanted[scored.status == int(Status.ENDED)] = False
        for score, columns in self._about_score:
            # Also those that would wait for the next boundary: there is no score that they could be about.
            missing = scored.scores[score].bands == NO_BAND
            if np.count_nonzero(missing):
                wanted[np.ix_(missing, columns)] = False
        return wanted

    def _fires_early(self, rule_plan: RulePlan, scored_batch: ScoredBatch) -> Matrix:
        """Whether an alert with boundary state may fire before the next boundary, (k,).

        Rules with `for` and forecast rules never do: their condition is about boundaries.
        """
        rule, rows, state = rule_plan.rule, scored_batch.rows, self._accounts.alerts
        if rule.for_ms is not None or rule.kind == "forecast":
            return np.zeros(len(rows), dtype=bool)
        fires = holds(rule_plan, rows, scored_batch.scored, state, self._columns, at_boundary=False)
        if np.count_nonzero(fires):
            fires &= ~in_cooldown(rule_plan, rows, state, scored_batch.as_of_ms)
            fires &= ~daily_limit_reached(rule_plan, rows, state, scored_batch.as_of_ms)
        return fires

    # -- acknowledgements and snoozes ---------------------------------------------------------------------------------

    def _apply_acknowledgements(
        self, scored_batch: ScoredBatch, before: NDArray[np.int8], turns: NDArray[np.int8]
    ) -> Matrix:
        """Change the turns of alerts that were acknowledged or snoozed, in place.

        Returns which alerts are to be published again though their phase stays, (k, R).
        """
        acknowledgements, again = self._accounts.acknowledgements, np.zeros(before.shape, dtype=bool)
        positions = np.flatnonzero(np.isin(scored_batch.rows, list(acknowledgements)))
        for position, row in zip(positions.tolist(), scored_batch.rows[positions].tolist(), strict=True):
            for rule, acknowledgement in list(acknowledgements[row].items()):
                column = self._column_of[rule]
                phase, due = Phase(before[position, column]), turns[position, column] == AlertInput.FIRE
                turn = self._turn_of(acknowledgement, scored_batch.as_of_ms, phase, due=due)
                again[position, column] = acknowledgements.record_published(row, rule)
                if acknowledgement.acknowledged is None and acknowledgement.snoozed is None:
                    acknowledgements.discard(row, rule)
                turns[position, column] = turn
        return again

    @staticmethod
    def _turn_of(acknowledgement: Acknowledgement, as_of_ms: int, before: Phase, *, due: bool) -> AlertInput:
        """The turn of an alert with an acknowledgement or a snooze; what has expired of these is removed."""
        if acknowledgement.until(as_of_ms) is None:
            acknowledgement.snoozed = None
        if not due or before < Phase.FIRING:
            acknowledgement.acknowledged = None  # it was for an episode that is over
        if not due:
            return AlertInput.CLEAR
        if acknowledgement.snoozed is not None:
            return AlertInput.SNOOZE
        return AlertInput.ACKNOWLEDGE if acknowledgement.acknowledged is not None else AlertInput.FIRE

    # -- messages -----------------------------------------------------------------------------------------------------

    def _change(self, scored_batch: ScoredBatch, changes: Sequence[PhaseChange], effects: Effects) -> None:
        """Update the state of alerts, then publish them, so that a storm that begins here covers all of them."""
        accounts, state = self._accounts, self._accounts.alerts
        changes = with_worse(changes)
        positions = [change.position for change in changes]
        where = rows, columns = scored_batch.rows[positions], np.array([change.rule_plan.index for change in changes])
        reasons = self._reasons(scored_batch, changes, rows.tolist())
        moments = scored_batch.moments[positions].tolist()
        fired = self._update(where, moments, changes, reasons, effects)
        if fired:
            indexes, causes = zip(*fired, strict=True)
            alert_rows, alert_columns = rows[list(indexes)], columns[list(indexes)]
            self.storm.add(scored_batch.as_of_ms, state, alert_rows, causes, effects, listed=accounts.are_listed)
            state.in_storm[alert_rows, alert_columns] = self.storm.open
        self._emit(scored_batch, where, changes, reasons, effects)
        for change, row in zip(changes, rows.tolist(), strict=True):
            if change.ends and change.rule_plan.rule.kind in SCORE_KINDS:
                self.last_fine.restart(row, change.rule_plan.score)
        accounts.dirty[rows] = True

    def _update(
        self,
        where: _Where,
        moments: Sequence[int],
        changes: Sequence[PhaseChange],
        reasons: Sequence[Reason],
        effects: Effects,
    ) -> list[tuple[int, tuple[str, str]]]:
        """Update the state of alerts at their `moments` (ms); of each that fires its index, rule and main factor."""
        accounts, state = self._accounts, self._accounts.alerts
        state.phase[where] = [change.after for change in changes]
        all_began, all_ended, all_flaps = state.began[where], state.ended[where], state.flaps[where]
        in_storm = state.in_storm[where]
        before = zip(all_flaps.tolist(), all_ended.tolist(), where[0].tolist(), strict=True)
        fired = []
        for index, (change, reason, (flaps, ended_ms, row)) in enumerate(zip(changes, reasons, before, strict=True)):
            moment_ms = moments[index] if change.began_ms is None else change.began_ms
            rule = change.rule_plan.name
            if change.before == Phase.IDLE:
                began_ms, in_a_row = moment_ms, flaps_of(flaps, ended_ms, moment_ms)
                if (published := self._continued(row, rule, moment_ms)) is not None:
                    began_ms, in_a_row = published.starts_at, published.flaps
                else:
                    effects.flaps[rule] += in_a_row > 0
                    fired.append((index, (rule, reason.main)))
                all_began[index], all_flaps[index], in_storm[index] = began_ms, in_a_row, 0
                accounts.alert_reasons.record(row, rule, reason)
            elif change.after == Phase.IDLE:
                all_ended[index] = moment_ms
                self._continued(row, rule, moment_ms)
                accounts.alert_reasons.discard(row, rule)
        state.began[where], state.ended[where] = all_began, all_ended
        state.flaps[where], state.in_storm[where] = all_flaps, in_storm
        return fired

    def _continued(self, row: int, rule: str, moment_ms: int) -> Alert | None:
        """The published alert whose episode an alert of `moment_ms` continues or ends; it does so once."""
        if not self.continued:
            return None
        key = (self._accounts.index.names[row], rule)
        published = self.continued.get(key)
        return None if published is None or published.starts_at > moment_ms else self.continued.pop(key)

    def _reasons(self, scored_batch: ScoredBatch, changes: Sequence[PhaseChange], rows: Sequence[int]) -> list[Reason]:
        """Why each alert fires; that of its episode once it is open."""
        accounts = self._accounts
        reasons = [
            None if change.before == Phase.IDLE else accounts.alert_reasons.of(row, change.rule_plan.name)
            for change, row in zip(changes, rows, strict=True)
        ]
        unknown: dict[int, list[int]] = {}
        for index, reason in enumerate(reasons):
            if reason is None:
                unknown.setdefault(changes[index].rule_plan.score, []).append(index)
        for score, indexes in unknown.items():
            positions = [changes[index].position for index in indexes]
            made = reasons_for(scored_batch, positions, score, self._plan.scores[score], accounts)
            for index, reason in zip(indexes, made, strict=True):
                reasons[index] = reason
        return [reason for reason in reasons if reason is not None]

    def _emit(
        self,
        scored_batch: ScoredBatch,
        where: _Where,
        changes: Sequence[PhaseChange],
        reasons: Sequence[Reason],
        effects: Effects,
    ) -> None:
        """Publish alerts whose state is updated, in order."""
        accounts, state = self._accounts, self._accounts.alerts
        revisions = scored_batch.revisions[[change.position for change in changes]].tolist()
        of_state = [array[where].tolist() for array in (state.began, state.ended, state.flaps, state.in_storm)]
        numbers = zip(where[0].tolist(), *of_state, revisions, strict=True)
        subjects = subjects_of_changes(self._plan, accounts, scored_batch, changes)
        for change, reason, subject, (row, began, ended, flaps, in_storm, revision) in zip(
            changes, reasons, subjects, numbers, strict=True
        ):
            rule, ends = change.rule_plan.rule, change.after == Phase.IDLE
            acknowledgement = accounts.acknowledgements.get(row, {}).get(change.rule_plan.name)
            digest, worse = DIGEST if in_storm else None, None if change.worse is None else change.worse.rule
            end = ended if ends else None
            episode = Episode(began, end, change.after, flaps, acknowledgement, digest, reason, worse, revision)
            alert = account_alert(rule, subject, episode, "" if ends else self._firing_text(scored_batch, change))
            effects.alerts.append(Message(subject.account.encode(), encode_identified(alert, revision)))
            effects.alerted[alert.rule, alert.status] += 1

    def _firing_text(self, scored_batch: ScoredBatch, change: PhaseChange) -> str:
        """How the condition of an alert holds; the same for all accounts where it has no number."""
        rule_plan = change.rule_plan
        if rule_plan.rule.kind in _WITH_NUMBER:
            return firing_text(rule_plan.rule, self._number(scored_batch, change))
        text = self._firing_texts.get(rule_plan.index)
        if text is None:
            text = self._firing_texts[rule_plan.index] = firing_text(rule_plan.rule, 0.0)
        return text

    def _number(self, scored_batch: ScoredBatch, change: PhaseChange) -> float:
        """The number in the sentence about a condition, by the rule's kind: a fall, points, a UTC day or days."""
        rule_plan, state, scored = change.rule_plan, self._accounts.alerts, scored_batch.scored
        rows = scored_batch.rows[[change.position]]
        kind = rule_plan.rule.kind
        if kind == "drop":
            return float(fall(rule_plan, rows, scored.pick(np.array([change.position])), state)[0])
        if kind == "measure":
            return float(scored.points[change.position, rule_plan.measure])
        if kind == "forecast":
            return float(state.kind_state[rows[0], rule_plan.boundary_index])
        if kind == "silent":
            return float(silent_days(rule_plan, rows, self._columns)[0])
        return 0.0

    def ended_ms(self, alert: Alert) -> int | None:
        """When the last episode of an alert's account and rule ended (epoch ms), None while one is open or unknown."""
        row, column = self._accounts.index.get(alert.account_id), self._column_of.get(alert.rule)
        if row is None or column is None or is_open(self._accounts.alerts.phase[row, column]):
            return None
        return int(self._accounts.alerts.ended[row, column])

    def reconcile(self, published: Alert, scored_batch: ScoredBatch, position: int, effects: Effects) -> None:
        """Reconcile an alert's last record from before a crash with the state of the row at `position` of a batch.

        Where one is firing and the other is not, the difference is published. The state takes over the start, flaps and
        storm that were published: readers count flaps by the records they have. The worker before may have saved what
        it held back, and crashed: that is published with the time at which it took place.
        """
        accounts, row, column = self._accounts, int(scored_batch.rows[position]), self._column_of.get(published.rule)
        state, fires = accounts.alerts, published.status == "firing"
        if column is None or not is_open(state.phase[row, column]):
            if fires:
                published = closed(published, int(scored_batch.moments[position]))
                self._send(published, effects)
        elif not fires:
            rule_plan, phase = self._plan.rules[column], Phase(state.phase[row, column])
            ended_ms, began_ms = published.ends_at or 0, int(state.began[row, column])
            state.ended[row, column], state.flaps[row, column] = ended_ms, published.flaps
            change = PhaseChange(
                position, rule_plan, Phase.IDLE, phase, began_ms=began_ms if began_ms > ended_ms else None
            )
            self._change(scored_batch, [change], effects)
            return
        if column is not None:
            state.began[row, column], state.flaps[row, column] = published.starts_at, published.flaps
            state.in_storm[row, column] = published.digest is not None
            state.ended[row, column] = published.ends_at or state.ended[row, column]
            accounts.dirty[row] = True

    def end_orphans(self, scored_batch: ScoredBatch, effects: Effects) -> None:
        """Resolve open alerts of rules that the policy does not have any more, also while catching up."""
        orphans = self._accounts.alerts.removed_rule_alerts
        for position, row in enumerate(scored_batch.rows.tolist()):
            for orphan in orphans.pop(row, ()):
                (subject,) = subjects_of(self._plan, self._accounts, scored_batch, [position], 0)
                ended_ms = int(scored_batch.moments[position])
                self._send(orphan_alert(orphan.rule, subject, orphan.began, ended_ms), effects)
                self._accounts.dirty[row] = True

    def end_all(self, row: int, as_of_ms: int, effects: Effects, *, why: str = ERASED) -> None:
        """Resolve all open alerts of an account that is erased or merged, and forget what is known of it."""
        accounts, state = self._accounts, self._accounts.alerts
        account = accounts.index.names[row]
        gone = [(orphan.rule, ORPHANED, Beginning(orphan.began)) for orphan in state.removed_rule_alerts.get(row, ())]
        for rule_plan in self._plan.rules:
            index = rule_plan.index
            if is_open(state.phase[row, index]):
                digest = DIGEST if state.in_storm[row, index] else None
                began = Beginning(int(state.began[row, index]), int(state.flaps[row, index]), digest)
                gone.append((rule_plan.name, rule_plan.rule.severity, began))
        for rule, severity, began in gone:
            self._send(gone_alert(account, rule, severity, began, as_of_ms, why=why), effects)
        self.continued = {key: alert for key, alert in self.continued.items() if key[0] != account}
        self.storm.forget(row)

    @staticmethod
    def _send(alert: Alert, effects: Effects) -> None:
        effects.alerts.append(Message(alert.account_id.encode(), encode(alert)))
        effects.alerted[alert.rule, alert.status] += 1
