"""Explain a score: which factors cost most, and the smallest change of each that alone lifts the account a band.

Owns what is derived from one score message. Pure; called by `vitals explain` (`agents.cli.files`) and
`agents.board.views.account`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from msgspec import Struct

from schemas.outputs import Factor, Override, ScoreMessage, ScoreValue
from stream.explain.forecast import Forecast
from stream.explain.selector import SelectedScore, UnknownScoreError, normaliser_in
from stream.explain.since import Since
from stream.explain.text import factor_text
from stream.policy.band_index import BAND_DECIMALS
from stream.policy.measures import Measure
from stream.policy.normalisers import Curve, Decay, Grid, Linear, Normaliser, Simple, Threshold, Tiers

_FULL = 100.0
_CLOSE = 1e-9


class Lift(Struct, omit_defaults=True):
    """A change of one measure that alone lifts the score a band: its value now, the value needed, the points of that.

    `points` is null for an additive score, which has none. With `of_peers` the values are percentiles among peers.
    """

    measure: str
    value: float | None
    needed: float
    points: float | None
    of_peers: bool = False


class Explanation(Struct):
    """One account: score, band, factors by what they cost, a sentence for each factor (`words`), and lifts.

    `since` and `ahead` (the forecast) need events; where only the score message was available, `needs_files` names
    which of them are missing. `new_until` (epoch ms) is there while the account is new.
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
    segment: str | None = None
    exceptions: list[str] = []
    override: Override | None = None
    new_until: int | None = None


def value_of(message: ScoreMessage, selected: SelectedScore) -> ScoreValue:
    """The selected score of a message. Raises `UnknownScoreError` when the message's policy has no such score."""
    if selected.name not in message.scores:
        names = ", ".join(message.scores)
        raise UnknownScoreError(f"{message.account_id} was scored by {message.policy}, which has only {names}")
    return message.scores[selected.name]


def explain_message(message: ScoreMessage, selected: SelectedScore) -> Explanation:
    """Explain the selected score of a message. `selected` must be of the policy that the message was scored by."""
    score, raw = value_of(message, selected), message.raw or {}
    by_name = {measure.name: measure for measure in selected.measures}
    bands = selected.bands_in(message.segment)
    factors = sorted(score.factors, key=lambda factor: (-_cost(factor), factor.measure))
    # Rounded as the band itself is: 69.99999999999999 is not below 70.
    higher = [band for band in bands if band.from_ > round(score.value, BAND_DECIMALS)]
    return Explanation(
        account_id=message.account_id,
        score=selected.name,
        value=score.value,
        band=score.band,
        as_of=message.as_of,
        factors=factors,
        next_band=higher[0].name if higher else None,
        missing_points=higher[0].from_ - score.value if higher else 0.0,
        lifts=_lifts(score, selected, message, higher[0].from_) if higher else [],
        policy=message.policy,
        words=[
            factor_text(factor, by_name.get(factor.measure), raw.get(factor.measure), message.inputs)
            for factor in factors
        ],
        segment=message.segment if selected.score.segments else None,
        exceptions=score.exceptions or [],
        override=message.override,
        new_until=message.new_until,
    )


def _cost(factor: Factor) -> float:
    """Points of the score that a factor misses to its maximum."""
    return factor.weight * (_FULL - (factor.points or 0.0)) if factor.points is not None else 0.0


def _lifts(score: ScoreValue, selected: SelectedScore, message: ScoreMessage, target: float) -> list[Lift]:
    if score.exceptions:
        return []  # what limits the score has to go first
    by_name = {measure.name: measure for measure in selected.measures}
    lifts = []
    for factor in score.factors:
        measure = by_name.get(factor.measure)
        if measure is None or not factor.weight:
            continue
        of_peers = measure.compare == "peers"
        if selected.scale is not None:
            now = factor.value or 0.0
            needed = _whole(measure, now, now + (target - score.value) / (factor.weight * selected.scale))
            if not of_peers or 0.0 <= needed <= _FULL:
                lifts.append(Lift(factor.measure, now, needed, None, of_peers))
        elif factor.points is not None:
            wanted = factor.points + (target - score.value) / factor.weight
            normaliser = _of_row(normaliser_in(measure, message.segment), message.inputs or {})
            value = _value_for(normaliser, wanted, factor.value)
            if normaliser is None or value is None or (of_peers and not 0.0 <= value <= _FULL):
                continue
            whole = _whole(measure, factor.value or 0.0, value)
            gives = wanted if whole == value else _points(normaliser, whole)
            if whole != value and gives < wanted - _CLOSE:  # of a tier that begins above a whole number
                whole += math.copysign(1.0, whole - (factor.value or 0.0))
                gives = _points(normaliser, whole)
            lifts.append(Lift(factor.measure, factor.value, whole, gives, of_peers))
    return sorted(lifts, key=lambda lift: (lift.points or 0.0, lift.measure))


def _whole(measure: Measure, now: float, needed: float) -> float:
    """The value needed; of a measure that counts, the next whole number: there are no 3.72 users."""
    counts = measure.stat in {"count", "active", "streak"} or measure.stat.startswith("distinct")
    if (
        not counts
        or (measure.stat == "count" and measure.field is not None)
        or measure.compare is not None
        or not float(now).is_integer()
    ):
        return needed
    return float(math.ceil(needed - _CLOSE) if needed > now else math.floor(needed + _CLOSE))


def _of_row(normaliser: Normaliser | None, inputs: Mapping[str, float | None]) -> Simple | None:
    """The normaliser that applies: of a grid, that of its row; None if the value that selects the row is unknown."""
    if not isinstance(normaliser, Grid):
        return normaliser
    by = inputs.get(normaliser.by)
    return None if by is None else normaliser.row(by)


def _points(normaliser: Simple, value: float) -> float:
    return float(normaliser.points(np.array([value]))[0])


def _value_for(normaliser: Simple | None, points: float, now: float | None) -> float | None:
    """The value nearest to `now` that gives at least `points`, or None when no value does."""
    if normaliser is None or points > _FULL + _CLOSE:
        return None
    if isinstance(normaliser, Linear):
        return normaliser.invert(min(points, _FULL))
    if isinstance(normaliser, Decay):
        return normaliser.invert(points) if points > 0 else now
    candidates: list[float] = []
    if isinstance(normaliser, Tiers):
        candidates = [start for start, _ in normaliser.steps]
    elif isinstance(normaliser, Threshold):
        candidates = [normaliser.average, normaliser.good]
    elif isinstance(normaliser, Curve):
        candidates = [*(value for value, _ in normaliser.knots), *normaliser.invert(points)]
    enough = [value for value in candidates if _points(normaliser, value) >= points - _CLOSE]
    if now is None:
        return enough[0] if enough else None
    return min(enough, key=lambda value: abs(value - now), default=None)
