"""Why a score is what it is, and what would change it, in words and numbers.

Owns the reading of a score message: which factors cost most, and the smallest change of each that alone would lift
the account a band. Pure; called by `vitals explain`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from msgspec import Struct

from schemas.outputs import Factor, ScoreMessage, ScoreValue
from stream.chosen import Chosen, UnknownScoreError
from stream.forecast import Forecast
from stream.normalisers import Linear, Threshold, Tiers
from stream.policy import Measure
from stream.scoring import BAND_DECIMALS
from stream.since import Since
from stream.wording import factor_words

_FULL = 100.0
_CLOSE = 1e-9


class Lift(Struct):
    """A change of one measure that alone lifts the score into `band`: its value now and the value needed."""

    measure: str
    value: float | None
    needed: float
    points: float


class Explanation(Struct):
    """One account: score, band, factors by what they cost, the same in words, and ways up.

    `since` and `ahead` need events; `needs_files` names what is missing where only the score message was at hand.
    """

    account_id: str
    score: str
    value: float
    band: str
    as_of: int
    factors: list[Factor]
    next_band: str | None
    missing_points: float
    lifts: list[Lift]
    policy: str
    words: list[str]
    since: Since | None = None
    ahead: Forecast | None = None
    needs_files: list[str] = []


def value_of(message: ScoreMessage, chosen: Chosen) -> ScoreValue:
    """The chosen score of a message. Raises `UnknownScoreError` when the message was made by a policy without it."""
    if chosen.name not in message.scores:
        held = ", ".join(message.scores)
        raise UnknownScoreError(f"{message.account_id} was scored by {message.policy}, which has only {held}")
    return message.scores[chosen.name]


def explain_message(message: ScoreMessage, chosen: Chosen) -> Explanation:
    """Take a score apart. `chosen` must be of the policy that the message was scored by."""
    score = value_of(message, chosen)
    by_name = {measure.name: measure for measure in chosen.measures}
    factors = sorted(score.factors, key=lambda factor: (-_cost(factor), factor.measure))
    # Rounded as the band itself is: 69.99999999999999 is not below 70.
    higher = [band for band in chosen.bands if band.from_ > round(score.value, BAND_DECIMALS)]
    return Explanation(
        account_id=message.account_id,
        score=chosen.name,
        value=score.value,
        band=score.band,
        as_of=message.as_of,
        factors=factors,
        next_band=higher[0].name if higher else None,
        missing_points=higher[0].from_ - score.value if higher else 0.0,
        lifts=_lifts(score, by_name, higher[0].from_) if higher else [],
        policy=message.policy,
        words=[factor_words(factor, by_name.get(factor.measure)) for factor in factors],
    )


def _cost(factor: Factor) -> float:
    """Points of the score that this factor leaves on the table."""
    return factor.weight * (_FULL - (factor.points or 0.0)) if factor.points is not None else 0.0


def _lifts(score: ScoreValue, by_name: Mapping[str, Measure], target: float) -> list[Lift]:
    lifts = []
    for factor in score.factors:
        if factor.points is None or factor.weight <= 0 or factor.measure not in by_name:
            continue
        wanted = factor.points + (target - score.value) / factor.weight
        needed = _value_for(by_name[factor.measure], wanted, factor.value)
        if needed is not None:
            lifts.append(Lift(factor.measure, factor.value, needed, wanted))
    return sorted(lifts, key=lambda lift: (lift.points, lift.measure))


def _value_for(measure: Measure, points: float, now: float | None) -> float | None:
    """The value nearest to now that gives at least these points, or None when no value does."""
    if points > _FULL + _CLOSE:
        return None
    normaliser = measure.normaliser
    if isinstance(normaliser, Linear):
        return normaliser.invert(min(points, _FULL))
    if isinstance(normaliser, Tiers):
        candidates = [start for start, _ in normaliser.steps]
    elif isinstance(normaliser, Threshold):
        candidates = [normaliser.average, normaliser.good]
    enough = [value for value in candidates if normaliser.points(np.array([value]))[0] >= points - _CLOSE]
    if now is None:
        return enough[0] if enough else None
    return min(enough, key=lambda value: abs(value - now), default=None)
