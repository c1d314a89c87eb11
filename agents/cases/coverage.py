"""What of a policy no case reached: bands, tiers, rows of grids, alert rules, segments and exceptions.

A band counts as reached if a check or a score change shows it, a rule if it fired, anything else if a check shows it.
Called by `agents.cli.test`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from agents.cases.run import CaseResult, Record
from stream.plan.plan import Plan
from stream.policy.measures import Measure
from stream.policy.normalise import start_text
from stream.policy.normalisers import Grid, Tiers


def not_reached(plan: Plan, results: Iterable[CaseResult]) -> list[str]:
    """Everything of a policy that no case reached, in the order of the policy file."""
    results = list(results)
    records = [record for result in results for records in result.checked.values() for record in records.values()]
    changes = [change for result in results for change in result.changes]
    fired = {alert["rule"] for result in results for alert in result.alerts if alert["status"] == "firing"}
    return [
        *_segments(plan, records),
        *_tiers(plan, records),
        *_bands(plan, records, changes),
        *_exceptions(plan, records),
        *(f"rule {rule.name}" for rule in plan.rules if rule.name not in fired),
    ]


def _segments(plan: Plan, records: list[Record]) -> Iterator[str]:
    seen = {record.get("segment") for record in records}
    for segment in plan.policy.segments:
        if segment.name not in seen:
            yield f"segment {segment.name}"


def _tiers(plan: Plan, records: list[Record]) -> Iterator[str]:
    for measure in plan.policy.measures:
        if isinstance(measure.normaliser, Tiers):
            values = [value for value, _ in _values(measure, records)]
            yield from (f"tier of {measure.name} {tier}" for tier in _missed(measure.normaliser, values))
        elif isinstance(measure.normaliser, Grid):
            yield from _rows(measure, measure.normaliser, records)


def _rows(measure: Measure, grid: Grid, records: list[Record]) -> Iterator[str]:
    """The rows of a grid that no value selected, and the tiers in the other rows that no value reached."""
    pairs = [(value, inputs.get(grid.by)) for value, inputs in _values(measure, records)]
    for start, row in grid.rows:
        values = [value for value, by in pairs if by is not None and grid.row(by) is row]
        where = f"row of {measure.name} from {start:g} of {grid.by}"
        if not values:
            yield where
        elif isinstance(row, Tiers):
            yield from (f"{where}, tier {tier}" for tier in _missed(row, values))


def _missed(tiers: Tiers, values: list[float]) -> Iterator[str]:
    starts = np.array([start for start, _ in tiers.steps])
    seen = set(np.maximum(np.searchsorted(starts, values, side="right") - 1, 0).tolist())
    for number, (start, points) in enumerate(tiers.steps):
        if number not in seen:
            yield f"from {start_text(start)} ({points:g} points)"


def _values(measure: Measure, records: list[Record]) -> list[tuple[float, dict[str, Any]]]:
    """The values of a measure in all scores, each with the inputs of its record."""
    factors: list[tuple[Any, dict[str, Any]]] = [
        (factor["value"], record.get("inputs") or {})
        for record in records
        for score in record["scores"].values()
        for factor in score["factors"]
        if factor["measure"] == measure.name
    ]
    return [(value, inputs) for value, inputs in factors if value is not None]


def _bands(plan: Plan, records: list[Record], changes: list[Record]) -> Iterator[str]:
    seen = {(name, score.get("band")) for record in records for name, score in record["scores"].items()}
    seen |= {(change["score"], change["band_to"]) for change in changes}
    for score in plan.policy.scores:
        for band in score.bands:
            if (score.name, band.name) not in seen:
                yield f"band {band.name} of {score.name}"


def _exceptions(plan: Plan, records: list[Record]) -> Iterator[str]:
    seen = {
        (name, measure)
        for record in records
        for name, score in record["scores"].items()
        for measure in score.get("exceptions") or ()
    }
    for score_plan in plan.scores:
        names = dict.fromkeys(limit.name for model in score_plan.models for limit in model.limits)
        for name in names:
            if (score_plan.score.name, name) not in seen:
                yield f"exception of {name} in {score_plan.score.name}"
