"""Check that measures and scores of a policy fit together.

Owns the rules that need both: every measure is used, what is scored by points has a normaliser, weights add up, a score
can stand in for another. Called by the policy parser once measures and scores are read; notes problems where a person
would mend them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream.policy.errors import listed, shown
from stream.policy.measures import FACTS_SOURCE, MEASURE_KEYS, WEIGHT
from stream.policy.normalise import A_NORMALISER
from stream.policy.normalisers import FULL_POINTS
from stream.policy.table import finite, misspelled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from stream.policy.errors import Findings, Path
    from stream.policy.measures import Measure
    from stream.policy.scores import MakeUp, Score
    from stream.policy.table import Table

_NOT_MAKE_UP = ("bands", "min_change", "map")
"""Keys of a score that say nothing of its measures."""
_TOO_LARGE = "the weights are too large to add up; use a smaller scale"


def check_use(root: Table, findings: Findings, measures: Sequence[Measure], scores: Sequence[Score]) -> None:
    """Note what does not fit. What was read with a mistake leads to no second message about the same."""
    check = _Check(root, findings, scores)
    check.make_ups()
    check.borrowed()
    if check.measures_in_use():
        check.own_weights()
    facts = [measure for measure in measures if measure.source == FACTS_SOURCE]
    if facts and len(facts) == check.count:
        message = "a policy needs at least one measure of events: facts alone never begin to count"
        findings.add(root.at("measures"), message)


class _Check:
    def __init__(self, root: Table, findings: Findings, scores: Sequence[Score]) -> None:
        self._findings, self._scores = findings, scores
        self._at = {key: root.at(key) for key in ("measures", "scores")}
        given, tables = root.value("scores"), root.value("measures")
        self._measures = _keys_of(tables) if isinstance(tables, dict) else {}
        self.count = len(tables) if isinstance(tables, dict) else 0
        # Where it could not be read what a score is made of, nobody knows which measures it was about.
        self._clear = isinstance(given, dict) and 0 < len(given) == len(scores) and not findings.any(self._of_make_up)
        plain = [score for score in scores if score.make_up is None and score.model is None]
        self._plain = plain if self._clear else []
        """Scores that are made of the measures' own weights."""

    def _of_make_up(self, path: Path) -> bool:
        place = path[len(self._at["scores"]) + 1 :]
        return path[:1] == self._at["scores"] and place != () and place[0] not in _NOT_MAKE_UP

    def make_ups(self) -> None:
        """Weights of every make-up can be added up."""
        for score in self._scores:
            for make_up, path in self._make_ups(score):
                self._check_sum(make_up.weights, (*path, "weights"))
                self._check_sum([(group.name, group.weight) for group in make_up.groups], (*path, "groups"))
                for group in make_up.groups:
                    self._check_sum(group.measures, (*path, "groups", group.name, "measures"))

    def _check_sum(self, weights: Iterable[tuple[str, float]], path: Path) -> None:
        if not _add_up(weight for _, weight in weights):
            self._findings.add(path, _TOO_LARGE)

    def own_weights(self) -> None:
        """The measures' own weights add up, where a score is made of them."""
        if not self._plain:
            return
        given = [keys["weight"] for keys in self._measures.values() if "weight" in keys]
        known = [weight for weight in map(finite, given) if weight is not None and weight >= 0.0]
        if not _add_up(known):
            self._findings.add(self._at["measures"], _TOO_LARGE)
        elif given and len(known) == len(given) and not any(known):
            message = "the weights add up to 0; at least one measure needs a weight above 0"
            self._findings.add(self._at["measures"], message)
        elif not given and self._measures:
            message = "no measure has a weight of its own: give this score weights or groups"
            self._findings.add((*self._at["scores"], self._plain[0].name), message)

    def borrowed(self) -> None:
        """A score lends its make-up and exceptions to scores of its own model that have the bands these name."""
        others = {score.name: score for score in self._scores if self._clear}
        for score in self._scores:
            for part in score.segments:
                other = others.get(part.use or "")
                message = None if other is None else _unfit(score, other)
                if message is not None:
                    path = (*self._at["scores"], score.name, "segments", part.segment, "use")
                    self._findings.add(path, message)

    def measures_in_use(self) -> bool:
        """Every measure is used, what is scored by points can be; returns whether all are used."""
        every = [(score, make_up) for score in self._scores for make_up, _ in self._make_ups(score)]
        by_points = {limit.measure for score in self._scores for limit in score.exceptions}
        named = {name for _, make_up in every for name in make_up.names()} | by_points
        by_points |= {name for score, make_up in every if score.model is None for name in make_up.names()}
        idle = [] if not self._clear else [name for name in self._measures if name not in named]
        if self._plain:
            idle = [name for name in idle if "weight" not in self._measures[name]]
            by_points |= {name for name, keys in self._measures.items() if "weight" in keys or name not in named}
        for name in idle:
            if self._plain:
                self._findings.add((*self._at["measures"], name, "weight"), f"missing: must be {WEIGHT}")
            else:
                message = "no score uses this measure: every score names its own; name it in one, or remove it"
                self._findings.add((*self._at["measures"], name), message)
        for name, keys in self._measures.items():
            if name in by_points and "normalise" not in keys:
                self._findings.add((*self._at["measures"], name, "normalise"), f"missing: must be {A_NORMALISER}")
        return not idle

    def _make_ups(self, score: Score) -> Iterable[tuple[MakeUp, Path]]:
        path: Path = (*self._at["scores"], score.name)
        if score.make_up is not None:
            yield score.make_up, path
        for part in score.segments:
            yield part.make_up, (*path, "segments", part.segment)


def _keys_of(tables: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Keys of every measure with their values, a misspelled one as what was probably meant."""
    found: dict[str, dict[str, object]] = {}
    for name, table in tables.items():
        if isinstance(table, dict):
            values: dict[str, object] = table
            meant = {wrong: right for right, wrong in misspelled(values, MEASURE_KEYS).items()}
            found[name] = {meant.get(key, key): value for key, value in values.items()}
    return found


def _add_up(weights: Iterable[float]) -> bool:
    """Whether their sum can be told: a score multiplies weights by points before it divides by their sum."""
    return finite(sum(weights) * FULL_POINTS) is not None


def _unfit(score: Score, other: Score) -> str | None:
    """Why `other` can not stand in for a score, if it can not."""
    models = [one.model or "weighted" for one in (other, score)]
    if models[0] != models[1]:
        return f"{shown(other.name)} is {models[0]} and this score is {models[1]}: both must be the same"
    bands = [band.name for band in score.bands]
    for limit in other.exceptions:
        if bands and limit.band is not None and limit.band not in bands:
            there = f"bands there are: {listed(bands)}"
            what = f"an exception of {shown(other.name)} names the band {shown(limit.band)}"
            return f"{what}, and this score has none of that name; {there}"
    return None
