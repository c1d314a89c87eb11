"""Scores of children rolled up to their parent account: mean, worst, mean weighted by ARR.

Owns who is whose child and what a parent's record says. Built from `health.scores` alone, which is compacted: the
latest of every account in any order gives the same, so that it can be rebuilt at any time. Pure; called by
`agents.derived.rollup`.
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas.outputs import RolledScore, RollupMessage, ScoreMessage


class Rollup:
    """The children of every parent. Memory: the latest score message of each account that has a parent."""

    def __init__(self) -> None:
        """Empty."""
        self._parents: dict[str, str] = {}
        self._children: dict[str, dict[str, ScoreMessage]] = {}

    def take(self, account: str, message: ScoreMessage | None) -> set[str]:
        """Take the latest of an account, or its end (None); returns the parents whose record changes by it."""
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
        """What is said of a parent, or None when it has no children (any more)."""
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
    held = sorted((account, child) for account, child in children.items() if name in child.scores)
    values = [child.scores[name].value for _, child in held]
    weights = [max(child.arr or 0.0, 0.0) for _, child in held]
    total = sum(weights)
    worst, (account, child) = min(zip(values, held, strict=True), key=lambda pair: (pair[0], pair[1][0]))
    bands: dict[str, int] = {}
    for _, one in held:
        bands[one.scores[name].band] = bands.get(one.scores[name].band, 0) + 1
    return RolledScore(
        mean=sum(values) / len(values),
        worst=worst,
        worst_account=account,
        worst_band=child.scores[name].band,
        weighted=sum(v * w for v, w in zip(values, weights, strict=True)) / total if total > 0 else None,
        children=len(held),
        bands=bands,
    )
