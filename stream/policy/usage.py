"""Check that the measures and the scores of a policy fit together.

Owns the rules that need both: every measure is used, measures that are scored by points have a normaliser, weights can
be added up, a score can take the make-up of another. Called by the policy parser after measures and scores are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream.policy.errors import listed, shown
from stream.policy.measures import FACTS_SOURCE, MEASURE_KEYS
from stream.policy.normalise import NORMALISER
from stream.policy.normalisers import FULL_POINTS
from stream.policy.table import WEIGHT, finite, misspelled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from stream.policy.errors import Findings, Path
    from stream.policy.measures import Measure
    from stream.policy.scores import MakeUp, Score
    from stream.policy.table import Table

_NOT_MAKE_UP = ("bands", "min_change", "map")
"""Keys of a score that do not concern its measures."""
_TOO_LARGE = "the weights are too large to add up: use smaller numbers"


def check_use(root: Table, findings: Findings, measures: Sequence[Measure], scores: Sequence[Score]) -> None:
    """Record what does not fit. A mistake that has been recorded does not cause a second message here."""
    check = _Check(root, findings, measures, scores)
    check.make_ups()
    check.borrowed()
    if check.measures_in_use():
        check.own_weights()
    if measures and len(measures) == len(check.measures) and _read_no_events(measures):
        message = f"all measures have source {shown(FACTS_SOURCE)}: add one of events, which an account needs to count"
        root.problem("measures", message)


def measure_keys(root: Table) -> dict[str, dict[str, object]]:
    """The keys of every measure with their values as in the file; a misspelled key as what was probably meant."""
    tables = root.value("measures")
    keys: dict[str, dict[str, object]] = {}
    for name, table in tables.items() if isinstance(tables, dict) else ():
        if isinstance(table, dict):
            values: dict[str, object] = table
            meant = {wrong: right for right, wrong in misspelled(values, MEASURE_KEYS).items()}
            keys[name] = {meant.get(key, key): value for key, value in values.items()}
    return keys


class _Check:
    def __init__(self, root: Table, findings: Findings, measures: Sequence[Measure], scores: Sequence[Score]) -> None:
        self.measures = measure_keys(root)
        self._inputs = {name for measure in measures for name in measure.reads}
        """Measures that others are computed from; they need not be part of a score."""
        self._findings, self._scores = findings, scores
        self._measures_path, self._scores_path = root.path_of("measures"), root.path_of("scores")
        tables = root.value("scores")
        # If the make-up of one score could not be read, the measures that it uses are unknown.
        self._complete = isinstance(tables, dict) and 0 < len(tables) == len(scores)
        self._complete &= not findings.any(self._is_of_make_up)
        # If an expression or a grid could not be read, the measures that it reads are unknown.
        self._complete &= not (findings and any(map(_may_read_others, self.measures.values())))
        plain = [score for score in scores if score.make_up is None and score.model is None]
        self._plain = plain if self._complete else []
        """Scores that use the measures' own weights."""

    def _is_of_make_up(self, path: Path) -> bool:
        keys = path[len(self._scores_path) + 1 :]
        return path[:1] == self._scores_path and keys != () and keys[0] not in _NOT_MAKE_UP

    def make_ups(self) -> None:
        """The weights of every make-up can be added up."""
        for _, make_up, path in self._make_ups():
            self._check_sum(make_up.weights, (*path, "weights"))
            self._check_sum([(group.name, group.weight) for group in make_up.groups], (*path, "groups"))
            for group in make_up.groups:
                self._check_sum(group.measures, (*path, "groups", group.name, "measures"))

    def _check_sum(self, weights: Iterable[tuple[str, float]], path: Path) -> None:
        if not _can_add_up(weight for _, weight in weights):
            self._findings.add(path, _TOO_LARGE)

    def own_weights(self) -> None:
        """The measures' own weights can be added up, if a score uses them."""
        if not self._plain:
            return
        weights = [keys["weight"] for keys in self.measures.values() if "weight" in keys]
        valid = [weight for weight in map(finite, weights) if weight is not None and weight >= 0.0]
        if not _can_add_up(valid):
            self._findings.add(self._measures_path, _TOO_LARGE)
        elif weights and len(valid) == len(weights) and not any(valid):
            message = "the weights add up to 0; at least one measure must have a weight above 0"
            self._findings.add(self._measures_path, message)
        elif not weights and self.measures:
            message = (
                "this score has no weights or groups, and no measure has a weight: add weights here, or to measures"
            )
            self._findings.add((*self._scores_path, self._plain[0].name), message)

    def borrowed(self) -> None:
        """A score whose make-up another score uses has the same model, and its exceptions name bands of the other."""
        others = {score.name: score for score in self._scores if self._complete}
        for score in self._scores:
            for segment in score.segments:
                other = others.get(segment.use or "")
                message = None if other is None else _misfit(score, other)
                if message is not None:
                    path = (*self._scores_path, score.name, "segments", segment.segment, "use")
                    self._findings.add(path, message)

    def measures_in_use(self) -> bool:
        """Every measure is used, and has a normaliser if its points are; returns whether all are used."""
        by_points = {limit.measure for score in self._scores for limit in score.exceptions}
        named = {name for _, make_up, _ in self._make_ups() for name in make_up.names()} | by_points
        by_points |= {name for score, make_up, _ in self._make_ups() if score.model is None for name in make_up.names()}
        named |= self._inputs
        unused = [name for name in self.measures if name not in named] if self._complete else []
        if self._plain:
            unused = [name for name in unused if "weight" not in self.measures[name]]
            by_points |= {name for name, keys in self.measures.items() if "weight" in keys or name not in named}
        for name in unused:
            if self._plain:
                self._findings.add((*self._measures_path, name, "weight"), f"missing: must be {WEIGHT.expected}")
            else:
                message = "no score uses this measure: add it to the weights, groups or impacts of one, or remove it"
                self._findings.add((*self._measures_path, name), message)
        for name, keys in self.measures.items():
            if name in by_points and "normalise" not in keys:
                self._findings.add((*self._measures_path, name, "normalise"), f"missing: must be {NORMALISER}")
        return not unused

    def _make_ups(self) -> Iterator[tuple[Score, MakeUp, Path]]:
        for score in self._scores:
            path: Path = (*self._scores_path, score.name)
            if score.make_up is not None:
                yield score, score.make_up, path
            for segment in score.segments:
                yield score, segment.make_up, (*path, "segments", segment.segment)


def _may_read_others(keys: dict[str, object]) -> bool:
    segments = keys.get("segments")
    tables = [keys, *(segments.values() if isinstance(segments, dict) else ())]
    normalisers = [table.get("normalise") for table in tables if isinstance(table, dict)]
    return "value" in keys or any(isinstance(rule, dict) and "by" in rule for rule in normalisers)


def _read_no_events(measures: Sequence[Measure]) -> bool:
    """Whether no measure reads events; a derived one reads what others read."""
    return all(each.source == FACTS_SOURCE or each.formula is not None for each in measures)


def _can_add_up(weights: Iterable[float]) -> bool:
    """Whether their sum times 100 points is finite: a score multiplies by points before it divides by the sum."""
    return finite(sum(weights) * FULL_POINTS) is not None


def _misfit(score: Score, other: Score) -> str | None:
    """Why a score cannot use the make-up of `other`; None if it can."""
    model, own = (each.model or "weighted" for each in (other, score))
    if model != own:
        return f"{shown(other.name)} has model {shown(model)} and this score has {shown(own)}: both must have the same"
    bands = [band.name for band in score.bands]
    for limit in other.exceptions:
        if bands and limit.band is not None and limit.band not in bands:
            names = f"an exception of {shown(other.name)} names the band {shown(limit.band)}"
            return f"{names}, which this score does not have; its bands: {listed(bands)}"
    return None
