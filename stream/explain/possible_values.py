"""Which values a measure can have: whole numbers for what is counted, the ends of scales, and steps for the rest.

Owns the steps in which explanations name values, and the pieces of a normaliser on which points only rise or only fall.
Pure; called by `stream.explain.lifts`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import reduce
from itertools import pairwise
from typing import NamedTuple

from schemas.events import NUMBER_LIMIT, SURVEY_SCALES
from stream.policy.filters import parts_of
from stream.policy.measures import FACTS_SOURCE, Measure
from stream.policy.normalisers import Curve, Decay, Linear, Simple, Threshold, Tiers
from stream.policy.own.normaliser import OwnNormaliser

_SMALLEST_STEP = Fraction(1, 1_000_000)
_STEPS_IN_SPAN = 1000
_HALF_LIVES = 64
"""After so many half-lives, `decay` gives no points that a score could show."""
_NEVER_NEGATIVE = {
    "product-usage": ("duration_s", "count"),
    "billing": ("days_late",),
    "support-tickets": ("first_response_s", "resolution_s"),
}
"""Number fields, by source, that are 0 or more."""
_DISTINCT = ("distinct", "distinct_users", "distinct_features", "distinct_roles")
_COUNTED = ("count", *_DISTINCT, "days_since_last", "active", "streak", "open", "open_max_days")
_WHOLE_STATS = (*_COUNTED, "days_to_first")
_EXTREMES = ("mean", "min", "max", "last")
_PULSE = (0.0, 100.0)
_PERCENT = (0.0, 100.0)
_ANY = (-NUMBER_LIMIT, NUMBER_LIMIT)
_FROM_0 = (0.0, NUMBER_LIMIT)


class Piece(NamedTuple):
    """Values from `low` to `high` on which points are `constant`, or only rise or only fall.

    `open_low` and `open_high` say that the end itself is not in the piece.
    """

    low: float
    high: float
    constant: bool
    open_low: bool = False
    open_high: bool = False


class PossibleValues(NamedTuple):
    """Values from `low` to `high` in multiples of `step`; with `between`, limits of a normaliser between them too.

    `only` are all values there are, where these are few.
    """

    low: float
    high: float
    step: Fraction
    between: bool
    only: tuple[float, ...] = ()

    def value(self, index: int) -> float:
        """The value at a multiple of the step."""
        return float(index * self.step)

    def first_from(self, value: float, *, beyond: bool = False) -> int:
        """Index of the smallest multiple that is at least `value`, or above it."""
        index = math.ceil(Fraction(value) / self.step) - 1  # one less: the value may be a rounded multiple
        while self.value(index) < value or (beyond and self.value(index) == value):
            index += 1
        return index

    def last_to(self, value: float, *, before: bool = False) -> int:
        """Index of the largest multiple that is at most `value`, or below it."""
        index = math.floor(Fraction(value) / self.step) + 1
        while self.value(index) > value or (before and self.value(index) == value):
            index -= 1
        return index

    def ends(self, piece: Piece) -> Iterator[float]:
        """The lowest and the highest possible value in a piece, or all of few; nothing if there is none."""
        low, high = max(piece.low, self.low), min(piece.high, self.high)
        open_low, open_high = piece.open_low and low == piece.low, piece.open_high and high == piece.high
        if low > high:
            return
        if self.only:
            yield from (value for value in self.only if low <= value <= high)
            return
        first, last = self.first_from(low, beyond=open_low), self.last_to(high, before=open_high)
        inside = [self.value(first), self.value(last)] if first <= last else []
        if self.between:
            inside += [low] * (not open_low) + [high] * (not open_high)
        if inside:
            yield from (min(inside), max(inside))


def possible_values(measure: Measure, normaliser: Simple | None, span: float, now: float | None) -> PossibleValues:
    """The possible values of a measure; `span` is the range that matters where the normaliser has none (additive).

    Without a value `now`, the value of one event is meant.
    """
    if measure.stat == "last" and measure.weights is not None:
        only = tuple(sorted({round(weight, 6) for _, weight in measure.weights[1]}))
        return PossibleValues(only[0], only[-1], Fraction(1), between=False, only=only)
    low, high = _range(measure)
    step = _step(measure, now)
    if step is not None:
        return PossibleValues(low, high, step, between=False)
    limits = [value for piece in pieces(normaliser) for value in (piece.low, piece.high) if abs(value) < NUMBER_LIMIT]
    if isinstance(normaliser, Decay):
        span = normaliser.half_life
    elif normaliser is not None and limits:
        span = max(limits) - min(limits) or abs(limits[0]) or 1.0
    exponent = math.floor(math.log10(span)) if 0.0 < span < math.inf else 0
    return PossibleValues(
        low, high, max(Fraction(10) ** exponent / _STEPS_IN_SPAN, _SMALLEST_STEP), between=normaliser is not None
    )


def pieces(normaliser: Simple | None) -> list[Piece]:
    """The pieces of a normaliser, from the lowest value up; of none (an additive score), one piece."""
    low, high = _ANY
    lines = _lines(normaliser)
    if lines:
        inner = [Piece(start, end, constant=False) for start, end in pairwise(lines)]
        return [Piece(low, lines[0], constant=True), *inner, Piece(lines[-1], high, constant=True)]
    if isinstance(normaliser, Tiers):
        starts = [low, *(start for start, _ in normaliser.steps[1:]), high]
        return [Piece(start, end, constant=True, open_high=end < high) for start, end in pairwise(starts)]
    if isinstance(normaliser, Threshold) and normaliser.good > normaliser.average:
        middle = Piece(normaliser.average, normaliser.good, constant=True, open_high=True)
        return [
            Piece(low, middle.low, constant=True, open_high=True),
            middle,
            Piece(middle.high, high, constant=True),
        ]
    if isinstance(normaliser, Threshold):
        middle = Piece(normaliser.good, normaliser.average, constant=True, open_low=True)
        return [Piece(low, middle.low, constant=True), middle, Piece(middle.high, high, constant=True, open_low=True)]
    turns = normaliser.turns if isinstance(normaliser, OwnNormaliser) else ()
    return [Piece(start, end, constant=False) for start, end in pairwise((low, *turns, high))]


def _lines(normaliser: Simple | None) -> list[float]:
    """The values between which the points of a normaliser lie on lines or a curve; empty for steps."""
    if isinstance(normaliser, Linear):
        return sorted((normaliser.zero_at, normaliser.hundred_at))
    if isinstance(normaliser, Decay):
        return [0.0, normaliser.half_life * _HALF_LIVES]
    return [value for value, _ in normaliser.knots] if isinstance(normaliser, Curve) else []


def _step(measure: Measure, now: float | None) -> Fraction | None:
    """The distance of possible values where they have one; None where they lie as close as numbers do."""
    if measure.compare == "percentile":
        return Fraction(50, measure.blocks)  # an equal window counts half
    if measure.compare is not None or (measure.stat == "rate" and measure.window.unit == "month"):
        return None  # the length of a month depends on the day
    if measure.stat in {"rate", "active_share"} and measure.per_hours:
        hours = (measure.window.counted or measure.window.panes) * (1 if measure.window.unit == "hour" else 24)
        return Fraction(measure.per_hours) / hours
    if measure.stat == "weighted_count" and measure.weights is not None:
        weights = [abs(round(weight * 1_000_000)) for _, weight in measure.weights[1] if weight]
        return Fraction(reduce(math.gcd, weights), 1_000_000) if any(weights) else Fraction(1)
    is_nps = measure.stat == "nps"
    if now is None and (is_nps or (measure.source == "surveys" and measure.stat in _EXTREMES)):
        return Fraction(100 if is_nps else 1)  # one answer; of `nps`, by a promoter or a detractor
    is_answer = measure.source == "surveys" and measure.stat in _EXTREMES and measure.stat != "mean"
    is_day = measure.source == FACTS_SOURCE and measure.stat != "value"
    is_whole = is_day or measure.stat in _WHOLE_STATS or (is_answer and now is not None and now.is_integer())
    return Fraction(1) if is_whole else None


def _range(measure: Measure) -> tuple[float, float]:
    """The lowest and the highest value."""
    is_sum = measure.stat == "sum" and not _is_never_negative(measure)
    may_be_negative = is_sum or measure.formula is not None
    if measure.compare is not None:
        previous = _ANY if may_be_negative else (-_PERCENT[1], NUMBER_LIMIT)
        return {"percentile": _PERCENT, "peers": _PERCENT, "previous": previous}.get(measure.compare, _ANY)
    if measure.stat == "days_to_first":
        return _ANY
    if measure.stat in {"share", "active_share", "nps"}:
        return (-_PERCENT[1], _PERCENT[1]) if measure.stat == "nps" else (0.0, 1.0)
    if measure.stat in {"days_since_last", "active", "streak"}:
        periods = measure.window.panes * 24 / (measure.per_hours or 24)
        return 0.0, periods - 1 if measure.stat == "days_since_last" else periods
    if measure.stat in _EXTREMES and measure.source in {"surveys", "controls"}:
        return _PULSE if measure.source == "controls" else _scale(measure)
    weights = () if measure.weights is None else measure.weights[1]
    counts = measure.stat in {*_COUNTED, "open_mean_days", "rate", "weighted_count"} and all(
        weight >= 0 for _, weight in weights
    )
    from_0 = counts or _is_never_negative(measure) or measure.source in {"surveys", "controls"}
    return _FROM_0 if counts or (from_0 and measure.stat != "weighted_count") else _ANY


def _is_never_negative(measure: Measure) -> bool:
    return measure.field in _NEVER_NEGATIVE.get(measure.source, ())


def _scale(measure: Measure) -> tuple[float, float]:
    """The scale of the surveys that a measure reads."""
    kinds = set(SURVEY_SCALES)
    for condition in measure.where:
        field, operator, values = parts_of(condition)
        if field == "kind" and isinstance(values, tuple) and operator in {"in", "not"}:
            kinds = {kind for kind in kinds if (kind in values) == (operator == "in")} or kinds
    scales = [SURVEY_SCALES[kind] for kind in kinds]
    return min(low for low, _ in scales), max(high for _, high in scales)
