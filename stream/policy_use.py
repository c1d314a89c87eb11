"""Check that measures and scores of a policy fit together.

Owns the rules that need both: every measure is used, what is scored by points has a normaliser, weights add up. Called
by the policy parser once measures and scores are read; notes problems where a person would mend them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream.normalisers import FULL_POINTS
from stream.policy_errors import shown
from stream.policy_measure import FACTS_SOURCE, WEIGHT
from stream.policy_table import finite

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stream.policy_errors import Findings
    from stream.policy_measure import Measure
    from stream.policy_score import MakeUp, Score
    from stream.policy_table import Table

_A_NORMALISER = 'a table with a kind, such as { kind = "linear", zero_at = 0, hundred_at = 10 }'


def check_use(root: Table, findings: Findings, measures: Sequence[Measure], scores: Sequence[Score]) -> None:
    """Note what does not fit. Only what was read without a mistake takes part."""
    check = _Check(findings, root, measures, scores)
    check.weights()
    check.borrowed()
    check.measures_in_use()
    if measures and all(measure.source == FACTS_SOURCE for measure in measures):
        findings.add(("measures",), "a policy needs at least one measure of events: facts alone never begin to count")


class _Check:
    def __init__(self, findings: Findings, root: Table, measures: Sequence[Measure], scores: Sequence[Score]) -> None:
        self._findings = findings
        given, tables = root.value("scores"), root.value("measures")
        self._all_read = isinstance(given, dict) and len(scores) == len(given)
        self._tables = tables if isinstance(tables, dict) else {}
        self._measures = {measure.name: measure for measure in measures}
        self._scores = scores

    def weights(self) -> None:
        """Weights of every make-up add up."""
        if not self._scores or any(score.make_up is None and score.model is None for score in self._scores):
            self._own_weights()
        for score in self._scores:
            for make_up, path in self._make_ups(score):
                for numbers in ([n for _, n in make_up.weights], [group.weight for group in make_up.groups]):
                    if finite(sum(numbers) * FULL_POINTS) is None:
                        self._findings.add(path, "the weights are too large to add up; use a smaller scale")

    def _own_weights(self) -> None:
        given = [table.get("weight") for table in self._tables.values() if isinstance(table, dict)]
        known = [weight for weight in map(finite, given) if weight is not None and weight >= 0.0]
        # A score multiplies weights by points before it divides by their sum.
        if finite(sum(known) * FULL_POINTS) is None:
            self._findings.add(("measures",), "the weights are too large to add up; use a smaller scale")
        elif known and len(known) == len(given) and not any(known):
            self._findings.add(("measures",), "the weights add up to 0; at least one measure needs a weight above 0")

    def borrowed(self) -> None:
        """A score lends its make-up to scores of its own model only."""
        models = {score.name: score.model for score in self._scores}
        for score in self._scores:
            for part in score.segments:
                if part.use is not None and part.use in models and models[part.use] != score.model:
                    words = [models[part.use] or "weighted", score.model or "weighted"]
                    self._findings.add(
                        ("scores", score.name, "segments", part.segment, "use"),
                        f"{shown(part.use)} is {words[0]} and this score is {words[1]}: both must be the same",
                    )

    def measures_in_use(self) -> None:
        """Every measure is used; what is scored by points can be."""
        named = {name for score in self._scores for make_up, _ in self._make_ups(score) for name in make_up.names()}
        by_points = {limit.measure for score in self._scores for limit in score.exceptions}
        for score in self._scores:
            if score.model is None:
                by_points.update(name for make_up, _ in self._make_ups(score) for name in make_up.names())
        defaults = not self._scores or any(score.make_up is None for score in self._scores)
        for name, table in self._tables.items():
            if not isinstance(table, dict):
                continue
            weighs = "weight" in table and defaults
            if "weight" not in table and name not in named and self._all_read:
                hint = "" if defaults else " (or a score that names this measure)"
                self._findings.add(("measures", name, "weight"), f"missing: must be {WEIGHT}{hint}")
                weighs = True
            elif "weight" in table and not defaults and name not in named and name not in by_points:
                self._findings.add(
                    ("measures", name, "weight"), "no score uses this measure: every score names its own"
                )
            if (weighs or name in by_points) and "normalise" not in table:
                self._findings.add(("measures", name, "normalise"), f"missing: must be {_A_NORMALISER}")

    @staticmethod
    def _make_ups(score: Score) -> Iterable[tuple[MakeUp, tuple[str, ...]]]:
        if score.make_up is not None:
            yield score.make_up, ("scores", score.name)
        for part in score.segments:
            yield part.make_up, ("scores", score.name, "segments", part.segment)
