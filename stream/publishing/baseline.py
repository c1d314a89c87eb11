"""Published baseline: the last changes that a worker published of each account and did not commit before it crashed.

Owns which accounts are behind what was published, and how a row takes over the last published score. The next worker
applies the same events again, in batches of its own. It publishes no change of an account until the account has come as
far as its last published change; then that change becomes the baseline of the next one. So readers see one chain of
changes. Pure; called by `stream.publishing.publisher`, filled by `stream.recovery.reconciler`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.outputs import ScoreChange
from schemas.records import UnreadableError, read_message
from stream.accounts.accounts import NO_BAND, Accounts
from stream.accounts.overrides import rebase_override
from stream.accounts.status import STATES, Status
from stream.columns.columns import Rows
from stream.plan.plan import Plan

_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Header(msgspec.Struct):
    """The fields of a change that are read when it is loaded; the others are read when an account is rebased."""

    account_id: str
    score: str
    cause: str
    revision: _Integer
    time: _Integer


@dataclass(slots=True)
class _Published:
    """What was published of one account: the last change of each score and of its override, and the largest revision.

    Changes are kept as JSON until they are needed.
    """

    revision: int = 0
    time_ms: int = 0
    changes: dict[str, bytes] = field(default_factory=dict)
    override: bytes | None = None


class Baseline:
    """The accounts that are behind their last published change; false when there are none."""

    def __init__(self, records: Iterable[tuple[bytes | None, bytes | None]] = (), end: int = 0) -> None:
        """Load value and key of each `health.score-changes` record of a partition published after the last commit.

        `end` is the offset after them. A value that is not a change is skipped. A tombstone says that the account was
        erased: what was published before it does not count.
        """
        self.generation = b"%d" % end if end else b""
        """Bytes that differ between the generations of a partition that published changes; part of a change's id."""
        self._published: dict[str, _Published] = {}
        self.erased: dict[str, int] = {}
        """How often an account's erasure was published: nothing about it is, until the engine has come by all."""
        for value, key in records:
            if value is None and key:
                name = key.decode(errors="replace")
                self._published.pop(name, None)
                self.erased[name] = self.erased.get(name, 0) + 1
                continue
            try:
                header = read_message(_Header, value)
            except UnreadableError:
                continue
            published = self._published.setdefault(header.account_id, _Published())
            published.revision = max(published.revision, header.revision)
            published.time_ms = max(published.time_ms, header.time)
            if header.cause == "override":
                published.override = value
            else:
                published.changes[header.score] = value or b""

    def __bool__(self) -> bool:
        return bool(self._published or self.erased)

    @property
    def until_ms(self) -> int:
        """The largest time (epoch ms) of the changes of accounts that are still behind."""
        return max((published.time_ms for published in self._published.values()), default=0)

    def behind(self, rows: Rows, accounts: Accounts) -> NDArray[np.bool_]:
        """Which rows are behind their last published change, (k,): no change of them may be published."""
        names = map(accounts.index.names.__getitem__, rows.tolist())
        return np.fromiter((name in self._published for name in names), dtype=np.bool_, count=len(rows))

    def rows(self, accounts: Accounts) -> Rows:
        """The rows that are behind and known to the engine, ascending, int64 (k,)."""
        known = (accounts.index.get(name) for name in self._published)
        return np.array(sorted(row for row in known if row is not None), dtype=np.int64)

    def rebase(self, rows: Rows, revisions: NDArray[np.int64], as_of_ms: int, accounts: Accounts, plan: Plan) -> None:
        """Rebase the rows that have come as far: `revisions` (k,) are theirs now, `as_of_ms` is stream time (epoch ms).

        Rebased rows take the last published score, band and contributions as their baseline.
        """
        for row, revision in zip(rows.tolist(), revisions.tolist(), strict=True):
            name = accounts.index.names[row]
            published = self._published.get(name)
            if published is not None and published.revision <= revision and published.time_ms <= as_of_ms:
                _rebase(row, published, accounts, plan)
                del self._published[name]

    def expire(self, accounts: Accounts, plan: Plan) -> None:
        """Rebase all rows, as far as they have come; accounts that the engine does not know are dropped."""
        self.mark_changed(self.erased, accounts)
        self.erased.clear()
        for row in self.rows(accounts).tolist():
            _rebase(row, self._published[accounts.index.names[row]], accounts, plan)
        self._published.clear()

    def drop_foreign(self, accounts: Accounts) -> None:
        """Forget erasures of accounts of other partitions: each partition gets tombstones of all."""
        self.erased = {name: count for name, count in self.erased.items() if accounts.index.owns(name)}

    def come_by_erasure(self, name: str) -> bool:
        """Count an erasure that the engine has come by; returns whether it was published."""
        left = self.erased.pop(name, 0)
        if left > 1:
            self.erased[name] = left - 1
        return left > 0

    @staticmethod
    def mark_changed(names: Iterable[str], accounts: Accounts) -> None:
        """Have accounts of which nothing was published for a while published with the next flush."""
        for name in names:
            row = accounts.index.get(name)
            if row is not None and accounts.applied[row]:
                accounts.changed[row] = accounts.score_pending[row] = True


def _rebase(row: int, published: _Published, accounts: Accounts, plan: Plan) -> None:
    for number, score_plan in enumerate(plan.scores):
        change = _decode(published.changes.get(score_plan.score.name))
        if change is None:
            continue
        bands = [band.name for band in score_plan.score.bands]
        after = {factor.measure: factor.after for factor in change.factors}
        accounts.last_published_score[row, number] = change.to
        accounts.last_published_band[row, number] = bands.index(change.band_to) if change.band_to in bands else NO_BAND
        accounts.last_published_parts[row, accounts.parts_of[number]] = [
            after.get(name, 0.0) for name in score_plan.parts
        ]
        accounts.last_published_state[row, number] = next(
            status for status, state in STATES.items() if state == change.state and status != Status.UNKNOWN
        )
        accounts.policy_changed[row, number] = change.policy != plan.label
    override = _decode(published.override)
    if override is not None:
        rebase_override(row, override, accounts)
    accounts.dirty[row] = accounts.changed[row] = True


def _decode(value: bytes | None) -> ScoreChange | None:
    """A change; None without a value, or with one that no worker wrote."""
    if value is None:
        return None
    try:
        return read_message(ScoreChange, value)
    except UnreadableError:
        return None
