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
from stream.columns.sorted_set import slice_of
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
            number: slice_of(np.array([rule.index for rule in rules if rule.score == number], dtype=np.intp))
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
            fine = self._fine_bands[number][scored_batch.scored.scores[number].bands].nonzero()[0]
            if len(fine):
                phases = self._accounts.alerts.phase[scored_batch.rows[fine]][:, columns]
                fine = fine[~np.logical_or.reduce(is_open(phases), axis=1)]
            if len(fine):
                self._follow(number, scored_batch, fine)

    def _follow(self, number: int, scored_batch: ScoredBatch, selected: Selected) -> None:
        """Move score `number` of the rows at positions `selected` of the batch."""
        accounts, now_ms = self._accounts, scored_batch.as_of_ms
        result, rows = scored_batch.scored.scores[number], scored_batch.rows[selected]
        fine_ms, later_ms = accounts.fine_ms[:, number], accounts.later_ms[:, number]
        values, is_old = result.values[selected], now_ms - fine_ms[rows] >= _HALF_MS
        if any_old := np.count_nonzero(is_old):
            expired = (now_ms - fine_ms[rows] >= LONGEST_MS) & (fine_ms[rows] > 0) & (later_ms[rows] > 0)
            self._promote(number, rows[expired])
            is_old = now_ms - fine_ms[rows] >= _HALF_MS
        above = values - accounts.fine_score[:, number][rows]
        best = (fine_ms[rows] == 0) | (above > _EQUAL)
        if any_old:
            # An equal score is taken again only now and then: each reference that moves makes its row be saved.
            best |= (above >= -_EQUAL) & is_old
            second = ~best & is_old
            second &= (later_ms[rows] == 0) | (values > accounts.later_score[:, number][rows] + _EQUAL)
            self._set(_LATER, number, scored_batch, selected[second])
        if np.count_nonzero(best):
            later_ms[rows[best]] = 0
            self._set(_FINE, number, scored_batch, selected[best])

    def _set(self, names: tuple[str, str, str], number: int, scored_batch: ScoredBatch, selected: Selected) -> None:
        accounts, result, rows = self._accounts, scored_batch.scored.scores[number], scored_batch.rows[selected]
        ms, score, parts = (getattr(accounts, name) for name in names)
        ms[:, number][rows], score[:, number][rows] = scored_batch.as_of_ms, result.values[selected]
        parts[:, accounts.parts_of[number]][rows] = result.parts[selected]
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
