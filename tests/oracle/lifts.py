"""The oracle's changes of one measure: tries them one by one, and says of each whether it lifts an account a band.

Owns which values a measure can have, and a list of them to try: dense where scores change, and all whole numbers of
what is counted. Must not know how the product finds a change, or its code. Called by
`tests/property/test_lifts.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tests.oracle.formulas import names_in
from tests.oracle.measures import measure_points
from tests.oracle.policy import OPEN_STATISTICS, Measure, Score, read_policy
from tests.oracle.scores import due_band_of

TINY = Fraction(1, 1_000_000)
_SCALES = {"nps": (0, 10), "csat": (1, 5), "ces": (1, 7)}
_SPREAD = 60
_WHOLE = range(-130, 430)


@dataclass(frozen=True)
class Changes:
    """One score of an account that is in `band`: `values` are those of all measures (None: missing)."""

    policy_text: str
    score_name: str
    segment: str | None
    values: dict[str, Fraction | None]
    band: str

    @property
    def score(self) -> Score:
        """The score as it is in the account's segment."""
        scores = read_policy(self.policy_text).scores_in(self.segment)
        return next(score for score in scores if score.name == self.score_name)

    @property
    def measures(self) -> list[Measure]:
        """The measures that a change could be of: those of the score, and those of its exceptions.

        A measure with a condition on the account, and without a value, may not be for the account.
        """
        score = self.score
        names = {name for group in score.groups for name in group.weights} | set(score.impacts)
        names |= {exception.measure for exception in score.exceptions}
        measures = read_policy(self.policy_text).measures
        read = {name for measure in measures for name in _read_by(measure)}
        names -= {each.name for each in measures if "when" in each.settings and self.values[each.name] is None}
        return [measure for measure in measures if measure.name in names - read]

    def is_enough(self, changed: str | None = None, value: Fraction | None = None) -> bool:
        """Say whether the band that is due is better than the account's, with one measure changed."""
        values = self.values if changed is None else {**self.values, changed: value}
        rated = {
            measure.name: (values[measure.name], measure_points(measure, values, self.segment))
            for measure in read_policy(self.policy_text).measures
        }
        score = self.score
        order = {band.name: band.lowest for band in score.bands}
        return order[due_band_of(score, rated, self.band)] > order[self.band]

    def points(self, measure: Measure, value: Fraction) -> Fraction:
        """The points of a value."""
        return measure_points(measure, {**self.values, measure.name: value}, self.segment) or Fraction(0)

    def rule(self, measure: Measure) -> dict[str, Any] | None:
        """The normaliser, None for an additive score."""
        rule = None if self.score.additive else measure.normaliser(self.segment)
        if rule is None or rule["kind"] != "grid":
            return rule
        selects = self.values.get(rule["by"])
        below: list[dict[str, Any]] = [
            row for row in rule["rows"] if selects is not None and Fraction(row["from"]) <= selects
        ]
        first: dict[str, Any] = rule["rows"][0]
        return below[-1] if below else first

    def limits(self, measure: Measure) -> list[Fraction]:
        """The values at which the points of a measure change or begin to change."""
        rule = self.rule(measure) or {}
        if rule.get("kind") == "tiers":
            return [Fraction(tier.get("from", tier.get("above"))) for tier in rule["tiers"]]
        if rule.get("kind") == "curve":
            return [Fraction(knot["at"]) for knot in rule["curve"]]
        names = ("zero_at", "hundred_at", "good", "average", "half_life")
        return [Fraction(rule[name]) for name in names if name in rule]

    def resolution(self, measure: Measure) -> Fraction:
        """How far a value that is named may be from the smallest change; 0 where there are only single values."""
        if is_stepped(measure, self.values[measure.name]):
            return Fraction(0)
        limits = self.limits(measure)
        if limits:
            return max((max(limits) - min(limits) or abs(limits[0]) or Fraction(1)) / 1000, TINY)
        score = self.score
        zero_at, hundred_at = score.line or (Fraction(0), Fraction(100))
        starts = [band.lowest for band in score.bands]
        spread = max(starts) - min(starts) or Fraction(1)
        impact = abs(score.impacts.get(measure.name, Fraction(1))) * 100 / abs(hundred_at - zero_at)
        return max(spread / impact / 1000, TINY)

    def tries(self, measure: Measure) -> list[Fraction]:
        """The values to try."""
        if measure.stat == "last" and "weights" in measure.settings:
            return texts_of(measure)
        low, high = range_of(measure)
        limits, now = self.limits(measure), self.values[measure.name] or Fraction(0)
        if is_stepped(measure, self.values[measure.name]):
            step = step_of(measure)
            around = [limit // step * step for limit in (now, *limits)]
            numbers = {Fraction(index) * step for index in _WHOLE}
            numbers |= {each + index * step for each in around for index in (-2, -1, 0, 1, 2)}
        else:
            lowest, highest = min([now, *limits]) - 5, max([now, *limits]) + 5
            numbers = {lowest + (highest - lowest) * index / _SPREAD for index in range(_SPREAD + 1)}
            numbers |= {limit + sign * TINY for limit in limits for sign in (-1, 0, 1)}
            numbers |= {now + sign * Fraction(2) ** power for power in range(-8, 30) for sign in (-1, 1)}
        return [number for number in sorted(numbers) if low <= number <= high]


def is_stepped(measure: Measure, now: Fraction | None) -> bool:
    """Say whether a measure has only multiples of a step for values."""
    settings = measure.settings
    if "compare" in settings:
        return bool(settings["compare"] == "percentile")
    if "weights" in settings and measure.stat == "last":
        return True
    if measure.stat == "nps":
        return now is None
    answers = measure.source == "surveys" and measure.stat in ("mean", "min", "max", "last")
    if answers and (now is None or (measure.stat != "mean" and now.denominator == 1)):
        return True
    return measure.stat in (
        "count",
        "active",
        "active_share",
        "streak",
        "distinct",
        "distinct_users",
        "distinct_features",
        "distinct_roles",
        "days_since_last",
        "days_since",
        "days_until",
        "rate",
        "weighted_count",
        "open",
        "open_max_days",
        "days_to_first",
    )


def texts_of(measure: Measure) -> list[Fraction]:
    """What the texts count of which a measure takes the latest."""
    ((_, weights),) = measure.settings["weights"].items()
    return sorted({Fraction(weight) for weight in weights.values()})


def step_of(measure: Measure) -> Fraction:
    """The step of a measure that has one."""
    settings = measure.settings
    if measure.stat == "nps":
        return Fraction(100)
    if settings.get("compare") == "percentile":
        return Fraction(50, measure.windows_before)
    if measure.stat in ("rate", "active_share"):
        hours = {"hour": 1, "day": 24, "week": 168}[settings.get("per", "day")]
        return Fraction(hours * 3_600_000, measure.panes * measure.pane_ms)
    if measure.stat == "weighted_count":
        ((_, weights),) = settings["weights"].items()
        millionths = [int(Fraction(weight) * 1_000_000) for weight in weights.values() if weight]
        while len(millionths) > 1:  # Euclid
            first, second, *rest = sorted(millionths)
            millionths = [first, *([second % first] if second % first else []), *rest]
        return Fraction(millionths[0], 1_000_000) if millionths else Fraction(1)
    return Fraction(1)


def range_of(measure: Measure) -> tuple[Fraction, Fraction]:
    """The lowest and the highest value that a measure can have."""
    endless, settings = Fraction(10**12), measure.settings
    field = settings.get("field")
    names_amount = field in ("amount", "value", "score") or str(field).startswith("properties.")
    amount = measure.stat == "sum" and names_amount and measure.source != "product-usage"
    if measure.expression is not None:
        return (-endless, endless)
    if "compare" in settings:
        previous = (-endless if amount else Fraction(-100), endless)
        of = {"percentile": (Fraction(0), Fraction(100)), "previous": previous}
        return of.get(settings["compare"], (-endless, endless))
    periods = measure.panes // (7 if settings.get("per") == "week" else 1)
    fixed: dict[str, tuple[int | Fraction, int | Fraction]] = {
        "active": (0, periods),
        "streak": (0, periods),
        "share": (0, 1),
        "active_share": (0, 1),
        "nps": (-100, 100),
        "days_since_last": (0, measure.panes - 1),
        **dict.fromkeys(OPEN_STATISTICS, (0, 10**12)),
        "days_to_first": (-(10**12), 10**12),
    }
    if "weights" in settings and measure.stat == "last":
        fixed["last"] = (texts_of(measure)[0], texts_of(measure)[-1])
    if measure.stat in fixed:
        return Fraction(fixed[measure.stat][0]), Fraction(fixed[measure.stat][1])
    if measure.source == "surveys" and measure.stat in ("mean", "min", "max", "last"):
        kinds = _kinds(settings.get("where", {}).get("kind", list(_SCALES)))
        return Fraction(min(_SCALES[kind][0] for kind in kinds)), Fraction(max(_SCALES[kind][1] for kind in kinds))
    if measure.source == "controls" and measure.stat in ("mean", "min", "max", "last"):
        return Fraction(0), Fraction(100)
    any_number = str(field).startswith("properties.")
    signed = (
        measure.is_fact or any_number or (field in ("amount", "value") and measure.source in ("billing", "signals"))
    )
    return (-endless if signed else Fraction(0), endless)


def _kinds(condition: Any) -> list[str]:
    """The kinds of surveys that a condition lets pass, or all if it lets none pass."""
    if isinstance(condition, dict):
        only, but = condition.get("in", list(_SCALES)), condition.get("not", [])
        condition = [kind for kind in only if kind not in but]
    return [kind for kind in _SCALES if kind in condition] or list(_SCALES)


def _read_by(measure: Measure) -> set[str]:
    """The measures that another one is computed from, or whose value selects the row of its grid."""
    names = set() if measure.expression is None else set(names_in(measure.expression))
    rules = [measure.settings.get("normalise", {})]
    rules += [segment.get("normalise", {}) for segment in measure.settings.get("segments", {}).values()]
    return names | {rule["by"] for rule in rules if "by" in rule}
