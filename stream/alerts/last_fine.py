"""Last fine: the score and contributions of each account when it was last fine, which alerts are compared with.

An account is fine by a score while no alert about that score is open and its band has no alert. Owns how the reference
follows the score: it is the highest score since the last alert ended or, where that is older than 30 days, the highest
of the last 15 to 30 days. So a slow fall is seen whole, and one that began long ago is not. While an alert is open the
reference stands still. Works on `Accounts`; called by `stream.engine.engine` after alerts were emitted, read by
`stream.alerts.reasons`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.accounts.accounts import Accounts
from stream.accounts.alert_lifecycle import is_open
from stream.columns.columns import Rows
from stream.columns.panes import UNIT_MS
from stream.plan.plan import Plan
from stream.publishing.scored_batch import ScoredBatch

LONGEST_MS = 30 * UNIT_MS["day"]
_HALF_MS = LONGEST_MS // 2
_EQUAL = 1e-9
_FINE = ("fine_ms", "fine_score", "fine_parts")
_LATER = ("later_ms", "later_score", "later_parts")
Selected = NDArray[np.intp]
SCORE_KINDS = ("band", "left", "below", "drop")
"""Kinds of rules whose condition is about the score itself."""


class LastFine:
    """Moves the references of one partition's accounts."""

    def __init__(self, plan: Plan, accounts: Accounts) -> None:
        """Bind to one policy and one partition."""
        self._accounts = accounts
        rules = [rule for rule in plan.rules if rule.rule.kind in SCORE_KINDS]
        self._rules_of = {
            number: np.array([rule.index for rule in rules if rule.score == number], dtype=np.intp)
            for number in sorted({rule.score for rule in plan.rules})
        }
        """Columns in `AlertState` of the rules about each score that has alerts."""
        self._fine_bands = {
            number: np.array([*([True] * len(plan.scores[number].score.bands)), False]) for number in self._rules_of
        }
        """Whether each band, and none as the last one, is fine: has no alert, open or not.

        A new account has no open one, and none begins while catching up.
        """
        for rule in plan.rules:
            if rule.marks_band:
                self._fine_bands[rule.score][rule.band] = False

    def follow(self, scored_batch: ScoredBatch) -> None:
        """Move the references of a batch that was published, and whose alerts were emitted."""
        for number, columns in self._rules_of.items():
            rows = scored_batch.rows
            fine = ~is_open(self._accounts.alerts.phase[np.ix_(rows, columns)]).any(axis=1)
            fine &= self._fine_bands[number][scored_batch.scored.scores[number].bands]
            if fine.any():
                self._follow(number, scored_batch, np.flatnonzero(fine))

    def _follow(self, number: int, scored_batch: ScoredBatch, selected: Selected) -> None:
        """Move score `number` of the rows at positions `selected` of the batch."""
        accounts, now_ms = self._accounts, scored_batch.as_of_ms
        result, rows = scored_batch.scored.scores[number], scored_batch.rows[selected]
        values, age = result.values[selected], now_ms - accounts.fine_ms[rows, number]
        expired = (age >= LONGEST_MS) & (accounts.fine_ms[rows, number] > 0) & (accounts.later_ms[rows, number] > 0)
        if expired.any():
            self._promote(number, rows[expired])
            age = now_ms - accounts.fine_ms[rows, number]
        # An equal score is taken again only now and then: each reference that moves makes its row be saved.
        above = values - accounts.fine_score[rows, number]
        best = (accounts.fine_ms[rows, number] == 0) | (above > _EQUAL) | ((above >= -_EQUAL) & (age >= _HALF_MS))
        second = ~best & (age >= _HALF_MS)
        second &= (accounts.later_ms[rows, number] == 0) | (values > accounts.later_score[rows, number] + _EQUAL)
        accounts.later_ms[rows[best], number] = 0
        for names, chosen in ((_FINE, best), (_LATER, second)):
            if chosen.any():
                self._set(names, number, scored_batch.pick(selected[chosen]))

    def _set(self, names: tuple[str, str, str], number: int, scored_batch: ScoredBatch) -> None:
        accounts, rows, result = self._accounts, scored_batch.rows, scored_batch.scored.scores[number]
        ms, score, parts = (getattr(accounts, name) for name in names)
        ms[rows, number], score[rows, number] = scored_batch.as_of_ms, result.values
        parts[rows, accounts.parts_of[number]] = result.parts
        accounts.dirty[rows] = True

    def _promote(self, number: int, rows: Rows) -> None:
        """Replace references that are too old by the highest score of the second half of that time."""
        accounts, columns = self._accounts, self._accounts.parts_of[number]
        accounts.fine_ms[rows, number] = accounts.later_ms[rows, number]
        accounts.fine_score[rows, number] = accounts.later_score[rows, number]
        accounts.fine_parts[rows, columns] = accounts.later_parts[rows, columns]
        accounts.later_ms[rows, number] = 0
        accounts.dirty[rows] = True

    def restart(self, row: int, number: int) -> None:
        """Forget the reference of an account: an alert about the score has ended."""
        accounts, columns = self._accounts, self._rules_of[number]
        if not is_open(accounts.alerts.phase[row, columns]).any():
            accounts.fine_ms[row, number] = accounts.later_ms[row, number] = 0
