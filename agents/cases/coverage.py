"""What of a policy no case reached: bands, tiers, alert rules, segments and exceptions.

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
from stream.policy.normalisers import Tiers


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
            starts = np.array([start for start, _ in measure.normaliser.steps])
            values = _values(measure, records)
            seen = set(np.maximum(np.searchsorted(starts, values, side="right") - 1, 0).tolist())
            for number, (start, points) in enumerate(measure.normaliser.steps):
                if number not in seen:
                    yield f"tier of {measure.name} from {start:g} ({points:g} points)"


def _values(measure: Measure, records: list[Record]) -> list[float]:
    factors: list[dict[str, Any]] = [
        score["factors"][measure.name]
        for record in records
        for score in record["scores"].values()
        if measure.name in score["factors"]
    ]
    return [factor["value"] for factor in factors if factor["value"] is not None]


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
