"""Fit the weights of a policy to the data of a back-test, write the policy with them, and compare both policies.

Decides which scores can be fitted and when a fit is not worth using. The regression is `agents.backtest.fit`, the text
of the policy `agents.backtest.rewrite`. Called by `agents.backtest.run`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from agents.backtest import rewrite
from agents.backtest.figures import auc
from agents.backtest.fit import FitError, fit_weights, split_by_time
from agents.backtest.inputs import Inputs
from agents.backtest.replay import replay
from agents.backtest.report import FEW_CHURNED, Fit
from agents.backtest.study import Flags, Samples, ScoredPolicy, rfc3339
from schemas.topics import DAY_MS
from stream.explain.selector import SelectedScore
from stream.plan.plan import Plan, compile_plan
from stream.policy.policy import parse_policy


def write_fitted_policy(inputs: Inputs, original: ScoredPolicy, target: Path, lead_days: int) -> Fit:
    """Fit weights on the earlier cutoffs, write the policy to `target`, and compare it with `original` on later ones.

    Raises FitError if the score or the data do not allow a fit.
    """
    grid, track, score = inputs.grid, original.track, original.score
    weights = _weights_of(score)
    samples = Samples(grid, inputs.known, lead_days, ~np.isnan(track.scores[:: grid.every]))
    split = split_by_time(grid.cutoffs[samples.cutoff], lead_days * DAY_MS, samples.account, samples.churned)
    points, train = track.points[samples.selected].astype(np.float64), split.train
    fitted = fit_weights(list(weights), list(weights.values()), points[train], samples.churned[train])
    table = None if score.score.make_up is None else score.name
    text = rewrite.with_weights(original.file.read_bytes().decode(), fitted, table)
    plan = compile_plan(parse_policy(text, str(target)))
    fitted_track = replay(inputs.events, plan, score, grid)
    silent_ms = (grid.cutoffs[:, None] - track.last_ms).astype(np.float64)
    auc_before, auc_after, auc_recency = (
        auc(samples.pick(scores)[split.holdout], samples.churned[split.holdout])
        for scores in (track.scores[:: grid.every], fitted_track.scores[:: grid.every], -silent_ms)
    )
    trained, held_out = _period(samples, train), _period(samples, split.holdout)
    fit = Fit(
        file=str(target),
        policy=_label(plan),
        lead_days=lead_days,
        train_cutoffs=trained.cutoffs,
        train_samples=trained.samples,
        train_churned_accounts=trained.churned_accounts,
        train_from=trained.first,
        train_until=trained.last,
        holdout_from=held_out.first,
        holdout_until=held_out.last,
        holdout_cutoffs=held_out.cutoffs,
        holdout_samples=held_out.samples,
        holdout_churned_accounts=held_out.churned_accounts,
        auc_before=auc_before,
        auc_after=auc_after,
        auc_recency=auc_recency,
        weights=fitted,
        notes=_warnings(auc_before, auc_after, trained.churned_accounts, len(fitted)),
    )
    target.write_bytes((rewrite.header(fit, _label(original.plan)) + text).encode())
    return fit


class _Period(NamedTuple):
    """Counts of the samples on one side of the split, and its first and last cutoff."""

    cutoffs: int
    samples: int
    churned_accounts: int
    first: str
    last: str


def _period(samples: Samples, selected: Flags) -> _Period:
    cutoff_ms = samples.cutoff_ms[samples.cutoff[selected]]
    return _Period(
        len(np.unique(cutoff_ms)),
        int(selected.sum()),
        len(np.unique(samples.account[selected & samples.churned])),
        rfc3339(int(cutoff_ms.min())),
        rfc3339(int(cutoff_ms.max())),
    )


def _label(plan: Plan) -> str:
    return f"{plan.policy.name}@{plan.policy.digest}"


def _warnings(before: float | None, after: float | None, churned_accounts: int, measures: int) -> list[str]:
    """Why the fitted weights may not be worth using."""
    warnings = []
    if before is not None and after is not None and after <= before:
        warnings.append(
            "on the held-out cutoffs the new weights predict churn no better than the old ones: keep the old"
        )
    wanted = FEW_CHURNED * measures  # ten events per variable: Peduzzi et al., 1996
    if churned_accounts < wanted:
        warnings.append(
            f"{churned_accounts} churned accounts are few for {measures} measures, so the weights are uncertain; "
            f"use data with {wanted} or more"
        )
    return warnings


def _weights_of(selected: SelectedScore) -> dict[str, float]:
    """The weight of each measure, in order. Raises FitError if the score is not one weighted mean for all accounts."""
    score = selected.score
    changed = any(segment.make_up or segment.use for segment in score.segments)
    if score.model is not None or changed or (score.make_up is not None and score.make_up.groups):
        raise FitError(
            f"score {selected.name} is not one weighted mean of its measures: --fit needs a score without groups, "
            "impacts and segments that change its measures"
        )
    weights = {measure.name: measure.weight or 0.0 for measure in selected.measures}
    return weights if score.make_up is None else dict.fromkeys(weights, 0.0) | dict(score.make_up.weights)
