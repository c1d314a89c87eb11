"""Score rows: a score change as rows of a table, one for each factor.

Owns how the lists and objects of a change become columns. Pure; called by `agents.derived.rows`.
"""

from __future__ import annotations

from schemas.outputs import FactorChange, ScoreChange, ScoreRow


def rows_of(change: ScoreChange) -> list[ScoreRow]:
    """The rows of a change, one for each factor; one without a measure if it has no factors."""
    factors: list[FactorChange | None] = [*change.factors] or [None]
    return [_row(change, number, factor) for number, factor in enumerate(factors)]


def _row(change: ScoreChange, number: int, factor: FactorChange | None) -> ScoreRow:
    override = change.override
    return ScoreRow(
        change_id=change.id,
        factor_number=number,
        account_id=change.account_id,
        changed_at=change.time,
        score=change.score,
        score_from=change.from_,
        score_to=change.to,
        band_from=change.band_from,
        band_to=change.band_to,
        cause=change.cause,
        measure=None if factor is None else factor.measure,
        points_before=None if factor is None else factor.before,
        points_after=None if factor is None else factor.after,
        points_delta=None if factor is None else factor.delta,
        policy=change.policy,
        revision=change.revision,
        catching_up=change.catching_up,
        state=change.state,
        state_from=change.state_from,
        override_reason=None if override is None else override.reason,
        override_since=None if override is None else override.since,
        override_expires_at=None if override is None else override.expires_at,
        override_score=None if override is None else override.score,
        override_band=None if override is None else override.band,
        override_by=None if override is None else override.by,
    )
