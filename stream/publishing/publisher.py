"""What to say and when: score messages and score changes, for accounts that have just been scored.

Owns the thresholds of publishing and the identity of messages. It updates the baselines in `Accounts` (what was last
said) and nothing else; how it is said is for `stream.publishing.encoding`. Called by `stream.engine.engine`.

A message's id is a hash of the account and of everything its content follows from: fences, revision, border, baseline,
new score. So an id never names two contents, also when a replay groups changes otherwise; and none is told in two lives
of a partition, so that a reader that drops what it had before never drops news.
"""

from __future__ import annotations

import numpy as np
import xxhash
from numpy.typing import NDArray

from schemas.outputs import Cause
from stream.accounts.accounts import NO_BAND, ROW_SOURCES, Accounts
from stream.accounts.overrides import publish_overrides
from stream.columns.columns import Rows
from stream.columns.panes import UNIT_MS
from stream.plan.plan import Plan
from stream.publishing.baseline import Heard
from stream.publishing.effects import Effects, Message
from stream.publishing.encoding import CAUSES, ScoredBatch, Writer
from stream.scoring.peers import Peers
from stream.scoring.scoring import Scored

_SHIFT_DECIMALS = 9


class Publisher:
    """Turns scored rows into messages."""

    def __init__(self, plan: Plan, accounts: Accounts, peers: Peers) -> None:
        """Bind to one policy, one partition's accounts and the tables they go by."""
        self._plan = plan
        self._peers = peers
        self._accounts = accounts
        self._unit_ms = plan.boundary_ms
        self._writer = Writer(plan, accounts)
        self._policy_hash = xxhash.xxh3_64_intdigest(plan.label.encode())
        self.heard = Heard()
        """What readers heard of accounts that have not come as far yet."""
        self._state_dtypes = [_state_dtype(len(part.parts)) for part in plan.scores]

    def note(self, rows: Rows, scored: Scored) -> NDArray[np.bool_] | None:
        """Remember new scores; mark the rows whose `health.scores` record no longer says the truth.

        Returns which rows have come into another segment since they were scored last; None when the policy has none.
        """
        accounts = self._accounts
        before = accounts.values[rows]
        same = (before == scored.values) | (np.isnan(before) & np.isnan(scored.values))
        fresh = accounts.band[rows, 0] == NO_BAND
        accounts.score_pending[rows] |= ~same.all(axis=1) | fresh
        accounts.values[rows] = scored.values
        for at, one in enumerate(scored.scores):
            if self._plan.has_sticky_bands:
                accounts.score_pending[rows] |= accounts.band[rows, at] != one.bands
            accounts.score[rows, at] = one.values
            accounts.band[rows, at] = one.bands
        if scored.segments is None:
            return None
        moved: NDArray[np.bool_] = accounts.segment[rows] != scored.segments
        accounts.score_pending[rows] |= moved
        accounts.segment[rows] = scored.segments
        return np.asarray(moved & ~fresh, dtype=np.bool_)

    def scored_batch(
        self, rows: Rows, scored: Scored, as_of_ms: int, *, catching_up: bool, idle: tuple[str, ...] = ()
    ) -> ScoredBatch:
        """What there is to say of rows, for `changes` and `scores`."""
        moments, revisions = self._moments(rows, as_of_ms), self._revisions(rows, as_of_ms)
        return ScoredBatch(as_of_ms, rows, scored, moments, revisions, catching_up, idle)

    def hear(self, heard: Heard, as_of_ms: int | None) -> None:
        """Learn what readers heard, before the first step of an engine that was restored."""
        self.heard = heard
        if as_of_ms is not None:
            rows = heard.known(self._accounts)
            heard.go_on(rows, self._revisions(rows, as_of_ms), as_of_ms, self._accounts, self._plan)

    def go_on(self, scored_batch: ScoredBatch) -> None:
        """Let what is said of rows that have come as far follow from what readers heard."""
        if self.heard:
            self.heard.go_on(
                scored_batch.rows, scored_batch.revisions, scored_batch.as_of_ms, self._accounts, self._plan
            )

    def changes(
        self, scored_batch: ScoredBatch, effects: Effects, *, moved: NDArray[np.bool_] | None, rescored: bool
    ) -> None:
        """Publish the changes of rows that moved enough or changed band.

        `moved` tells which rows came into another segment, as `note` returned it.
        """
        if self.heard:
            selected = np.flatnonzero(~self.heard.waits(scored_batch.rows, self._accounts))
            scored_batch, moved = scored_batch.pick(selected), None if moved is None else moved[selected]
        accounts, rows = self._accounts, scored_batch.rows
        causes = self._causes(rows, moved, rescored=rescored)
        for at in range(len(self._plan.scores)):
            self._change(scored_batch, at, causes, effects, rescored=rescored)
        if accounts.overrides:
            changed = publish_overrides(rows, accounts, scored_batch.as_of_ms)
            values = self._writer.overrides(scored_batch.pick(changed), self.heard.life)
            effects.changes.extend(map(Message, accounts.index.keys_of(rows[changed]), values))
            effects.causes[self._plan.scores[0].score.name, "override"] += len(values)

    def _causes(self, rows: Rows, moved: NDArray[np.bool_] | None, *, rescored: bool) -> NDArray[np.int8]:
        """What made each row's scores change, as index into `CAUSES`."""
        accounts = self._accounts
        if rescored:
            cause: Cause = "peers" if self._peers.changed else "window"
            causes = np.full(len(rows), CAUSES.index(cause), dtype=np.int8)
        else:
            causes = np.where(accounts.on_time[rows], CAUSES.index("event"), CAUSES.index("late")).astype(np.int8)
            causes[accounts.pulse[rows]] = CAUSES.index("pulse")
        if moved is not None:
            causes[moved] = CAUSES.index("segment")
        return causes

    def _change(
        self, scored_batch: ScoredBatch, at: int, given: NDArray[np.int8], effects: Effects, *, rescored: bool
    ) -> None:
        """The changes of score `at`."""
        accounts, rows, one = self._accounts, scored_batch.rows, scored_batch.scored.scores[at]
        # Rounded, so that a step from 59.1 to 60.1 is one of 1; no step at all is no change, even where 0 is enough.
        shift = np.abs(np.round(one.values - accounts.last_published_score[rows, at], _SHIFT_DECIMALS))
        told = (shift >= self._plan.scores[at].score.min_change) & (shift > 0)
        told |= one.bands != accounts.last_published_band[rows, at]
        selected = np.flatnonzero(told)
        if not selected.size:
            return
        if len(selected) < len(rows):
            scored_batch, given = scored_batch.pick(selected), given[selected]
        identities = list(map(xxhash.xxh3_128_hexdigest, self._states(scored_batch, at, given, rescored=rescored)))
        accounts.dirty[scored_batch.rows] = True
        rows, one = scored_batch.rows, scored_batch.scored.scores[at]
        causes = np.where(accounts.policy_changed[rows, at], CAUSES.index("policy"), given)
        values = self._writer.changes(scored_batch, at, identities, causes)
        effects.changes.extend(map(Message, accounts.index.keys_of(rows), values))
        for cause, count in enumerate(np.bincount(causes, minlength=len(CAUSES)).tolist()):
            if count:
                effects.causes[self._plan.scores[at].score.name, CAUSES[cause]] += count
        accounts.last_published_score[rows, at] = one.values
        accounts.last_published_parts[rows, accounts.parts_of[at]] = one.parts
        accounts.last_published_band[rows, at] = one.bands
        accounts.policy_changed[rows, at] = False

    def scores(self, scored_batch: ScoredBatch, effects: Effects) -> None:
        """Publish the latest score of every given row."""
        values = self._writer.scores(scored_batch)
        effects.scores.extend(map(Message, self._accounts.index.keys_of(scored_batch.rows), values))
        self._accounts.score_pending[scored_batch.rows] = False

    def _moments(self, rows: Rows, as_of_ms: int) -> NDArray[np.int64]:
        """Since when each row's score holds: its last event or the last border, whichever is later."""
        boundary = as_of_ms // self._unit_ms * self._unit_ms
        return np.maximum(self._accounts.last_ms[rows], boundary)

    def _revisions(self, rows: Rows, as_of_ms: int) -> NDArray[np.int64]:
        """Grows with every event applied, every profile taken, every border passed and every table of peers.

        A border counts as the hours since 1970 also where borders are days, so that no change of policy turns it back.
        """
        hours = as_of_ms // self._unit_ms * self._unit_ms // UNIT_MS["hour"]
        return self._accounts.applied[rows] + self._accounts.profile_version[rows] + (hours + self._peers.applied_count)

    def _states(self, scored_batch: ScoredBatch, at: int, causes: NDArray[np.int8], *, rescored: bool) -> list[bytes]:
        """What each row's next message follows from, as bytes: account, position, border, baseline, policy, score.

        The score is there because a crash between member pages and rows lets a replay see members early, and because
        of several scores each has messages of its own.
        """
        accounts, rows, one, dtype = (
            self._accounts,
            scored_batch.rows,
            scored_batch.scored.scores[at],
            self._state_dtypes[at],
        )
        record = np.empty(len(rows), dtype=dtype)
        record["policy"] = self._policy_hash
        record["which"] = at
        record["applied_offsets"] = accounts.applied_offsets[rows]
        record["revision"] = scored_batch.revisions
        record["border"] = scored_batch.as_of_ms // self._unit_ms
        record["score"] = accounts.last_published_score[rows, at]
        record["parts"] = accounts.last_published_parts[rows, accounts.parts_of[at]]
        record["band"] = accounts.last_published_band[rows, at]
        record["to"] = one.values
        record["to_parts"] = one.parts
        record["to_band"] = one.bands
        record["cause"] = causes
        record["flags"][:, 0] = accounts.policy_changed[rows, at]
        record["flags"][:, 1] = rescored
        record["flags"][:, 2] = scored_batch.catching_up
        blob, width, life = record.tobytes(), dtype.itemsize, self.heard.life
        starts = range(0, len(blob), width)
        return [
            blob[start : start + width] + life + key
            for start, key in zip(starts, accounts.index.keys_of(rows), strict=True)
        ]


def _state_dtype(parts: int) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("policy", "<u8"),
            ("which", "<i4"),
            ("applied_offsets", "<i8", (len(ROW_SOURCES),)),
            ("revision", "<i8"),
            ("border", "<i8"),
            ("score", "<f8"),
            ("parts", "<f8", (parts,)),
            ("band", "|i1"),
            ("to", "<f8"),
            ("to_parts", "<f8", (parts,)),
            ("to_band", "|i1"),
            ("cause", "|i1"),
            ("flags", "|b1", (3,)),
        ]
    )
