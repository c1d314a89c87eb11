"""Roll-ups: the scores of child accounts summarised for their parent: mean, worst, mean weighted by ARR.

Owns which account is whose child, and a parent's record. Built from `health.scores` alone, which is compacted: the
latest record of every account in any order gives the same, so it can be rebuilt at any time. Pure; called by
`agents.derived.rollup`.
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas.outputs import RolledScore, RollupMessage, ScoreMessage
from stream.publishing.decimals import rounded_number


class Rollup:
    """The children of every parent. It keeps the latest score message of each account that has a parent."""

    def __init__(self) -> None:
        """Empty."""
        self._parents: dict[str, str] = {}
        self._children: dict[str, dict[str, ScoreMessage]] = {}

    def apply(self, account: str, message: ScoreMessage | None) -> set[str]:
        """Apply the latest record of an account (None: a tombstone); returns the parents whose record changes.

        An account that has ended or has no data is no child.
        """
        before = self._parents.pop(account, None)
        changed = set()
        if before is not None:
            changed.add(before)
            del self._children[before][account]
            if not self._children[before]:
                del self._children[before]
        if message is not None and message.state in {"ended", "no-data"}:
            message = None
        if message is not None and message.parent_id is not None and message.parent_id != account:
            self._parents[account] = message.parent_id
            self._children.setdefault(message.parent_id, {})[account] = message
            changed.add(message.parent_id)
        return changed

    def parents(self) -> Iterable[str]:
        """Every account that has children now."""
        return self._children.keys()

    def message_of(self, parent: str) -> RollupMessage | None:
        """The record of a parent; None, for a tombstone, when it has no children."""
        children = self._children.get(parent)
        if not children:
            return None
        names = dict.fromkeys(
            name for child in children.values() for name, score in child.scores.items() if score.value is not None
        )
        return RollupMessage(
            account_id=parent,
            as_of=max(child.as_of for child in children.values()),
            children=len(children),
            scores={name: _rolled(name, children) for name in names},
        )


def _rolled(name: str, children: dict[str, ScoreMessage]) -> RolledScore:
    """One score of a parent over the children that have it; sums run in the order of account ids."""
    scored = sorted(
        (account, score.value, score.band, max(child.arr or 0.0, 0.0))
        for account, child in children.items()
        if (score := child.scores.get(name)) is not None and score.value is not None and score.band is not None
    )
    values, weights = [value for _, value, _, _ in scored], [weight for *_, weight in scored]
    total = sum(weights)
    worst, account, worst_band = min((value, account, band) for account, value, band, _ in scored)
    bands: dict[str, int] = {}
    for _, _, band, _ in scored:
        bands[band] = bands.get(band, 0) + 1
    weighted = sum(value * weight for value, weight in zip(values, weights, strict=True))
    return RolledScore(
        mean=rounded_number(sum(values) / len(values)),
        worst=worst,
        worst_account=account,
        worst_band=worst_band,
        weighted=rounded_number(weighted / total) if total > 0 else None,
        children=len(scored),
        bands=bands,
    )
