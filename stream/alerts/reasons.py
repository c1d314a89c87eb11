"""The reason of an alert: what fell since the account was last fine, by measure, the largest share first.

Owns the choice of what the score is compared with, and the form of the answer: a text and a `Fall`. The reference is
kept by `stream.alerts.last_fine`. Pure; called by `stream.alerts.emission` when an alert fires.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from schemas.outputs import Fall, FallFactor
from stream.accounts.accounts import NO_BAND, Accounts
from stream.accounts.reasons import Reason
from stream.plan.models import ScorePlan
from stream.publishing.scored_batch import ScoredBatch
from stream.scoring.scoring import ScoreOf

OTHERS = "others"
"""Name of the factor that has all factors which are not named."""
FEWEST_POINTS = 0.05
"""Smaller deltas would read as 0.0."""
_TEXT_FACTORS, _FALL_FACTORS = 3, 8
_FULL = 100.0
_MOST_NAMES = 1000


def reasons_for(
    scored_batch: ScoredBatch, positions: Sequence[int], number: int, score_plan: ScorePlan, accounts: Accounts
) -> list[Reason]:
    """The reasons of alerts that fire about score `number` of the accounts at `positions` of a batch."""
    indexes = np.array(positions, dtype=np.intp)
    rows, result, columns = scored_batch.rows[indexes], scored_batch.scored.scores[number], accounts.parts_of[number]
    bands, values = result.bands[indexes].tolist(), result.values[indexes].tolist()
    parts, times = result.parts[indexes], accounts.fine_ms[rows, number].tolist()
    last_bands = accounts.last_published_band[rows, number].tolist()
    last_scores = accounts.last_published_score[rows, number].tolist()
    missing = _missing(score_plan, result, indexes)
    reasons = []
    for index, (band, now, since) in enumerate(zip(bands, values, times, strict=True)):
        if band == NO_BAND:
            reasons.append(Reason())  # silence, of an account without data
        elif since:
            before = float(accounts.fine_score[rows[index], number])
            deltas = (parts[index] - accounts.fine_parts[rows[index], columns]).tolist()
            fall = fall_of(score_plan.parts, deltas, before, now, since)
            reasons.append(Reason() if fall is None else Reason(text_of(fall), fall.factors[0].measure, fall))
        elif last_bands[index] != NO_BAND and last_scores[index] > now:
            # A version that keeps no references saved the row: what was published last is the best there is.
            deltas = (parts[index] - accounts.last_published_parts[rows[index], columns]).tolist()
            fall = fall_of(score_plan.parts, deltas, last_scores[index], now, since)
            reasons.append(Reason() if fall is None else Reason(text_of(fall), fall.factors[0].measure))
        else:
            reasons.append(_never_fine(score_plan.measures, missing[index]))
    return reasons


def _missing(score_plan: ScorePlan, result: ScoreOf, indexes: NDArray[np.intp]) -> list[list[float]]:
    """What each measure of accounts misses to its full points, negative; of an additive score, its contribution."""
    weights = result.weights[indexes]
    contributions = result.contributions[indexes, : weights.shape[1]]
    missing: list[list[float]] = (contributions - weights * (0.0 if score_plan.additive else _FULL)).tolist()
    return missing


def fall_of(names: Sequence[str], deltas: Sequence[float], before: float, now: float, since_ms: int) -> Fall | None:
    """The fall from `before` to `now`; None if the score did not fall. `deltas` are those of the factors `names`.

    >>> fall = fall_of(["usage", "nps", "tickets"], [-12.0, 2.0, -5.0], 80.0, 65.0, 1)
    >>> [(factor.measure, factor.delta) for factor in fall.factors]
    [('usage', -12.0), ('tickets', -5.0), ('others', 2.0)]
    """
    fell = sorted(((delta, name) for name, delta in zip(names, deltas, strict=True) if delta <= -FEWEST_POINTS))
    if now - before > -FEWEST_POINTS or not fell:
        return None
    factors = [FallFactor(name, delta) for delta, name in fell[:_FALL_FACTORS]]
    others = now - before - sum(factor.delta for factor in factors)
    if abs(others) >= FEWEST_POINTS:
        factors.append(FallFactor(OTHERS, others))
    else:
        factors[0].delta += others  # what rounding of the reference leaves
    return Fall(since_ms, before, now, factors)


def text_of(fall: Fall) -> str:
    """The largest shares of a fall, at most three, and the rest; the numbers shown sum to the fall.

    >>> text_of(Fall(1, 80.0, 64.94, [FallFactor("product_usage", -14.96), FallFactor("nps", -0.1)]))
    'product usage -15.0, nps -0.1'
    """
    named = [factor for factor in fall.factors if factor.measure != OTHERS][:_TEXT_FACTORS]
    shown = [(label_of(factor.measure), round(factor.delta, 1)) for factor in named]
    others = round(fall.to - fall.from_, 1) - sum(delta for _, delta in shown)
    if abs(others) >= FEWEST_POINTS:
        if len(named) < len(fall.factors):
            shown.append((OTHERS, others))
        else:
            shown[0] = (shown[0][0], shown[0][1] + others)  # what rounding to one decimal leaves
    return ", ".join(f"{name} {delta:+.1f}" for name, delta in shown)


def _never_fine(measures: Sequence[str], missing: Sequence[float]) -> Reason:
    """The measures that cost most, of an account that was never fine: what each misses to its full points.

    Of an additive score, what is below 0.
    """
    costs = [(cost, name) for name, cost in zip(measures, missing, strict=False) if cost <= -FEWEST_POINTS]
    costs.sort()
    text = ", ".join([f"{label_of(name)} {cost:+.1f}" for cost, name in costs[:_TEXT_FACTORS]])
    return Reason(f"never better: {text}", costs[0][1]) if costs else Reason()


@lru_cache(_MOST_NAMES)
def label_of(name: str) -> str:
    """A measure's name as a label for people: underscores become spaces."""
    return name.replace("_", " ")
