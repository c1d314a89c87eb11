"""Erase accounts: what a control of kind `erase` does to the engine, and what is published about it.

Owns the order of an erasure: open alerts are resolved, the row becomes empty, the account is published as erased, and
everything that could bring it back is forgotten. The engine cuts a step after each such control, so what lies before it
in the log is applied, and what lies after it finds an empty row. An erasure takes effect where it lies in the log,
whatever its own time, and moves no clock. Decision 42 says how that holds through a crash. Called by
`stream.engine.engine`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from stream.accounts.accounts import Accounts
from stream.alerts.emission import AlertEmitter
from stream.columns.columns import Rows
from stream.ingest.batch import ERASE, Candidates
from stream.publishing.effects import Effects, Erased, Forward
from stream.publishing.publisher import Publisher
from stream.scoring.scoring import Scored


class Erasure:
    """Erases accounts of one partition."""

    def __init__(self, accounts: Accounts, publisher: Publisher, alerts: AlertEmitter, *, local: bool) -> None:
        """Nothing is to be erased. With `local` all accounts are in this engine."""
        self._accounts, self._publisher, self._alerts, self._local = accounts, publisher, alerts, local
        self._coming: Counter[str] = Counter()
        """Accounts that the present step erases: what it would publish about them before is not published."""
        self._set_aside: list[tuple[int, Candidates]] = []
        self._credits: dict[int, int] = {}
        """Of restored rows whose erasure a replay may come by again: what it adds to revisions."""

    def load(self) -> None:
        """Begin with rows that were restored."""
        self._credits = dict(self._accounts.before)

    # -- one step -----------------------------------------------------------------------------------------------------

    def begin(self, accounts: Iterable[str]) -> None:
        """Begin a step that has controls that erase these accounts."""
        self._coming.update(accounts)

    def end(self) -> None:
        """End a step. A control that was refused or a repetition has erased nothing: its account is published later."""
        if self._coming:
            self._publisher.baseline.mark_changed(self._coming, self._accounts)
            self._coming.clear()

    def published(self, rows: Rows, scored: Scored | None) -> tuple[Rows, Scored | None]:
        """The rows that may be published, and their scores, if they are known.

        The others are erased by this step, or were before a crash and the replay has not come to it.
        """
        erased = self._publisher.baseline.erased
        if not self._coming and not erased:
            return rows, scored
        silent = (self._accounts.index.get(name) for name in (*self._coming, *erased))
        numbers = [row for row in silent if row is not None]
        selected = np.flatnonzero(~np.isin(rows, numbers))
        return rows[selected], None if scored is None else scored.pick(selected)

    def set_aside(self, number: int, candidates: Candidates) -> Candidates:
        """Set the controls that erase an account aside, for `carry_out`; returns the others.

        `number` is the batch's number in its step.
        """
        erasing = candidates.of_kind(ERASE)
        if erasing is None:
            return candidates
        self._set_aside.append((number, candidates.pick(erasing)))
        return candidates.pick(~erasing)

    def carry_out(
        self, positions: Mapping[str, int], reached: Mapping[str, int], as_of_ms: int, effects: Effects
    ) -> None:
        """Carry out the erasures that were set aside, after all else of their substep.

        `positions` are the offsets by source from which records have not been settled, `reached` those before which
        all records lie before the erasure.
        """
        set_aside, self._set_aside = self._set_aside, []
        for number, candidates in set_aside:
            applied_offsets = np.array([reached[name] for name in self._accounts.sources.of_rows], dtype=np.int64) - 1
            position = positions[candidates.batch.input]
            self._take((number, candidates), position, applied_offsets, as_of_ms, effects)

    def _take(
        self, numbered: tuple[int, Candidates], position: int, applied_offsets: Rows, as_of_ms: int, effects: Effects
    ) -> None:
        number, candidates = numbered
        source, outcomes = candidates.batch.source, effects.outcomes
        columns = zip(
            candidates.rows.tolist(), candidates.offsets.tolist(), candidates.already_applied.tolist(), strict=True
        )
        for index, (row, offset, already_applied) in enumerate(columns):
            if offset < position:
                outcomes[source, "replayed"] += 1
            elif already_applied:
                outcomes[source, "already_applied"] += 1
                self._pass(row)
            elif (sender := candidates.forwarded_by(index)) is not None and not self._is_merged(row, sender):
                outcomes[source, "duplicate"] += 1  # the account was erased before, or counts for another one now
            else:
                outcomes[source, "applied"] += 1
                origins = self._erase(row, applied_offsets, as_of_ms, effects)
                if not self._local:
                    name = self._accounts.index.names[row]
                    effects.forwards += [Forward(number, offset, origin, name) for origin in origins]

    def _pass(self, row: int) -> None:
        """Come by an erasure that the restored row is later than."""
        self._accounts.revision_base += self._credits.pop(row, 0)
        name = self._accounts.index.names[row]
        self._come_by(name)
        self._publisher.baseline.mark_changed([name], self._accounts)

    def _erase(self, row: int, applied_offsets: Rows, as_of_ms: int, effects: Effects) -> list[str]:
        """Erase an account; returns the accounts that were merged into it, of which nothing is left either."""
        name, merges = self._accounts.index.names[row], self._accounts.merges
        origins = list(merges.origins.get(row, {}))
        self._alerts.end_all(row, as_of_ms, effects)
        self._accounts.erase(row, applied_offsets)
        effects.erased.append(Erased(name.encode(), self._come_by(name)))
        for origin in origins if self._local else ():
            merged = self._accounts.index.get(origin)
            if merged is not None and self._is_merged(merged, name):
                self._erase(merged, applied_offsets, as_of_ms, effects)
        return origins

    def _is_merged(self, row: int, account: str) -> bool:
        pointer = self._accounts.merges.into.get(row)
        return pointer is not None and pointer.account == account

    def _come_by(self, name: str) -> bool:
        """Publish again about an account, if no other erasure is to come; returns whether this one was published."""
        if self._coming[name] > 1:
            self._coming[name] -= 1
        else:
            del self._coming[name]
        return self._publisher.baseline.come_by_erasure(name)
