"""Changes of published phases: what `stream.alerts.emission` updates and publishes of the alerts of scored accounts.

Owns `PhaseChange`, and which two of them are one: a band with an alert that gives way to a worse one. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from stream.accounts.alert_lifecycle import Phase
from stream.plan.rules import RulePlan


class PhaseChange(NamedTuple):
    """An alert whose published phase changes, or whose acknowledgement does; `position` is the row's in the batch.

    `worse` is the other alert where one of a band begins and one of a better band ends: see `with_worse`.
    `began_ms` is when an episode began, if not at the moment of the row.
    """

    position: int
    rule_plan: RulePlan
    before: Phase
    after: Phase
    worse: RulePlan | None = None
    began_ms: int | None = None

    @property
    def begins(self) -> bool:
        """Whether an episode begins."""
        return self.before == Phase.IDLE

    @property
    def ends(self) -> bool:
        """Whether an episode ends."""
        return self.after == Phase.IDLE


def with_worse(changes: Sequence[PhaseChange]) -> list[PhaseChange]:
    """The changes, with the two alerts of each account that moves from a band with an alert to a worse one paired."""
    if not any(change.ends for change in changes):
        return list(changes)
    by_score: dict[tuple[int, int], list[PhaseChange]] = {}
    for change in changes:
        if change.rule_plan.rule.kind == "band" and (change.begins or change.ends):
            by_score.setdefault((change.position, change.rule_plan.score), []).append(change)
    worse: dict[tuple[int, int], RulePlan] = {}
    for (position, _), pair in by_score.items():
        began = [change.rule_plan for change in pair if change.begins]
        ended = [change.rule_plan for change in pair if change.ends]
        for after, before in zip(began, ended, strict=False):
            if after.band < before.band:
                worse[position, after.index], worse[position, before.index] = before, after
    return [change._replace(worse=worse.get((change.position, change.rule_plan.index))) for change in changes]
