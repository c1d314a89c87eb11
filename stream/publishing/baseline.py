"""What readers of `health.score-changes` heard and a restored worker does not know: where the next change goes on from.

A worker that crashed may have told changes after its last commit. The next one applies the same events again, in other
batches perhaps: it would tell some changes twice, others in other steps, and what rose and fell within one batch never,
so that readers keep a score that holds nowhere else. So it reads what was told after the commit, tells nothing of these
accounts until they have come as far (their revision says so), and then goes on from what readers heard last. Pure;
called by `stream.publishing.publisher`, filled by `agents.worker.published`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.codecs import UNREADABLE
from schemas.outputs import ScoreChange
from stream.accounts.accounts import NO_BAND, Accounts
from stream.accounts.overrides import rebase_override
from stream.columns.columns import Rows
from stream.plan.plan import Plan


class _Head(msgspec.Struct):
    """What has to be known of a change before it is needed."""

    account_id: str
    score: str
    cause: str
    revision: int
    time: int


@dataclass(slots=True)
class _Account:
    """The last changes of one account as they were written, of each score and of its override, and how far it was."""

    revision: int = 0
    time_ms: int = 0
    scores: dict[str, bytes] = field(default_factory=dict)
    override: bytes | None = None


class Heard:
    """The last that was told of each account's scores, until the account has come as far; falsy when that is none."""

    def __init__(self, values: Iterable[bytes | None] = (), end: int = 0) -> None:
        """What one partition of `health.score-changes` has after the last commit; what is no change is left out.

        `end` is the offset after them.
        """
        self.end = end
        self._last: dict[str, _Account] = {}
        read = msgspec.json.Decoder(_Head).decode
        for value in values:
            try:
                head = read(value or b"")
            except UNREADABLE:
                continue
            account = self._last.setdefault(head.account_id, _Account())
            account.revision = max(account.revision, head.revision)
            account.time_ms = max(account.time_ms, head.time)
            if head.cause == "override":
                account.override = value
            else:
                account.scores[head.score] = value or b""

    def __bool__(self) -> bool:
        return bool(self._last)

    @property
    def life(self) -> bytes:
        """What tells the life that begins here from all others that told something; empty where nobody told before."""
        return b"%d" % self.end if self.end else b""

    @property
    def until_ms(self) -> int:
        """The latest moment that readers heard of, among accounts that have not come as far."""
        return max((account.time_ms for account in self._last.values()), default=0)

    def waits(self, rows: Rows, accounts: Accounts) -> NDArray[np.bool_]:
        """Which rows have not come as far as readers heard, (k,)."""
        names = map(accounts.index.names.__getitem__, rows.tolist())
        return np.fromiter((name in self._last for name in names), dtype=np.bool_, count=len(rows))

    def known(self, accounts: Accounts) -> Rows:
        """The rows of accounts that readers heard of, ascending."""
        found = (accounts.index.get(name) for name in self._last)
        return np.array(sorted(row for row in found if row is not None), dtype=np.int64)

    def go_on(self, rows: Rows, revisions: NDArray[np.int64], as_of_ms: int, accounts: Accounts, plan: Plan) -> None:
        """Take what readers heard for what was said last, of rows that have come as far as that."""
        for row, revision in zip(rows.tolist(), revisions.tolist(), strict=True):
            account = self._last.get(accounts.index.names[row])
            if account is not None and account.revision <= revision and account.time_ms <= as_of_ms:
                self._adopt(row, account, accounts, plan)
                del self._last[accounts.index.names[row]]

    def give_up(self, accounts: Accounts, plan: Plan) -> None:
        """Wait no longer: take what readers heard for what was said last, of all accounts."""
        rows = self.known(accounts)
        for row in rows.tolist():
            self._adopt(row, self._last[accounts.index.names[row]], accounts, plan)
        self._last.clear()

    @staticmethod
    def _adopt(row: int, account: _Account, accounts: Accounts, plan: Plan) -> None:
        for at, part in enumerate(plan.scores):
            change = _change(account.scores.get(part.score.name))
            if change is None:
                continue
            bands = [band.name for band in part.score.bands]
            parts = {factor.measure: factor.after for factor in change.factors}
            accounts.last_published_score[row, at] = change.to
            accounts.last_published_band[row, at] = bands.index(change.band_to) if change.band_to in bands else NO_BAND
            accounts.last_published_parts[row, accounts.parts_of[at]] = [parts.get(name, 0.0) for name in part.parts]
            accounts.policy_changed[row, at] = change.policy != plan.label
        override = _change(account.override)
        if override is not None:
            rebase_override(row, override, accounts)
        accounts.dirty[row] = accounts.changed[row] = True


def _change(value: bytes | None) -> ScoreChange | None:
    if value is None:
        return None
    try:
        return msgspec.json.decode(value, type=ScoreChange)
    except UNREADABLE:
        return None  # no worker wrote it
