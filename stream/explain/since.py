"""Compare an account's score with that of an earlier moment: what each measure added, and the changes in between.

Pure; called by `vitals explain --since` (`agents.cli.files`).
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from schemas.outputs import FactorChange, ScoreChange, ScoreValue


class Since(Struct):
    """The score at an earlier moment, and what changed since.

    `value` and `band` are null when the account had no event by `at` (epoch ms), or no data; it is then compared with
    0, as its first change is. `factors` come by the size of their delta; the deltas sum to `delta`. `changes` are all
    that were published after `at`, in order of time; small steps are not published, so these need not sum to `delta`.
    """

    at: int
    value: float | None
    band: str | None
    delta: float
    factors: list[FactorChange]
    changes: list[ScoreChange]


def moved_since(at_ms: int, then: ScoreValue | None, now: ScoreValue, changes: Iterable[ScoreChange]) -> Since:
    """Compare the score `now` with the one at `at_ms`; `changes` are the account's of this score, earlier ones too."""
    before = {} if then is None else {factor.measure: factor.contribution for factor in then.factors}
    factors = [
        FactorChange(
            factor.measure, (was := before.get(factor.measure, 0.0)), factor.contribution, factor.contribution - was
        )
        for factor in now.factors
    ]
    factors.sort(key=lambda factor: (-abs(factor.delta), factor.measure))
    return Since(
        at=at_ms,
        value=None if then is None else then.value,
        band=None if then is None else then.band,
        delta=(now.value or 0.0) - (0.0 if then is None else then.value or 0.0),
        factors=factors,
        changes=[change for change in changes if change.time > at_ms],
    )


def main_changes(since: Since, count: int) -> list[ScoreChange]:
    """The `count` largest changes, in order of time."""
    largest = sorted(since.changes, key=lambda change: -abs(change.to - change.from_))[:count]
    return sorted(largest, key=lambda change: change.time)
