"""Read the scores of a policy: what each is made of, its exceptions, and what differs in segments.

Owns `Score` with its parts and their rules. Of measures it knows only the names; `stream.policy.usage` checks scores
against measures. Called by the policy parser.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from schemas.events import NUMBER_LIMIT
from stream.policy.bands import Band, Weights, read_bands, read_starts
from stream.policy.errors import listed, shown
from stream.policy.normalise import POINTS, POINTS_ABOVE_0, read_line
from stream.policy.normalisers import FULL_POINTS
from stream.policy.table import WEIGHT, Number
from stream.policy.windows import ANY_SPAN, FORECAST_DAYS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream.policy.normalisers import Linear
    from stream.policy.table import Table

MODELS = ("weighted", "additive")

_MAKE_UP_OF = {"weighted": ("weights", "groups"), "additive": ("impacts",)}
"""By model, the keys that say what a score is made of."""
_MAKE_UP_KEYS = (*_MAKE_UP_OF["weighted"], *_MAKE_UP_OF["additive"])
_MADE_OF = ("model", *_MAKE_UP_KEYS, "map", "exceptions", "segments")
_SCORE_KEYS = ("min_change", "bands", "dwell", "outlook", "shown", *_MADE_OF)
_SEGMENT_KEYS = (*_MAKE_UP_KEYS, "bands", "use")
_EXCEPTION_KEYS = ("measure", "points_below", "cap", "band")
_MIN_CHANGE = Number("a number of points of 0 or more", 0.0)
_WEIGHTS = "a table of at least one measure with a number, such as { logins = 2, nps = 1 }"
_IMPACTS = "a table of measures and what one of each adds, such as { referral = 10 }"
_IMPACT = Number(
    f"a number from {-NUMBER_LIMIT:g} to {NUMBER_LIMIT:g} (what one adds to the score)", -NUMBER_LIMIT, NUMBER_LIMIT
)
_EXCEPTIONS = 'a list such as [{ measure = "nps", points_below = 50, cap = 40 }]'
_SHOWN = "a table such as { scale = 10, decimals = 0 } (how scores are shown to people)"
_SCALE = Number("a number above 0, up to 1,000,000 (what a score of 100 is shown as)", 0.0, 1e6, above=0.0)
_DECIMALS = Number("a whole number of decimals from 0 to 6", 0.0, 6.0)
_STEEPEST = 1e-6  # the least distance between the ends of a line: values have this precision
_SEPARATORS = frozenset("/:")  # they separate a score's name from other names in rows and rules


@dataclass(frozen=True, slots=True)
class Group:
    """Measures that are averaged by their weights first, and the weight of the average in the score."""

    name: str
    weight: float
    measures: Weights


@dataclass(frozen=True, slots=True)
class MakeUp:
    """What a score is made of: one of the three, or none of them for all measures that have a weight of their own."""

    weights: Weights = ()
    groups: tuple[Group, ...] = ()
    impacts: Weights = ()

    def __bool__(self) -> bool:
        """Whether any of the three is there."""
        return bool(self.weights or self.groups or self.impacts)

    def names(self) -> list[str]:
        """The measures that it names, in its order."""
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
    """What differs in a segment: the make-up, or the score whose make-up is used, and starts of bands by name."""

    segment: str
    make_up: MakeUp
    use: str | None
    starts: Weights


@dataclass(frozen=True, slots=True)
class Shown:
    """How a score is shown to people: on another scale, on which 100 is `scale`, and rounded to `decimals`."""

    scale: float
    decimals: int


@dataclass(frozen=True, slots=True)
class Score:
    """A score: the smallest change in points to publish, its bands (ascending), and what it is made of.

    `model` None is the weighted mean; `line` maps an additive score to 0 to 100. `forecast_days` is how far ahead the
    next change of band is searched. `shown` is for people only: nothing is compared with what is shown.
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
    shown: Shown | None = None

    def made_in(self, segment: str, others: dict[str, Score]) -> tuple[MakeUp | None, tuple[Limit, ...], Weights]:
        """Make-up, exceptions and changed starts of bands in a segment; "" is no segment."""
        changes = next((changes for changes in self.segments if changes.segment == segment), None)
        if changes is None:
            return self.make_up, self.exceptions, ()
        if changes.use is not None:
            other = others[changes.use]
            return other.make_up, other.exceptions, changes.starts
        return changes.make_up or self.make_up, self.exceptions, changes.starts


def read_scores(root: Table, measures: Sequence[str], segments: Sequence[str]) -> tuple[Score, ...]:
    """The scores of a policy in the order of the file, without those that are not tables; mistakes are recorded.

    A score with a mistake contains what could be read, so that measures and alerts can be checked against it.
    """
    scores = root.table("scores", "at least one table, such as [scores.health]", None)
    if scores is None:
        return ()
    if not len(scores):
        root.problem("scores", "must have at least one score, such as [scores.health]; it is empty")
    read = [_Reader(scores, name, measures, segments).read() for name in scores]
    return tuple(score for score in read if score is not None)


class _Reader:
    """Reads one score; `measures` and `segments` are the names that the file defines."""

    def __init__(self, scores: Table, name: str, measures: Sequence[str], segments: Sequence[str]) -> None:
        self._name, self._scores = name, tuple(scores)
        self._measures, self._segments = measures, segments
        self._table = scores.named(name, "a table [scores.NAME] with min_change, bands and so on", _SCORE_KEYS)
        if self._table is not None and not _SEPARATORS.isdisjoint(name):
            scores.problem(name, "the name of a score must not contain / or :")
        self._model = "weighted" if self._table is None else _read_model(self._table)

    def read(self) -> Score | None:
        table = self._table
        if table is None:
            return None
        min_change = table.number("min_change", _MIN_CHANGE)
        dwell_ms = ANY_SPAN.read_ms(table, "dwell", required=False)
        forecast = FORECAST_DAYS.read(table, "outlook", required=False)
        make_up = self._make_up(table)
        if self._model == "additive" and not any(key in table for key in _MAKE_UP_KEYS):
            table.wrong("impacts", _IMPACTS)
        line = self._line(table)
        bounded = self._model == "weighted" or line is not None
        bands = read_bands(table, bounded=bounded)
        return Score(
            self._name,
            min_change or 0.0,
            bands,
            "additive" if self._model == "additive" else None,
            make_up or None,
            line,
            self._exceptions(table, tuple(band.name for band in bands)),
            self._by_segment(table, bands, bounded=bounded),
            dwell_ms,
            None if forecast is None else forecast.panes,
            _read_shown(table),
        )

    def _make_up(self, table: Table) -> MakeUp:
        for model, keys in _MAKE_UP_OF.items():
            for key in keys if model != self._model else ():
                if key in table:
                    able = " or ".join(_MAKE_UP_OF[self._model])
                    message = (
                        f'only model "{model}" takes {key}; this score has model "{self._model}", which takes {able}'
                    )
                    table.problem(key, message)
        if self._model == "additive":
            return MakeUp(impacts=self._weights(table, "impacts", _IMPACTS, _IMPACT) if "impacts" in table else ())
        if "weights" in table and "groups" in table:
            table.problem("groups", "a score takes weights or groups, not both: remove one of them")
        weights = self._weights(table, "weights", _WEIGHTS, WEIGHT) if "weights" in table else ()
        return MakeUp(weights=weights, groups=self._groups(table) if "groups" in table else ())

    def _weights(self, table: Table, key: str, expected: str, each: Number) -> Weights:
        """A table of measures with a number each, sorted by name: their order in the file has no meaning."""
        names, weights = table.numbers(key, expected, each)
        if names is not None and self._measures:  # a policy without measures has been recorded
            for name in names:
                names.check_name(name, name, self._measures, "a measure of this policy")
        if each is WEIGHT and names and len(weights) == len(names) and not any(weight for _, weight in weights):
            table.problem(key, "the weights add up to 0; at least one must be above 0")
        return weights

    def _groups(self, table: Table) -> tuple[Group, ...]:
        tables = table.names("groups", "tables such as [scores.health.groups.product]")
        groups: list[Group] = []
        group_of: dict[str, str] = {}
        for name in tables:
            group = self._group(tables, name, group_of)
            if group is not None:
                groups.append(group)
        if table.value("groups") == {}:
            table.problem("groups", "must have at least one group, such as [scores.health.groups.product]; it is empty")
        if 0 < len(groups) == len(tables) and not any(group.weight for group in groups):
            table.problem("groups", "the weights add up to 0; at least one group must have a weight above 0")
        return tuple(sorted(groups, key=lambda group: group.name))

    def _group(self, tables: Table, name: str, group_of: dict[str, str]) -> Group | None:
        """One group; `group_of` has the groups of the measures so far."""
        value = tables.value(name)
        if isinstance(value, dict) and value and "measures" not in value and set(value) <= set(self._measures):
            tables.problem(name, f"must be a table such as {{ weight = 1, measures = {shown(value)} }}")
            return None
        table = tables.named(name, "a table with a weight and measures", ("weight", "measures"))
        if table is None:
            return None
        weight, measures = table.number("weight", WEIGHT), self._weights(table, "measures", _WEIGHTS, WEIGHT)
        for measure, _ in measures:
            if measure in group_of:
                other = shown(group_of[measure])
                table.problem(
                    "measures", f"{shown(measure)} is also in group {other}: a measure can be in one group only"
                )
            group_of.setdefault(measure, name)
        return None if weight is None or not measures else Group(name, weight, measures)

    def _line(self, table: Table) -> Linear | None:
        if "map" not in table:
            return None
        if self._model != "additive":
            table.problem("map", 'only model "additive" takes map; this score has model "weighted": remove map')
            return None
        ends = table.table("map", "a table such as { zero_at = -50, hundred_at = 150 }", ("zero_at", "hundred_at"))
        line = None if ends is None else read_line(ends)
        if ends is not None and line is not None and abs(line.hundred_at - line.zero_at) < _STEEPEST:
            ends.wrong("hundred_at", f"at least {_STEEPEST:g} away from zero_at, which is {line.zero_at:g}")
        return line

    def _exceptions(self, table: Table, bands: tuple[str, ...]) -> tuple[Limit, ...]:
        if "exceptions" not in table:
            return ()
        if self._model == "additive":
            message = 'only model "weighted" takes exceptions; this score has model "additive": remove exceptions'
            table.problem("exceptions", message)
            return ()
        rows = table.tables("exceptions", _EXCEPTIONS, _EXCEPTION_KEYS)
        limits = [self._exception(row, bands) for row in rows]
        return tuple(limit for limit in limits if limit is not None)

    def _exception(self, row: Table, bands: tuple[str, ...]) -> Limit | None:
        measure = row.text("measure", "a string (the measure whose points limit the score)")
        if measure is not None and self._measures:
            row.check_name("measure", measure, self._measures, "a measure of this policy")
        below = row.number("points_below", POINTS_ABOVE_0)
        if "cap" in row and "band" in row:
            row.problem("cap", "an exception has a cap or a band, not both; for both, write two exceptions")
            return None
        if "cap" not in row and "band" not in row:
            row.problem("cap", "missing: an exception has a cap (a number of points) or a band")
            return None
        cap = row.number("cap", POINTS, required=False)
        band = row.choice("band", bands, required=False) if bands else None
        if measure is None or below is None or (cap is None and band is None):
            return None
        return Limit(measure, below, cap, band)

    def _by_segment(self, table: Table, bands: Sequence[Band], *, bounded: bool) -> tuple[SegmentScore, ...]:
        tables = table.names("segments", f"tables such as [scores.{self._name}.segments.enterprise]")
        segments = []
        for name in tables:
            tables.check_name(name, name, self._segments, "a segment of this policy")
            segment = tables.table(name, f"a table with {listed(_SEGMENT_KEYS)}", _SEGMENT_KEYS)
            if segment is not None:
                use, starts = self._use(segment), read_starts(segment, bands, bounded=bounded)
                segments.append(SegmentScore(name, self._make_up(segment), use, starts))
        return tuple(sorted(segments, key=lambda changes: changes.segment))

    def _use(self, segment: Table) -> str | None:
        if "use" not in segment:
            return None
        others = tuple(name for name in self._scores if name != self._name)
        use = None
        if segment.value("use") == self._name:
            segment.problem("use", f"{shown(self._name)} is this score: name another score, or remove use")
        elif not others:
            segment.problem("use", "takes the weights of another score, and this policy has only one score: remove use")
        else:
            use = segment.choice("use", others)
        for key in _MAKE_UP_KEYS:
            if key in segment:
                segment.problem(
                    key, f"use takes the weights, groups or impacts of the other score: remove {key} or use"
                )
        return use


def _read_shown(table: Table) -> Shown | None:
    """How a score is shown; None without the key."""
    shown_as = table.table("shown", _SHOWN, ("scale", "decimals")) if "shown" in table else None
    if shown_as is None:
        return None
    if not len(shown_as):
        table.wrong("shown", _SHOWN)
    scale = shown_as.number("scale", _SCALE, required=False)
    decimals = shown_as.number("decimals", _DECIMALS, required=False)
    if decimals is not None and not decimals.is_integer():
        shown_as.wrong("decimals", _DECIMALS.expected)
    return Shown(FULL_POINTS if scale is None else scale, int(decimals or 0))


def _read_model(table: Table) -> str:
    """The model; if it is missing or unknown, the one that the other keys suggest."""
    meant = "additive" if "impacts" in table and "weights" not in table and "groups" not in table else "weighted"
    if "model" in table:
        return table.choice("model", MODELS) or meant
    if meant == "additive":
        table.problem("impacts", 'only model "additive" takes impacts: add model = "additive" to the score')
    return meant
