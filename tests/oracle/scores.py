"""The oracle's scores: what one account's events and profile make of a policy at one moment.

Owns a second reading of docs/reference/policy/scores.md for segments, groups, sharing of weights, additive scores and
exceptions; fractions up to the end, floats in what is returned. Must not know logs, order or the product's own code.
Called by `tests.oracle.engine`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from tests.oracle.bands import DECIMALS, Held, band_due, shown_and_held
from tests.oracle.conditions import fits
from tests.oracle.derived import Account, outdated_measures, sources_in
from tests.oracle.events import Event
from tests.oracle.measures import measure_points
from tests.oracle.policy import Band, Policy, Score
from tests.oracle.silence import last_moment_ms, worse
from tests.oracle.status import ACTIVE, ENDED, NEW, UNSCORED, status_of

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

Factor = tuple[str, float | None, float | None, float, float]
Rating = tuple[Fraction | None, Fraction | None]
"""The value and the points of a measure."""
Rated = dict[str, Rating]


@dataclass(frozen=True)
class ScoreOf:
    """One score of an account, its band, and what it is made of.

    `factors` are (measure, value, points, effective weight, contribution). Contributions and `extras` (`base`,
    `clamping`, `exception`: those that the policy's score can have) sum to `value`. `nominal` are the contributions
    as if nothing were missing; with `redistribution` and `extras` they sum to `value` too. `exceptions` are the
    measures whose exceptions hold, one for each exception. `alert` is the severity that the band fires with, or None.
    Without data there is neither value nor band, and nothing is held. `held` is the band that the account holds to
    after this (None: to nothing yet), `exact` the value as a fraction, `weights` what the policy says each measure
    weighs (of an impact its size); these are not compared.
    """

    value: float | None
    band: str | None
    factors: list[Factor]
    extras: dict[str, float] = field(default_factory=dict)
    nominal: dict[str, float] = field(default_factory=dict)
    redistribution: float = 0.0
    exceptions: list[str] = field(default_factory=list)
    alert: str | None = None
    held: Held | None = field(default=None, compare=False)
    exact: Fraction = field(default=Fraction(0), compare=False)
    weights: dict[str, Fraction] = field(default_factory=dict, compare=False)

    def confidence(self, stalled: Container[str]) -> float:
        """Return 1 less the share of weight that lies on stalled measures, given by name."""
        return float(1 - self.rests_on(stalled))

    def rests_on(self, names: Container[str]) -> Fraction:
        """Return the share of weight that lies on measures, given by name."""
        weights = sum((weight for name, weight in self.weights.items() if name in names), Fraction(0))
        return weights / (sum(self.weights.values()) or 1)


@dataclass(frozen=True)
class AccountScores:
    """The scores of an account by name, and the policy's segment that it is in (None: in none).

    `points` are those of every measure (None: it has none); not compared.
    """

    segment: str | None
    scores: dict[str, ScoreOf]
    points: dict[str, Fraction | None] = field(default_factory=dict, compare=False)
    status: str = ACTIVE


def segment_of(policy: Policy, profile: Event | None, as_of_ms: int) -> str | None:
    """Return the name of the first segment that a profile fits."""
    fitting = (segment.name for segment in policy.segments if fits(segment.when, profile, as_of_ms))
    return next(fitting, None)


def score_all(
    events: Sequence[Event],
    policy: Policy,
    as_of_ms: int,
    profile: Event | None = None,
    held: Mapping[str, Held] | None = None,
    *,
    at_boundary: bool = False,
    clocks_ms: Mapping[str, int] | None = None,
    ended: bool = False,
) -> AccountScores:
    """Score one account at a moment. `events` are its own, sorted by time; those after the moment do not count.

    `ended` says that it has ended, whatever its events say.

    `held` is the sticky band by score; `at_boundary` says that the moment is a boundary that passes. Measures of a
    source in `clocks_ms` are read as of that moment.
    """
    segment = segment_of(policy, profile, as_of_ms)
    account = Account(policy, events, as_of_ms, profile, clocks_ms or {})
    rated = _rated(account, segment)
    moment_ms = last_moment_ms(policy, events, as_of_ms)
    if moment_ms is not None:
        clocks_then = {source: min(moment_ms, account.clocks_ms.get(source, as_of_ms)) for source in sources_in(policy)}
        rated = worse(policy, rated, _rated(replace(account, clocks_ms=clocks_then), segment))
    outdated = outdated_measures(account)
    all_unbanded = [
        replace(unbanded, has_data=unbanded.has_data and unbanded.result.rests_on(outdated) < Fraction(1, 2))
        for unbanded in _unbanded(policy, segment, tuple(rated.items()))
    ]
    has_score = any(unbanded.has_data for unbanded in all_unbanded)
    status = ENDED if ended else status_of(policy, events, profile, as_of_ms, has_score=has_score)
    if status in UNSCORED and has_score:
        rated = dict.fromkeys(rated, (None, None))
    scores = {}
    for unbanded in all_unbanded:
        if status in UNSCORED or not unbanded.has_data:
            held_on = None if at_boundary or held is None else held.get(unbanded.score.name)
            scores[unbanded.score.name] = _without_data(unbanded, rated, held_on)
            continue
        before = None if held is None else held.get(unbanded.score.name)
        band, after = shown_and_held(
            unbanded.score, unbanded.total, unbanded.limits, before, as_of_ms if at_boundary else None
        )
        alert = None if status == NEW else band.alert
        scores[unbanded.score.name] = replace(unbanded.result, band=band.name, alert=alert, held=after)
    return AccountScores(segment, scores, {name: points for name, (_, points) in rated.items()}, status)


def _rated(account: Account, segment: str | None) -> Rated:
    """Return the value and the points of every measure."""
    measures = account.policy.measures
    values = {measure.name: account.value(measure.name) for measure in measures}
    return {measure.name: (values[measure.name], measure_points(measure, values, segment)) for measure in measures}


def _without_data(unbanded: Unbanded, rated: Rated, held: Held | None) -> ScoreOf:
    """Return a score without value: every measure is shown as it is, with no weight."""
    names = [name for name, *_ in unbanded.result.factors]
    factors = [(name, _float(rated[name][0]), _float(rated[name][1]), 0.0, 0.0) for name in names]
    extras, weights = dict.fromkeys(unbanded.result.extras, 0.0), unbanded.result.weights
    return ScoreOf(None, None, factors, extras, held=held, weights=weights)


@dataclass(frozen=True)
class Unbanded:
    """A score whose `result` has no band yet: its exact value, and the bands that exceptions limit it to.

    `has_data` says whether any measure takes part in it.
    """

    score: Score
    total: Fraction
    limits: tuple[Band, ...]
    result: ScoreOf
    has_data: bool


@lru_cache(maxsize=64)
def _unbanded(policy: Policy, segment: str | None, rated: tuple[tuple[str, Rating], ...]) -> list[Unbanded]:
    """Score what was rated; cached, as from boundary to boundary little changes."""
    by_name = dict(rated)
    return [(_additive if score.additive else _weighted)(score, by_name) for score in policy.scores_in(segment)]


def due_band_of(score: Score, rated: Rated, held: str) -> str:
    """Return the band that is due by rated measures, for an account that holds to a band."""
    unbanded = (_additive if score.additive else _weighted)(score, rated)
    return band_due(unbanded.total, score.bands, held, unbanded.limits).name


def _shares(score: Score, rated: Rated, *, nominal: bool) -> dict[str, Fraction]:
    """Return each measure's part of the whole weight; `nominal` as if nothing were missing."""
    present = [
        (
            group.weight,
            {name: weight for name, weight in group.weights.items() if nominal or rated[name][1] is not None},
        )
        for group in score.groups
    ]
    groups = [
        (of_group, weights, sum(weights.values()))
        for of_group, weights in present
        if of_group and any(weights.values())
    ]
    whole = sum((of_group for of_group, _, _ in groups), Fraction(0))
    return {
        name: weight / total * of_group / whole
        for of_group, weights, total in groups
        for name, weight in weights.items()
    }


def _weighted(score: Score, rated: Rated) -> Unbanded:
    shares, nominal_shares = _shares(score, rated, nominal=False), _shares(score, rated, nominal=True)
    parts: dict[str, Fraction] = {}
    nominal: dict[str, Fraction] = {}
    for name in (name for group in score.groups for name in group.weights):
        share = nominal_shares.get(name, Fraction(0))
        points = rated[name][1] or Fraction(0)
        parts[name] = shares.get(name, Fraction(0)) * points
        nominal[name] = share * points
    average = sum(parts.values(), Fraction(0))
    holding = [
        exception for exception in score.exceptions if _is_below(rated[exception.measure][1], exception.points_below)
    ]
    total = min([average, *(exception.cap for exception in holding if exception.cap is not None)])
    limits = tuple(band for band in score.bands for exception in holding if exception.band == band.name)
    result = ScoreOf(
        float(total),
        "",
        [
            (name, _float(rated[name][0]), _float(rated[name][1]), float(shares.get(name, 0)), float(parts[name]))
            for name in rated
            if name in parts
        ],
        {"exception": float(total - average)} if score.may_except else {},
        {name: float(nominal[name]) for name in rated if name in nominal},
        float(average - sum(nominal.values(), Fraction(0))),
        [exception.measure for exception in holding],
        exact=total,
        weights=nominal_shares,
    )
    return Unbanded(score, total, limits, result, any(shares.values()))


def _is_below(points: Fraction | None, limit: Fraction) -> bool:
    return points is not None and round(points, DECIMALS) < limit


def _additive(score: Score, rated: Rated) -> Unbanded:
    """Score by impacts; a factor has no points, and its weight is what its value is multiplied by."""
    zero_at, hundred_at = score.line or (Fraction(0), Fraction(100))
    steepness = 100 / (hundred_at - zero_at)
    weights = {name: score.impacts[name] * steepness for name in rated if name in score.impacts}
    parts = {name: weight * (rated[name][0] or Fraction(0)) for name, weight in weights.items()}
    base = -zero_at * steepness
    total = bare = base + sum(parts.values(), Fraction(0))
    if score.line is not None:
        total = min(max(bare, Fraction(0)), Fraction(100))
    result = ScoreOf(
        float(total),
        "",
        [(name, _float(rated[name][0]), None, float(weight), float(parts[name])) for name, weight in weights.items()],
        {} if score.line is None else {"base": float(base), "clamping": float(total - bare)},
        {name: float(contribution) for name, contribution in parts.items()},
        exact=total,
        weights={name: abs(impact) for name, impact in score.impacts.items()},
    )
    return Unbanded(
        score, total, (), result, any(rated[name][0] is not None for name, weight in weights.items() if weight)
    )


def _float(number: Fraction | None) -> float | None:
    return None if number is None else float(number)
