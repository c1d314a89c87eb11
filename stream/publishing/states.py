"""The fields of a message that an account has which is silent, new, without data or ended.

Owns their JSON, which is added to messages that are complete otherwise: few accounts have them. Called by
`stream.publishing.encoding` (scores) and `stream.publishing.publisher` (changes).
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.outputs import LastScore
from stream.accounts.accounts import NO_BAND, Accounts
from stream.accounts.status import STATES, Status, ended_ms
from stream.columns.columns import NEVER, Rows
from stream.plan.models import ScorePlan
from stream.plan.plan import Plan
from stream.publishing.decimals import rounded_number
from stream.publishing.scored_batch import ScoredBatch
from stream.publishing.shown import shown_text

_encode = msgspec.json.Encoder().encode


def with_states(value: bytes, state: int, before: int) -> bytes:
    """A score change with the states that the account has now and had before, where these are not "active"."""
    for name, status in ((b"state", state), (b"state_from", before)):
        if STATES[status] is not None:
            value = b'%b,"%b":%b}' % (value[:-1], name, _encode(STATES[status]))
    return value


class StateFields:
    """Adds to score messages why an account is not simply active, and what it had last."""

    def __init__(self, plan: Plan, accounts: Accounts) -> None:
        """Bind to one policy and one partition's accounts."""
        self._plan, self._accounts = plan, accounts

    def add_to(self, values: list[bytes], scored_batch: ScoredBatch) -> None:
        """Add the fields to the score messages of a batch, in place."""
        rows, scored = scored_batch.rows, scored_batch.scored
        new, special = scored.status == int(Status.NEW), scored.status > int(Status.NEW)
        for score in scored.scores:
            special |= score.bands == NO_BAND
        if scored.held is not None:
            special |= scored.held.any(axis=1)
        if np.count_nonzero(new):
            only_new = (new & ~special).nonzero()[0]
            for position, until_ms in zip(only_new.tolist(), self._new_until(rows[only_new]), strict=True):
                values[position] = b'%b,"state":"new","new_until":%d}' % (values[position][:-1], until_ms)
        for position in special.nonzero()[0].tolist():
            values[position] = self._with_state(values[position], position, scored_batch)

    def _with_state(self, value: bytes, position: int, scored_batch: ScoredBatch) -> bytes:
        """A score message of an account that is silent or not active, or has no value of a score.

        It gets why, and the last scores.
        """
        accounts, row, scored = self._accounts, int(scored_batch.rows[position]), scored_batch.scored
        status = int(scored.status[position])
        if status == Status.NEW:
            until_ms = self._new_until(scored_batch.rows[[position]])[0]
            value = b'%b,"state":"new","new_until":%d}' % (value[:-1], until_ms)
        elif status == Status.ENDED:
            rows = scored_batch.rows[[position]]
            at_ms = int(ended_ms(accounts, accounts.columns, rows, scored_batch.as_of_ms)[0])
            value = b'%b,"state":"ended","ended_at":%d}' % (value[:-1], at_ms)
            if (into := accounts.merges.into.get(row)) is not None:
                value = b'%b,"merged_into":%b}' % (value[:-1], _encode(into.account))
        elif status == Status.NO_DATA:
            last_ms = int(accounts.life_ms[row])
            since = b"" if last_ms == NEVER else b',"last_event_at":%d' % last_ms
            value = b'%b,"state":"no-data"%b}' % (value[:-1], since)
        if scored.held is not None and scored.held[position].any():
            value = self._with_held(value, row, scored.held[position])
        last = self._last(row, [score.bands[position] == NO_BAND for score in scored.scores])
        return b'%b,"last":%b}' % (value[:-1], _encode(last)) if last else value

    def _new_until(self, rows: Rows) -> list[int]:
        """The midnight (epoch ms) at which each row is not new any more."""
        calendar, new_accounts = self._plan.calendar, self._plan.policy.new_accounts
        assert new_accounts is not None, "or no account is new"
        days = calendar.panes_of(self._accounts.first_ms[rows], "day") + new_accounts.min_age_days
        until_ms: list[int] = calendar.starts_ms(days, "day").tolist()
        return until_ms

    def _with_held(self, value: bytes, row: int, held: NDArray[np.bool_]) -> bytes:
        """A score message of a silent account: its last event, and the measures that count as of then."""
        names = [plan.measure.name for plan, counts in zip(self._plan.measures, held.tolist(), strict=True) if counts]
        last_ms = int(self._accounts.life_ms[row])
        return b'%b,"last_event_at":%d,"held":%b}' % (value[:-1], last_ms, _encode(names))

    def _last(self, row: int, missing: list[bool]) -> dict[str, LastScore]:
        """What was published last of the scores that are `missing` a value, by name."""
        scores, bands = self._accounts.last_published_score[row], self._accounts.last_published_band[row]
        return {
            score_plan.score.name: _last_score(score_plan, float(scores[number]), bands[number])
            for number, score_plan in enumerate(self._plan.scores)
            if missing[number] and bands[number] != NO_BAND
        }


def _last_score(score_plan: ScorePlan, value: float, band: int) -> LastScore:
    """A score as it was published last; `band` is its number."""
    score = score_plan.score
    shown = None if score.shown is None else shown_text(value, score.shown)
    return LastScore(rounded_number(value), score.bands[band].name, shown)
