"""Fit the weights of a policy to the data of a back-test, write the policy with them, and compare both policies.

Decides which scores can be fitted and when a fit is not worth using. The regression is `agents.backtest.fit`, the text
of the policy `agents.backtest.rewrite`. Called by `agents.backtest.run`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agents.backtest import rewrite
from agents.backtest.figures import auc
from agents.backtest.fit import FitError, Floats, fit_weights, folds_of
from agents.backtest.inputs import Inputs
from agents.backtest.replay import replay
from agents.backtest.report import FEW_CHURNED, Fit, FittedWeight
from agents.backtest.study import Flags, Samples, ScoredPolicy, rfc3339
from agents.files.policies import installed_policy
from schemas.topics import DAY_MS
from stream.explain.selector import SelectedScore
from stream.plan.plan import Plan, compile_plan


def write_fitted_policy(inputs: Inputs, original: ScoredPolicy, target: Path, lead_days: int) -> Fit:
    """Fit weights, write the policy to `target`, and compare it with `original` on samples that the fit did not use.

    These are those of later cutoffs. Where the cutoffs cannot be split, they are those of accounts: every fifth of the
    accounts is held out once, and the policy that is written is fitted to all. Raises FitError if the score or the data
    do not allow a fit.
    """
    grid, track, score = inputs.grid, original.track, original.score
    _weights_of(score)  # fails first if the score cannot be fitted, whatever the data
    samples = Samples(grid, inputs.known, lead_days, ~np.isnan(track.scores[:: grid.every]))
    folds = folds_of(grid.cutoffs[samples.cutoff], lead_days * DAY_MS, samples.account, samples.churned)
    points = track.points[samples.selected].astype(np.float64)

    fitted_to = partial(_fitted, original, target, points, samples.churned)
    by_fold = [fitted_to(train) for train, _ in folds.pairs]
    everything = np.ones(len(samples.churned), dtype=bool)
    fitted, text, plan = by_fold[0] if folds.split == "time" else fitted_to(everything)
    silent_ms = (grid.cutoffs[:, None] - track.last_ms).astype(np.float64)
    after = [replay(inputs.events, each.plan, score, grid).scores[:: grid.every] for each in by_fold]
    held = [holdout for _, holdout in folds.pairs]
    auc_before, auc_after, auc_recency = (
        _held_out_auc(samples, scores, held)
        for scores in ([track.scores[:: grid.every]] * len(held), after, [-silent_ms] * len(held))
    )
    train, holdout = folds.pairs[0] if folds.split == "time" else (everything, everything)
    trained, held_out = _period(samples, train), _period(samples, holdout)
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
        split=folds.split,
        notes=_warnings(auc_before, auc_after, trained.churned_accounts, len(fitted)),
    )
    target.write_bytes((rewrite.header(fit, _label(original.plan)) + text).encode())
    return fit


def _fitted(original: ScoredPolicy, target: Path, points: Floats, churned: Flags, train: Flags) -> _Fitted:
    """Fit weights to the samples of `train`, and put them into the policy."""
    weights = _weights_of(original.score)
    fitted = fit_weights(list(weights), list(weights.values()), points[train], churned[train])
    table = None if original.score.score.make_up is None else original.score.name
    text = rewrite.with_weights(original.file.read_bytes().decode(), fitted, table)
    return _Fitted(fitted, text, compile_plan(installed_policy(text, str(target))))


class _Fitted(NamedTuple):
    """Fitted weights, and the policy with them: its text and its plan."""

    weights: list[FittedWeight]
    text: str
    plan: Plan


def _held_out_auc(samples: Samples, scores: Sequence[Floats], held_out: Sequence[Flags]) -> float | None:
    """The mean of the AUCs of each fold's scores, arrays (cutoffs, accounts), on the samples that it holds out."""
    figures = [
        auc(samples.pick(of_fold)[held], samples.churned[held]) for of_fold, held in zip(scores, held_out, strict=True)
    ]
    known = [figure for figure in figures if figure is not None]
    return sum(known) / len(known) if known else None


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
            "on the held-out samples the new weights predict churn no better than the old ones: keep the old"
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
