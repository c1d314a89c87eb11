"""Alerts told: which alerts fire, change or end for accounts that have just been scored.

Owns the told life of alerts (`stream.accounts.alert_lifecycle`), storms among them, and what people said of them. It
writes messages to `Effects` and updates `AlertState`; conditions, memory and words are elsewhere. Called by
`stream.engine.engine`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.codecs import encode
from schemas.outputs import Alert
from stream.accounts.accounts import Accounts
from stream.accounts.acknowledgements import Acknowledgement
from stream.accounts.alert_lifecycle import PUBLISHED, AlertInput, Phase, flaps_of, is_open
from stream.alerts.boundary_state import cooling, spent
from stream.alerts.conditions import fall, holds, silent_days
from stream.alerts.messages import Episode, Subject, account_alert, beginning, closed, orphan_alert, reason_of
from stream.alerts.storms import DIGEST, StormWatch
from stream.measures.base import AnyColumn
from stream.plan.plan import Plan
from stream.plan.rules import RulePlan
from stream.publishing.effects import Effects, Message
from stream.publishing.encoding import ScoredBatch
from stream.publishing.trigger import Trigger

Matrix = NDArray[np.bool_]


class _Change(NamedTuple):
    """An alert whose told state changes: place among the rows said, rule, states."""

    place: int
    part: RulePlan
    before: Phase
    after: Phase


class Alerter:
    """Tells the alerts of one partition."""

    def __init__(self, plan: Plan, accounts: Accounts, columns: Sequence[AnyColumn], partition: int | None) -> None:
        """Bind to one policy and one partition."""
        self._plan, self._accounts, self._columns = plan, accounts, columns
        self.storm = StormWatch(plan.policy.storms, partition)
        self._marked = [
            (at, np.array(places, dtype=np.intp), np.array(bands, dtype=np.int8))
            for at in range(len(plan.scores))
            if (pairs := [(part.index, part.band) for part in plan.rules if part.marks_band and part.score == at])
            for places, bands in [zip(*pairs, strict=True)]
        ]
        self._places = {part.name: part.index for part in plan.rules}
        self._others = [part for part in plan.rules if not part.marks_band]

    def tell(self, scored_batch: ScoredBatch, effects: Effects, trigger: Trigger) -> None:
        """Tell what has changed of the alerts of rows."""
        state = self._accounts.alerts
        self.storm.pass_to(scored_batch.as_of_ms, effects)
        if not state.rules:
            return
        before = state.phase[scored_batch.rows]
        wanted = self._wanted(scored_batch, trigger)
        turns = np.where(wanted, np.int8(AlertInput.FIRE), np.int8(AlertInput.CLEAR))
        again = self._listen(scored_batch, before, turns) if self._accounts.acknowledgements else None
        after = PUBLISHED.next(before, turns)
        changed = after != before
        if again is not None:
            changed |= again & is_open(after)
        if changed.any():
            places, rules = np.nonzero(changed)
            found = [
                _Change(place, self._plan.rules[rule], Phase(before[place, rule]), Phase(after[place, rule]))
                for place, rule in zip(places.tolist(), rules.tolist(), strict=True)
            ]
            self._change(scored_batch, found, effects)

    def _wanted(self, scored_batch: ScoredBatch, trigger: Trigger) -> Matrix:
        """Which alerts are to be open, (k, R)."""
        rows, scored, state = scored_batch.rows, scored_batch.scored, self._accounts.alerts
        at_boundary = trigger is Trigger.BOUNDARY
        wanted = np.zeros((len(rows), len(state.rules)), dtype=bool)
        for at, places, bands in self._marked:
            wanted[:, places] = scored.scores[at].bands[:, None] == bands
        for part in self._others:
            if part.boundary_index < 0:
                wanted[:, part.index] = holds(part, rows, scored, state, self._columns, at_boundary=at_boundary)
                continue
            found = state.boundary_phase[rows, part.boundary_index] == Phase.FIRING
            if not at_boundary:
                if trigger is not Trigger.CAUGHT_UP:  # what fired early stays until a border
                    found |= is_open(state.phase[rows, part.index])
                found |= self._early(part, scored_batch)
            wanted[:, part.index] = found
        return wanted

    def _early(self, part: RulePlan, scored_batch: ScoredBatch) -> Matrix:
        """Whether an alert that is not held to fire may do so before the next border, (k,)."""
        rule, rows, state = part.rule, scored_batch.rows, self._accounts.alerts
        if rule.for_ms is not None or rule.kind == "forecast":
            return np.zeros(len(rows), dtype=bool)
        found = holds(part, rows, scored_batch.scored, state, self._columns, at_boundary=False)
        if found.any():
            found &= ~cooling(part, rows, state, scored_batch.as_of_ms)
            found &= ~spent(part, rows, state, scored_batch.as_of_ms)
        return found

    # -- what people said ---------------------------------------------------------------------------------------------

    def _listen(self, scored_batch: ScoredBatch, before: NDArray[np.int8], turns: NDArray[np.int8]) -> Matrix:
        """Let words turn alerts, in place; which are to be told again though their state stays, (k, R)."""
        acknowledgements, again = self._accounts.acknowledgements, np.zeros(before.shape, dtype=bool)
        spoken_of = np.flatnonzero(np.isin(scored_batch.rows, list(acknowledgements)))
        for place, row in zip(spoken_of.tolist(), scored_batch.rows[spoken_of].tolist(), strict=True):
            for rule, acknowledgement in list(acknowledgements[row].items()):
                at = self._places[rule]
                turn = self._turn_of(
                    acknowledgement,
                    scored_batch.as_of_ms,
                    Phase(before[place, at]),
                    due=turns[place, at] == AlertInput.FIRE,
                )
                again[place, at] = acknowledgements.record_published(row, rule)
                if acknowledgement.acknowledged is None and acknowledgement.snoozed is None:
                    acknowledgements.discard(row, rule)
                turns[place, at] = turn
        return again

    @staticmethod
    def _turn_of(acknowledgement: Acknowledgement, as_of_ms: int, before: Phase, *, due: bool) -> AlertInput:
        """The turn of an alert of which something was said; what does not hold any more of the word is forgotten."""
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

    def _change(self, scored_batch: ScoredBatch, changes: Sequence[_Change], effects: Effects) -> None:
        """Take changes into the state, and say them."""
        accounts, state = self._accounts, self._accounts.alerts
        subjects = [self._subject(scored_batch, change.place, change.part.score) for change in changes]
        fired = []
        for change, (_, main) in zip(changes, subjects, strict=True):
            row, at, moment = (
                int(scored_batch.rows[change.place]),
                change.part.index,
                int(scored_batch.moments[change.place]),
            )
            state.phase[row, at] = change.after
            if change.before == Phase.IDLE:
                flaps = flaps_of(int(state.flaps[row, at]), int(state.ended[row, at]), moment)
                state.began[row, at], state.flaps[row, at], state.in_storm[row, at] = moment, flaps, 0
                effects.flaps[change.part.name] += flaps > 0
                fired.append((row, change.part.name, main))
            elif change.after == Phase.IDLE:
                state.ended[row, at] = moment
        if fired:
            rows = np.array([row for row, _, _ in fired], dtype=np.int64)
            what = [(rule, main) for _, rule, main in fired]
            self.storm.note(scored_batch.as_of_ms, state, rows, what, effects, alive=lambda: len(accounts.alive()))
        for change, (subject, _) in zip(changes, subjects, strict=True):
            self._emit(scored_batch, change, subject, effects)
        accounts.dirty[scored_batch.rows[[change.place for change in changes]]] = True

    def _subject(self, scored_batch: ScoredBatch, place: int, score: int) -> tuple[Subject, str]:
        """Whom an alert is about, and the name of the factor that moved the score most, or ""."""
        accounts, row = self._accounts, int(scored_batch.rows[place])
        part, one = self._plan.scores[score], scored_batch.scored.scores[score]
        account = accounts.index.names[row]
        profile = accounts.profiles.get(row)
        deltas = one.parts[place] - accounts.last_published_parts[row, accounts.parts_of[score]]
        reason = reason_of(part.parts, deltas.tolist())
        band = part.score.bands[int(one.bands[place])].name
        segment = None if profile is None else profile.segment
        if scored_batch.scored.segments is not None:
            number = int(scored_batch.scored.segments[place])
            segment = None if number < 0 else self._plan.policy.segments[number].name
        name = profile.name if profile and profile.name else account
        main = part.parts[int(np.abs(deltas).argmax())] if reason else ""
        return Subject(account, name, float(one.values[place]), band, reason, segment), main

    def _emit(self, scored_batch: ScoredBatch, change: _Change, subject: Subject, effects: Effects) -> None:
        accounts, state, part = self._accounts, self._accounts.alerts, change.part
        row, at = int(scored_batch.rows[change.place]), part.index
        if change.before == Phase.IDLE:
            state.in_storm[row, at] = self.storm.open
        episode = Episode(
            int(state.began[row, at]),
            int(state.ended[row, at]) if change.after == Phase.IDLE else None,
            change.after,
            int(state.flaps[row, at]),
            accounts.acknowledgements.get(row, {}).get(part.name),
            DIGEST if state.in_storm[row, at] else None,
            int(scored_batch.revisions[change.place]),
        )
        detail = beginning(part.rule, self._number(scored_batch, change)) if change.after != Phase.IDLE else ""
        self._send(account_alert(part.rule, subject, episode, detail), effects)

    def _number(self, scored_batch: ScoredBatch, change: _Change) -> float:
        """The number with which it is said how a condition holds: a fall, points, a day or days."""
        part, state = change.part, self._accounts.alerts
        rows, scored = scored_batch.rows[[change.place]], scored_batch.scored
        if part.rule.kind == "drop":
            return float(fall(part, rows, scored.pick(np.array([change.place])), state)[0])
        if part.rule.kind == "measure":
            return float(scored.points[change.place, part.measure])
        if part.rule.kind == "forecast":
            return float(state.kind_state[rows[0], part.boundary_index])
        if part.rule.kind == "silent":
            return float(silent_days(part, rows, self._columns)[0])
        return 0.0

    def agree(self, told: Alert, scored_batch: ScoredBatch, place: int, effects: Effects) -> None:
        """Reconcile the last published record of one alert with the state of the row at `place`."""
        accounts, row, at = self._accounts, int(scored_batch.rows[place]), self._places.get(told.rule)
        state, fires = accounts.alerts, told.status == "firing"
        if at is None or not is_open(state.phase[row, at]):
            if fires:
                told = closed(told, int(scored_batch.moments[place]))
                self._send(told, effects)
        elif not fires:
            part, phase = self._plan.rules[at], Phase(state.phase[row, at])
            state.ended[row, at], state.flaps[row, at] = told.ends_at or 0, told.flaps
            self._change(scored_batch, [_Change(place, part, Phase.IDLE, phase)], effects)
            return
        if at is not None:
            # As it was told: another flap than one that readers could count would be told otherwise.
            state.began[row, at], state.flaps[row, at] = told.starts_at, told.flaps
            state.ended[row, at] = told.ends_at or state.ended[row, at]
            accounts.dirty[row] = True

    def end_orphans(self, scored_batch: ScoredBatch, effects: Effects) -> None:
        """Resolve what is open of rules that the policy does not have any more, also while alerts are held."""
        orphans = self._accounts.alerts.removed_rule_alerts
        for place, row in enumerate(scored_batch.rows.tolist()):
            for orphan in orphans.pop(row, ()):
                subject, _ = self._subject(scored_batch, place, 0)
                self._send(orphan_alert(orphan.rule, subject, orphan.began, int(scored_batch.moments[place])), effects)
                self._accounts.dirty[row] = True

    @staticmethod
    def _send(alert: Alert, effects: Effects) -> None:
        effects.alerts.append(Message(alert.account_id.encode(), encode(alert)))
        effects.alerted[alert.rule, alert.status] += 1
