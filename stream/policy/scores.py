"""Read the scores of a policy: what each is made of, its exceptions, what differs in segments.

Owns `Score` and its parts and their rules. Of measures it knows the names only. Called by the policy parser; what a
score's make-up has to say of measures is checked by `stream.policy.usage`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from schemas.events import NUMBER_LIMIT
from stream.policy.bands import Band, Weights, read_bands, read_starts
from stream.policy.errors import did_you_mean, listed, shown
from stream.policy.normalise import read_line
from stream.policy.normalisers import FULL_POINTS
from stream.policy.windows import read_dwell, read_forecast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream.policy.normalisers import Linear
    from stream.policy.table import Table

MODELS = ("weighted", "additive")

_MAKE_UP_KEYS = ("weights", "groups", "impacts")
_SCORE_KEYS = ("min_change", "bands", "dwell", "outlook", "model", *_MAKE_UP_KEYS, "map", "exceptions", "segments")
_SEGMENT_KEYS = (*_MAKE_UP_KEYS, "bands", "use")
_EXCEPTION_KEYS = ("measure", "points_below", "cap", "band")
_WEIGHTS = "a table of at least one measure with a number, such as { logins = 2, nps = 1 }"
_IMPACTS = "a table of measures and what one of each adds, such as { referral = 10 }"
_STEEPEST = 1e-6  # between the ends of a line: values are exact to as much
_SEPARATORS = frozenset("/:")  # they separate a score's name from others in rows and rules


@dataclass(frozen=True, slots=True)
class Group:
    """Measures that are weighed among themselves first, and the weight of all of them together."""

    name: str
    weight: float
    measures: Weights


@dataclass(frozen=True, slots=True)
class MakeUp:
    """What a score is made of: one of the three, or nothing for all measures that have a weight of their own."""

    weights: Weights = ()
    groups: tuple[Group, ...] = ()
    impacts: Weights = ()

    def __bool__(self) -> bool:
        """Whether it says anything."""
        return bool(self.weights or self.groups or self.impacts)

    def names(self) -> list[str]:
        """The measures it names, in its order."""
        pairs = [*self.weights, *self.impacts, *(pair for group in self.groups for pair in group.measures)]
        return [name for name, _ in pairs]


@dataclass(frozen=True, slots=True)
class Limit:
    """An exception: while `measure` has fewer than `points_below` points, the score or the band is limited."""

    measure: str
    points_below: float
    cap: float | None
    band: str | None


@dataclass(frozen=True, slots=True)
class SegmentScore:
    """What differs in a segment: another make-up or another score's, other starts of bands by name."""

    segment: str
    make_up: MakeUp
    use: str | None
    starts: Weights


@dataclass(frozen=True, slots=True)
class Score:
    """A score: the change in points that is worth publishing, bands ascending, and what it is made of.

    `model` None is the weighted mean; `line` puts an additive score on 0 to 100. `forecast_days` is how far
    ahead the next change of band is looked for.
    """

    name: str
    min_change: float
    bands: tuple[Band, ...]
    model: Literal["additive"] | None = None
    make_up: MakeUp | None = None
    line: Linear | None = None
    exceptions: tuple[Limit, ...] = ()
    segments: tuple[SegmentScore, ...] = ()
    dwell_ms: int | None = None
    forecast_days: int | None = None

    def made_in(self, segment: str, others: dict[str, Score]) -> tuple[MakeUp | None, tuple[Limit, ...], Weights]:
        """Make-up, exceptions and changed starts of bands in a segment; "" is no segment."""
        here = next((part for part in self.segments if part.segment == segment), None)
        if here is None:
            return self.make_up, self.exceptions, ()
        if here.use is not None:
            other = others[here.use]
            return other.make_up, other.exceptions, here.starts
        return here.make_up or self.make_up, self.exceptions, here.starts


def read_scores(root: Table, measures: Sequence[str], segments: Sequence[str]) -> tuple[Score, ...]:
    """The scores of a policy in the order of the file, less those that are no tables; what is wrong is noted.

    Of a score with something wrong, what could be read is there, so that measures can be checked against it.
    """
    scores = root.table("scores", "at least one table, such as [scores.health]", None)
    if scores is None:
        return ()
    if not list(scores):
        root.problem("scores", "must hold at least one score, such as [scores.health]; it is empty")
    found = [_Reader(scores, name, measures, segments).read() for name in scores]
    return tuple(score for score in found if score is not None)


class _Reader:
    """Reads one score; `measures` and `segments` are the names there are."""

    def __init__(self, scores: Table, name: str, measures: Sequence[str], segments: Sequence[str]) -> None:
        self._name = name
        self._measures, self._segments, self._others = measures, segments, tuple(scores)
        self._table = scores.named(name, "a table [scores.NAME] with min_change, bands and so on", _SCORE_KEYS)
        if self._table is not None and not _SEPARATORS.isdisjoint(name):
            scores.problem(name, "the name of a score holds no / and no :")
        self._additive = False

    def read(self) -> Score | None:
        table = self._table
        if table is None:
            return None
        self._additive = self._read_model(table) == "additive"
        min_change = table.number("min_change", "a number of points of 0 or more", 0.0)
        dwell = read_dwell(table) if "dwell" in table else None
        outlook = read_forecast(table) if "outlook" in table else None
        make_up = self._make_up(table)
        if self._additive and not any(key in table for key in _MAKE_UP_KEYS):
            table.wrong("impacts", _IMPACTS)
        line = self._line(table)
        bounded = not self._additive or line is not None
        bands = read_bands(table, bounded=bounded)
        limits = self._exceptions(table, [band.name for band in bands])
        segments = self._by_segment(table, bands, bounded=bounded)
        kind: Literal["additive"] | None = "additive" if self._additive else None
        return Score(
            self._name, min_change or 0.0, bands, kind, make_up or None, line, limits, segments, dwell, outlook
        )

    @staticmethod
    def _read_model(table: Table) -> str:
        """The model; where it is missing or no word at all, what the other keys suggest."""
        meant = "additive" if "impacts" in table and "weights" not in table and "groups" not in table else "weighted"
        if "model" in table:
            return table.choice("model", MODELS) or meant
        if meant == "additive":
            table.problem("impacts", 'only model "additive" takes impacts: write model = "additive" above')
        return meant

    def _make_up(self, table: Table) -> MakeUp:
        wrong = ("weights", "groups") if self._additive else ("impacts",)
        model = "additive" if self._additive else "weighted"
        for key in wrong:
            if key in table:
                other = "weighted" if self._additive else "additive"
                able = "impacts" if self._additive else "weights or groups"
                message = f'only model "{other}" takes {key}, and the model is "{model}", which takes {able}'
                table.problem(key, message)
        if self._additive:
            return MakeUp(impacts=self._impacts(table)) if "impacts" in table else MakeUp()
        if "weights" in table and "groups" in table:
            table.problem("groups", "a score takes weights or groups, not both")
        weights = self._weights(table, "weights") if "weights" in table else ()
        return MakeUp(weights=weights, groups=self._groups(table) if "groups" in table else ())

    def _weights(self, table: Table, key: str) -> Weights:
        """Measures and what each weighs."""
        found = self._named(table, key, _WEIGHTS, "a number of 0 or more", (0.0, math.inf))
        given = table.value(key)
        if found and isinstance(given, dict) and len(found) == len(given) and not any(weight for _, weight in found):
            table.problem(key, "the weights add up to 0; at least one needs a weight above 0")
        return found

    def _impacts(self, table: Table) -> Weights:
        """Measures and what one of each adds."""
        limits = f"a number from {-NUMBER_LIMIT:g} to {NUMBER_LIMIT:g}: what one adds to the score"
        return self._named(table, "impacts", _IMPACTS, limits, (-NUMBER_LIMIT, NUMBER_LIMIT))

    def _named(self, table: Table, key: str, expected: str, of_each: str, limits: tuple[float, float]) -> Weights:
        """A table of measures with a number each, sorted by name: their order in the file means nothing."""
        values = table.table(key, expected, None)
        if values is None:
            return ()
        if not list(values):
            table.wrong(key, expected)
        for name in values if self._measures else ():  # that there is none at all has been noted
            self._check_name(values, name, name, self._measures, "measure")
        found = [(name, values.number(name, of_each, *limits)) for name in values]
        return tuple(sorted((name, number) for name, number in found if number is not None))

    @staticmethod
    def _check_name(table: Table, key: str, given: object, known: Sequence[str], what: str) -> None:
        if given not in known:
            guess = did_you_mean(given, known) or ";"
            there = f" there are: {listed(known)}" if known else " there is none"
            table.problem(key, f"{shown(given)} is no {what} of this policy{guess}{there}")

    def _groups(self, table: Table) -> tuple[Group, ...]:
        groups = table.table("groups", "tables such as [scores.health.groups.product]", None)
        found: list[Group] = []
        owner: dict[str, str] = {}
        for name in groups or ():
            assert groups is not None
            given = groups.value(name)
            if isinstance(given, dict) and given and "measures" not in given and set(given) <= set(self._measures):
                groups.problem(name, f"must be a table such as {{ weight = 1, measures = {shown(given)} }}")
                continue
            group = groups.named(name, "a table with a weight and measures", ("weight", "measures"))
            if group is None:
                continue
            weight = group.number("weight", "a number of 0 or more", 0.0)
            measures = self._weights(group, "measures")
            for measure, _ in measures:
                if measure in owner:
                    group.problem("measures", f"{shown(measure)} is in group {owner[measure]} already")
                owner.setdefault(measure, name)
            if weight is not None and measures:
                found.append(Group(name, weight, measures))
        if groups is not None and not list(groups):
            table.problem("groups", "must hold at least one group, such as [scores.health.groups.product]")
        if groups is not None and 0 < len(found) == len(list(groups)) and not any(group.weight for group in found):
            table.problem("groups", "the weights add up to 0; at least one group needs a weight above 0")
        return tuple(sorted(found, key=lambda group: group.name))

    def _line(self, table: Table) -> Linear | None:
        if "map" not in table:
            return None
        if not self._additive:
            table.problem("map", 'only model "additive" takes map, and the model is "weighted"')
            return None
        ends = table.table("map", "a table such as { zero_at = -50, hundred_at = 150 }", ("zero_at", "hundred_at"))
        line = None if ends is None else read_line(ends)
        if ends is not None and line is not None and abs(line.hundred_at - line.zero_at) < _STEEPEST:
            ends.wrong("hundred_at", f"further from zero_at, which is {line.zero_at:g}")
        return line

    def _exceptions(self, table: Table, bands: Sequence[str]) -> tuple[Limit, ...]:
        if "exceptions" not in table:
            return ()
        if self._additive:
            table.problem("exceptions", 'only model "weighted" takes exceptions: they look at points')
            return ()
        expected = 'a list such as [{ measure = "nps", points_below = 50, cap = 40 }]'
        rows = table.tables("exceptions", expected, _EXCEPTION_KEYS) or []
        found = [self._exception(row, bands) for row in rows]
        return tuple(limit for limit in found if limit is not None)

    def _exception(self, row: Table, bands: Sequence[str]) -> Limit | None:
        measure = row.text("measure", "a string: the measure that overrules")
        if measure is not None and self._measures:
            self._check_name(row, "measure", measure, self._measures, "measure")
        below = row.number("points_below", "a number of points above 0, up to 100", 0.0, FULL_POINTS)
        if below == 0.0:
            row.wrong("points_below", "a number of points above 0, up to 100")
        if "cap" in row and "band" in row:
            row.problem("cap", "an exception has a cap or a band, not both; for both, write two exceptions")
            return None
        if "cap" not in row and "band" not in row:
            row.problem("cap", "missing: an exception has a cap (a number of points) or a band")
            return None
        cap = row.number("cap", "a number of points from 0 to 100", 0.0, FULL_POINTS) if "cap" in row else None
        band = row.choice("band", tuple(bands)) if "band" in row and bands else None
        if measure is None or below is None or (cap is None and band is None):
            return None
        return Limit(measure, below, cap, band)

    def _by_segment(self, table: Table, bands: Sequence[Band], *, bounded: bool) -> tuple[SegmentScore, ...]:
        if "segments" not in table:
            return ()
        tables = table.table("segments", f"tables such as [scores.{self._name}.segments.enterprise]", None)
        found = []
        for name in tables or ():
            assert tables is not None
            self._check_name(tables, name, name, self._segments, "segment")
            part = tables.table(name, f"a table with {listed(_SEGMENT_KEYS)}", _SEGMENT_KEYS)
            if part is not None:
                use, starts = self._use(part), read_starts(part, bands, bounded=bounded)
                found.append(SegmentScore(name, self._make_up(part), use, starts))
        return tuple(sorted(found, key=lambda part: part.segment))

    def _use(self, part: Table) -> str | None:
        if "use" not in part:
            return None
        others = tuple(name for name in self._others if name != self._name)
        use = None
        if part.value("use") == self._name:
            part.problem("use", f"{shown(self._name)} is this score itself: name another one, or remove use")
        elif not others:
            part.problem("use", "names another score whose weights stand in here, and this policy has one score only")
        else:
            use = part.choice("use", others)
        for key in _MAKE_UP_KEYS:
            if key in part:
                part.problem(key, "use takes all of this from the other score: remove one of the two")
        return use
