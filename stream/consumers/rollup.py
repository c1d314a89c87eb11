"""Roll-ups: the scores of child accounts summarised for their parent: mean, worst, mean weighted by ARR.

Owns which account is whose child, and a parent's record. Built from `health.scores` alone, which is compacted: the
latest record of every account in any order gives the same, so it can be rebuilt at any time. Pure; called by
`agents.derived.rollup`.
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas.outputs import RolledScore, RollupMessage, ScoreMessage


class Rollup:
    """The children of every parent. It keeps the latest score message of each account that has a parent."""

    def __init__(self) -> None:
        """Empty."""
        self._parents: dict[str, str] = {}
        self._children: dict[str, dict[str, ScoreMessage]] = {}

    def apply(self, account: str, message: ScoreMessage | None) -> set[str]:
        """Apply the latest record of an account (None: a tombstone); returns the parents whose record changes."""
        before = self._parents.pop(account, None)
        changed = set()
        if before is not None:
            changed.add(before)
            del self._children[before][account]
            if not self._children[before]:
                del self._children[before]
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
        names = dict.fromkeys(name for child in children.values() for name in child.scores)
        return RollupMessage(
            account_id=parent,
            as_of=max(child.as_of for child in children.values()),
            children=len(children),
            scores={name: _rolled(name, children) for name in names},
        )


def _rolled(name: str, children: dict[str, ScoreMessage]) -> RolledScore:
    """One score of a parent over the children that have it; sums run in the order of account ids."""
    scored = sorted((account, child) for account, child in children.items() if name in child.scores)
    values = [child.scores[name].value for _, child in scored]
    weights = [max(child.arr or 0.0, 0.0) for _, child in scored]
    total = sum(weights)
    worst, (account, child) = min(zip(values, scored, strict=True), key=lambda pair: (pair[0], pair[1][0]))
    bands: dict[str, int] = {}
    for _, scored_child in scored:
        band = scored_child.scores[name].band
        bands[band] = bands.get(band, 0) + 1
    return RolledScore(
        mean=sum(values) / len(values),
        worst=worst,
        worst_account=account,
        worst_band=child.scores[name].band,
        weighted=sum(v * w for v, w in zip(values, weights, strict=True)) / total if total > 0 else None,
        children=len(scored),
        bands=bands,
    )
