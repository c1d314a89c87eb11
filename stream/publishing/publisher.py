"""Publish score messages and score changes of accounts that have just been scored.

Owns the thresholds of publishing (`min_change`), the causes of changes and the ids of messages. It updates what
`Accounts` keeps as last published. The JSON is written by `stream.publishing.encoding`. Called by
`stream.engine.engine`.

The id of a change is a hash of the account and of everything that its content follows from: applied offsets, revision,
window boundary, the score published before, the new score. So two changes with different content never share an id,
also when a replay batches events otherwise. An id is never used by two generations of a partition either, so a reader
that drops ids it has seen never drops a new change.
"""

from __future__ import annotations

import numpy as np
import xxhash
from numpy.typing import NDArray

from schemas.outputs import Cause
from stream.accounts.accounts import NO_BAND, Accounts
from stream.accounts.overrides import publish_overrides
from stream.accounts.status import Status
from stream.columns.columns import Rows
from stream.columns.panes import UNIT_MS
from stream.plan.plan import Plan
from stream.policy.band_index import rounded_for_bands
from stream.publishing.baseline import Baseline
from stream.publishing.effects import Effects, Message
from stream.publishing.encoding import CAUSES, Writer
from stream.publishing.scored_batch import ScoredBatch
from stream.publishing.states import with_states
from stream.scoring.history import Incomplete
from stream.scoring.peers import Peers
from stream.scoring.scoring import Scored, ScoreOf

_EVENT, _LATE, _PULSE, _POLICY, _STATUS = (
    np.array(CAUSES.index(cause), dtype=np.int8) for cause in ("event", "late", "pulse", "policy", "status")
)
_STATE_SHIFT = 16
"""A change of status has a state in its id, beside the cause; there are fewer causes than this."""


class Publisher:
    """Publishes the scores of one partition."""

    def __init__(self, plan: Plan, accounts: Accounts, peers: Peers) -> None:
        """Bind to one policy, one partition's accounts and the peer tables in use."""
        self._plan = plan
        self._peers = peers
        self._accounts = accounts
        self._boundary_at = plan.boundary_at
        self._writer = Writer(plan, accounts)
        self._policy_hash = xxhash.xxh3_64_intdigest(plan.label.encode())
        self.baseline = Baseline()
        """The accounts that are behind what was published before a crash."""
        self._state_dtypes = [
            _state_dtype(len(score_plan.parts), len(plan.sources.of_rows)) for score_plan in plan.scores
        ]

    def record_scores(self, rows: Rows, scored: Scored) -> NDArray[np.bool_] | None:
        """Record new scores, and mark the rows whose `health.scores` record is out of date.

        Returns which rows changed segment since they were scored last, (k,); None when the policy has no segments.
        """
        accounts = self._accounts
        before, status = accounts.values.take(rows, axis=0), accounts.status[rows]
        differs = (before != scored.values) & ~(np.isnan(before) & np.isnan(scored.values))
        outdated = np.logical_or.reduce(differs, axis=1) | (status != scored.status)  # which it was not before
        accounts.values[rows] = scored.values
        accounts.status[rows] = scored.status
        for number, result in enumerate(scored.scores):
            bands = accounts.band[:, number]
            if self._plan.has_sticky_bands:
                outdated |= bands[rows] != result.bands
            accounts.score[:, number][rows] = result.values
            bands[rows] = result.bands
        moved = None
        if scored.segments is not None:
            moved = accounts.segment[rows] != scored.segments
            outdated |= moved
            accounts.segment[rows] = scored.segments
            moved &= status != int(Status.UNKNOWN)
        accounts.score_pending[rows] |= outdated
        return moved

    def have_moved(self, rows: Rows, scored: Scored) -> NDArray[np.bool_]:
        """Whether a score or band of each row is another than when it was scored last, (k,)."""
        accounts = self._accounts
        moved = np.zeros(len(rows), dtype=np.bool_)
        for number, result in enumerate(scored.scores):
            moved |= (accounts.score[rows, number] != result.values) | (accounts.band[rows, number] != result.bands)
        return moved

    def scored_batch(
        self,
        rows: Rows,
        scored: Scored,
        as_of_ms: int,
        *,
        catching_up: bool,
        idle: tuple[str, ...] = (),
        incomplete: Incomplete = (),
    ) -> ScoredBatch:
        """Scored rows with the moments and revisions to publish, for `changes`, `scores` and alerts."""
        boundary_ms = self._boundary_at(as_of_ms)
        # Since when each score holds: the last event, or the last window boundary, if later.
        moments = np.maximum(self._accounts.last_ms[rows], boundary_ms)
        revisions = self._revisions(rows, boundary_ms)
        return ScoredBatch(as_of_ms, rows, scored, moments, revisions, catching_up, idle, incomplete)

    def load(self, baseline: Baseline, as_of_ms: int | None) -> None:
        """Take what was published before a crash, before the first step of a restored engine."""
        self.baseline = baseline
        baseline.drop_foreign(self._accounts)
        if as_of_ms is not None:
            rows = baseline.rows(self._accounts)
            revisions = self._revisions(rows, self._boundary_at(as_of_ms))
            baseline.rebase(rows, revisions, as_of_ms, self._accounts, self._plan)

    def rebase(self, scored_batch: ScoredBatch) -> None:
        """Rebase rows that have come as far as what was published before a crash, before they are published."""
        if self.baseline:
            rows, revisions = scored_batch.rows, scored_batch.revisions
            self.baseline.rebase(rows, revisions, scored_batch.as_of_ms, self._accounts, self._plan)

    def expire(self) -> None:
        """Rebase all rows that are behind, as far as they have come: nothing is held back any more."""
        self.baseline.expire(self._accounts, self._plan)

    def changes(
        self, scored_batch: ScoredBatch, effects: Effects, *, moved: NDArray[np.bool_] | None, rescored: bool
    ) -> None:
        """Publish the changes of rows that moved enough or changed band.

        `moved` says which rows changed segment, as `record_scores` returned it; `rescored`, whether no event but time
        or a peer table was the trigger.
        """
        if self.baseline:
            selected = np.flatnonzero(~self.baseline.behind(scored_batch.rows, self._accounts))
            scored_batch, moved = scored_batch.pick(selected), None if moved is None else moved[selected]
        accounts, rows = self._accounts, scored_batch.rows
        causes = self._causes(rows, moved, rescored=rescored)
        for number in range(len(self._plan.scores)):
            self._change(scored_batch, number, causes, effects, rescored=rescored)
        if accounts.overrides:
            # Before its first score, an account has no change that an override could be a change of.
            rows = rows[(known := accounts.last_published_band[rows, 0] != NO_BAND)]
            changed = publish_overrides(rows, accounts, scored_batch.as_of_ms)
            values = self._writer.overrides(scored_batch.pick(known).pick(changed), self.baseline.generation)
            effects.changes.extend(map(Message, accounts.index.keys_of(rows[changed]), values))
            effects.causes[self._plan.scores[0].score.name, "override"] += len(values)

    def _causes(self, rows: Rows, moved: NDArray[np.bool_] | None, *, rescored: bool) -> NDArray[np.int8]:
        """The cause of each row's changes, int8 (k,): indexes into `CAUSES`."""
        accounts = self._accounts
        if rescored:
            cause: Cause = "peers" if self._peers.changed else "window"
            causes = np.full(len(rows), CAUSES.index(cause), dtype=np.int8)
        else:
            causes = np.where(accounts.on_time[rows], _EVENT, _LATE)
            causes[accounts.pulse[rows]] = _PULSE
        if moved is not None:
            causes[moved] = CAUSES.index("segment")
        return causes

    def _change(
        self, scored_batch: ScoredBatch, number: int, causes: NDArray[np.int8], effects: Effects, *, rescored: bool
    ) -> None:
        """Publish the changes of score `number`; `causes` (k,) as `_causes` returned them.

        Where it has no value, only that is published, once, with what was published last as the score.
        """
        accounts, rows, result = self._accounts, scored_batch.rows, scored_batch.scored.scores[number]
        missing = result.bands == NO_BAND
        states, any_missing = np.zeros(len(rows), dtype=np.int8), np.count_nonzero(missing) > 0
        if any_missing:
            states = np.where(missing, np.maximum(scored_batch.scored.status, int(Status.NO_DATA)), states)
            result = self._as_published(result, rows, number, missing)
            scored_batch = scored_batch.with_score(number, result)
        turns = states != accounts.last_published_state[:, number][rows]
        # Rounded, so that a step from 59.1 to 60.1 is one of 1; no step at all is no change, even where 0 is enough.
        shift = np.abs(rounded_for_bands(result.values - accounts.last_published_score[:, number][rows]))
        least = self._plan.scores[number].score.min_change
        publish = shift >= least if least > 0 else shift > 0
        publish |= (result.bands != accounts.last_published_band[:, number][rows]) | turns
        if any_missing:
            publish &= result.bands != NO_BAND  # it never had a value
        selected = publish.nonzero()[0]
        if not selected.size:
            return
        if np.count_nonzero(turns):
            causes = np.where(turns, _STATUS, causes)
        if len(selected) < len(rows):
            scored_batch, causes, missing = scored_batch.pick(selected), causes[selected], missing[selected]
            states, turns = states[selected], turns[selected]
        identities = self._states(scored_batch, number, causes + _STATE_SHIFT * states, rescored=rescored)
        accounts.dirty[scored_batch.rows] = True
        rows, result = scored_batch.rows, scored_batch.scored.scores[number]
        policy_changed = accounts.policy_changed[:, number][rows]
        if np.count_nonzero(policy_changed):
            causes = np.where(policy_changed & ~turns, _POLICY, causes)
        hashes = list(map(xxhash.xxh3_128_hexdigest, identities))
        values = self._writer.changes(scored_batch, number, hashes, causes)
        for position in turns.nonzero()[0].tolist():
            before = int(accounts.last_published_state[rows[position], number])
            values[position] = with_states(values[position], int(states[position]), before)
        effects.changes.extend(map(Message, accounts.index.keys_of(rows), values))
        for cause, count in enumerate(np.bincount(causes, minlength=len(CAUSES)).tolist()):
            if count:
                effects.causes[self._plan.scores[number].score.name, CAUSES[cause]] += count
        accounts.last_published_score[:, number][rows] = result.values
        accounts.last_published_parts[:, accounts.parts_of[number]][rows] = result.parts
        accounts.last_published_band[:, number][rows] = result.bands
        accounts.last_published_state[:, number][rows] = states
        accounts.policy_changed[:, number][rows] = policy_changed & missing

    def _as_published(self, result: ScoreOf, rows: Rows, number: int, missing: NDArray[np.bool_]) -> ScoreOf:
        """The result with what was published last of score `number` where it is `missing` (k,)."""
        accounts = self._accounts
        return result._replace(
            values=np.where(missing, accounts.last_published_score[rows, number], result.values),
            bands=np.where(missing, accounts.last_published_band[rows, number], result.bands),
            parts=np.where(
                missing[:, None], accounts.last_published_parts[rows, accounts.parts_of[number]], result.parts
            ),
        )

    def scores(self, scored_batch: ScoredBatch, effects: Effects) -> None:
        """Publish the score message of every row of a batch."""
        values = self._writer.scores(scored_batch)
        effects.scores.extend(map(Message, self._accounts.index.keys_of(scored_batch.rows), values))
        self._accounts.score_pending[scored_batch.rows] = False

    def _revisions(self, rows: Rows, boundary_ms: int) -> NDArray[np.int64]:
        """The revision of each row, (k,): it grows with every event, profile, window boundary and peer table.

        What accounts had that were erased counts for all: an account that comes back does not begin below its own past.
        The last boundary, `boundary_ms`, counts as its hours since 1970 also where boundaries are days: a new policy
        never turns it back.
        """
        hours = boundary_ms // UNIT_MS["hour"]
        base = hours + self._peers.applied_count + self._accounts.revision_base
        return self._accounts.applied[rows] + self._accounts.profile_version[rows] + base

    def _states(
        self, scored_batch: ScoredBatch, number: int, causes: NDArray[np.int8], *, rescored: bool
    ) -> list[bytes]:
        """Everything that each row's next change follows from, as bytes to hash.

        The new score is in it because a crash between member pages and rows lets a replay see members early, and
        because each score of a policy has changes of its own.
        """
        accounts, rows = self._accounts, scored_batch.rows
        result, dtype = scored_batch.scored.scores[number], self._state_dtypes[number]
        record = np.empty(len(rows), dtype=dtype)
        record["policy"] = self._policy_hash
        record["which"] = number
        record["applied_offsets"] = accounts.applied_offsets.take(rows, axis=0)
        record["revision"] = scored_batch.revisions
        record["boundary"] = self._plan.calendar.pane_of(scored_batch.as_of_ms, self._plan.boundary_unit)
        record["score"] = accounts.last_published_score[:, number][rows]
        record["parts"] = accounts.last_published_parts[:, accounts.parts_of[number]][rows]
        record["band"] = accounts.last_published_band[:, number][rows]
        record["to"] = result.values
        record["to_parts"] = result.parts
        record["to_band"] = result.bands
        record["cause"] = causes
        record["policy_changed"] = accounts.policy_changed[:, number][rows]
        record["rescored"] = rescored
        record["catching_up"] = scored_batch.catching_up
        blob, width, generation = record.tobytes(), dtype.itemsize, self.baseline.generation
        starts = range(0, len(blob), width)
        return [
            blob[start : start + width] + generation + key
            for start, key in zip(starts, accounts.index.keys_of(rows), strict=True)
        ]


def _state_dtype(parts: int, inputs: int) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("policy", "<u8"),
            ("which", "<i4"),
            ("applied_offsets", "<i8", (inputs,)),
            ("revision", "<i8"),
            ("boundary", "<i8"),
            ("score", "<f8"),
            ("parts", "<f8", (parts,)),
            ("band", "|i1"),
            ("to", "<f8"),
            ("to_parts", "<f8", (parts,)),
            ("to_band", "|i1"),
            ("cause", "|i1"),
            ("policy_changed", "|b1"),
            ("rescored", "|b1"),
            ("catching_up", "|b1"),
        ]
    )
