"""Find the smallest change of each measure that alone lifts an account into the next better band.

Every change is tried by scoring it as the engine does, with exceptions, caps, `leave` and shared weights; nothing is
derived from the formulas. Pure; called by `stream.explain.explain`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from schemas.outputs import ScoreMessage
from stream.explain.possible_values import Piece, PossibleValues, pieces, possible_values
from stream.explain.selector import SelectedScore, normaliser_in
from stream.plan.models import Model
from stream.plan.plan import Plan
from stream.policy.measures import Measure
from stream.policy.normalisers import Grid, Normaliser, Simple
from stream.scoring.scoring import Scored, score_values

Vector = NDArray[np.float64]
Readings = Mapping[str, float | None]

_TRIED_AT_ONCE = 200


class Lift(Struct, omit_defaults=True):
    """A change of one measure that alone lifts the score a band: its value now, the value needed, the points of that.

    `points` is null for an additive score, which has none. With `of_peers` the values are percentiles among peers.
    """

    measure: str
    value: float | None
    needed: float
    points: float | None
    of_peers: bool = False


class Trials:
    """Scores of one account with one measure changed."""

    def __init__(
        self, plan: Plan, selected: SelectedScore, message: ScoreMessage, band: int, readings: Readings | None
    ) -> None:
        """`band` (an index) is the account's; `readings` are the values of all measures, by default the message's."""
        self._plan, self._selected, self.band = plan, selected, band
        names = [segment.name for segment in plan.policy.segments]
        self.segment = message.segment if message.segment in names else None
        self._segments = None
        if names:
            number = -1 if self.segment is None else names.index(self.segment)
            self._segments = np.array([number], dtype=np.int8)
        model_index = 0 if self._segments is None else int(self._segments[0]) + 1
        self.model: Model = plan.scores[selected.number].models[model_index]
        self.known = _known(message) if readings is None else readings
        values = [self._value(measure_plan.measure, message) for measure_plan in plan.measures]
        self._values = np.array([np.nan if value is None else value for value in values])

    def _value(self, measure: Measure, message: ScoreMessage) -> float | None:
        """A measure's value; of one that limits the score and that the message does not have, the worst."""
        holding = message.scores[self._selected.name].exceptions or []
        if measure.name in self.known or measure.name not in holding:
            return self.known.get(measure.name)
        normaliser = self.row_of(normaliser_in(measure, self.segment))
        ends = [end for piece in pieces(normaliser) for end in (piece.low, piece.high)]
        return min(ends, key=lambda end: _points(normaliser, end))

    def row_of(self, normaliser: Normaliser | None) -> Simple | None:
        """The normaliser that applies: of a grid, that of its row; None if the value that selects it is missing."""
        if not isinstance(normaliser, Grid):
            return normaliser
        selects = self.known.get(normaliser.by)
        return None if selects is None else normaliser.row(selects)

    def scored(self, index: int, values: Vector) -> Scored:
        """The scores where measure `index` has each of the values (k,)."""
        matrix = np.tile(self._values, (len(values), 1))
        matrix[:, index] = values
        sticky = np.full((len(values), len(self._plan.scores)), -1, dtype=np.int8)
        sticky[:, self._selected.number] = self.band
        segments = None if self._segments is None else np.repeat(self._segments, len(values))
        return score_values(self._plan, matrix, segments, sticky)

    def due_bands(self, index: int, values: Vector) -> NDArray[np.int8]:
        """The band (an index) that is due where measure `index` has each of the values (k,)."""
        return self.scored(index, values).scores[self._selected.number].bands

    def due_band(self) -> int:
        """The band that is due now; with `dwell` it may differ from the account's."""
        return int(self.due_bands(0, self._values[:1])[0])

    def enough(self, index: int, values: Vector) -> NDArray[np.bool_]:
        """Which values of measure `index` lift the account above its band."""
        return self.due_bands(index, values) > self.band


def _known(message: ScoreMessage) -> dict[str, float | None]:
    known = {factor.measure: factor.value for score in message.scores.values() for factor in score.factors}
    return (message.inputs or {}) | known


def find_lifts(plan: Plan, selected: SelectedScore, trials: Trials) -> list[Lift]:
    """The smallest change of each measure that is enough, those with the fewest points first.

    Left out are measures that others are computed from, or that select the row of a grid: they change others, too.
    """
    read = {name for measure_plan in plan.measures for name in measure_plan.measure.reads}
    limiting = {limit.measure for limit in trials.model.limits}
    weights = dict(zip([measure.name for measure in selected.measures], trials.model.weights.tolist(), strict=True))
    lifts = []
    for index, measure_plan in enumerate(plan.measures):
        measure = measure_plan.measure
        if measure.name in read or (not weights.get(measure.name) and index not in limiting):
            continue
        lift = _lift(index, measure, selected, trials, weights.get(measure.name, 0.0))
        if lift is not None:
            lifts.append(lift)
    return sorted(lifts, key=lambda lift: (lift.points or 0.0, lift.measure))


def _lift(index: int, measure: Measure, selected: SelectedScore, trials: Trials, weight: float) -> Lift | None:
    now, additive = trials.known.get(measure.name), selected.scale is not None
    if now is None and measure.when is not None:
        return None  # the account may be one that the measure is not for: then no event gives it a value
    rule = normaliser_in(measure, trials.segment)
    normaliser = None if additive else trials.row_of(rule)
    if isinstance(rule, Grid) and normaliser is None and not additive:
        return None  # without the other value it has no points, whatever its own is
    values = possible_values(measure, normaliser, _span(selected, weight), now)
    start = 0.0 if additive and now is None else now
    candidates = _candidates(index, values, normaliser, trials, start)
    if not candidates:
        return None
    if start is None:
        needed = min(candidates, key=lambda value: (_points(normaliser, value), abs(value), value))
    else:
        needed = min(candidates, key=lambda value: (abs(value - start), value))
    points = None if additive else _points(normaliser, needed)
    return Lift(measure.name, now, needed + 0.0, points, measure.compare == "peers")


def _span(selected: SelectedScore, weight: float) -> float:
    """The range of values that moves an additive score through its bands."""
    points = selected.bands[-1].from_ - selected.bands[0].from_ or 1.0
    return points / abs(weight * (selected.scale or 1.0)) if weight else 1.0


def _points(normaliser: Simple | None, value: float) -> float:
    return 0.0 if normaliser is None else float(normaliser.points(np.array([value]))[0])


def _candidates(
    index: int, values: PossibleValues, normaliser: Simple | None, trials: Trials, start: float | None
) -> list[float]:
    """Values that are enough, the nearest to `start` among them; without `start`, the ends of what is enough."""
    tried: list[float] = []
    for piece in pieces(normaliser):
        tried += values.ends(piece)
        if not piece.constant and not values.only:
            tried += _turning_point(index, values, piece, trials)
        elif start is not None:
            tried += [start] if piece.low < start < piece.high else []
    if not tried:
        return []
    enough = trials.enough(index, np.array(tried))
    candidates = [value for value, is_enough in zip(tried, enough.tolist(), strict=True) if is_enough]
    if start is not None or not candidates or values.only:
        return candidates
    ends = [value for value in candidates if _is_end(index, value, values, trials)]
    return ends or candidates


def _is_end(index: int, value: float, values: PossibleValues, trials: Trials) -> bool:
    """Whether a value that is enough has a possible neighbour that is not."""
    around = (values.value(values.last_to(value, before=True)), values.value(values.first_from(value, beyond=True)))
    possible = np.array([neighbour for neighbour in around if values.low <= neighbour <= values.high])
    return not trials.enough(index, possible).all()


def _turning_point(index: int, values: PossibleValues, piece: Piece, trials: Trials) -> list[float]:
    """The multiple of the step at which values of a rising or falling piece begin or cease to be enough."""
    low = values.first_from(max(piece.low, values.low))
    high = values.last_to(min(piece.high, values.high))
    if low > high:
        return []
    first, last = trials.enough(index, np.array([values.value(low), values.value(high)])).tolist()
    while first != last and high - low > 1:
        distance = max((high - low) // _TRIED_AT_ONCE, 1)
        indexes = [*range(low, high, distance), high]
        enough = trials.enough(index, np.array([values.value(number) for number in indexes])).tolist()
        turns = [pair for pair, (left, right) in zip(pairwise(indexes), pairwise(enough), strict=True) if left != right]
        low, high = turns[0]
    return [values.value(low), values.value(high)]
