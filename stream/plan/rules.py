"""Compiled alert rules: the scores, bands, measures and segments that a rule names, as indexes into the plan.

Owns `RulePlan`, one for each alert rule of the policy and one for each band with `alert`. Knows no accounts. Built by
`stream.plan.plan.compile_plan` once per policy, read by `stream.accounts.alert_state` and `stream.alerts`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import xxhash

from stream.columns.calendar import Calendar
from stream.measures.base import Need
from stream.plan.models import ScorePlan
from stream.policy.alerts import AlertRule
from stream.policy.policy import Policy

__all__ = ["SILENCE", "RulePlan", "compile_rules", "silent_sources"]

SILENCE = Need("latest", None, ())
"""The column that a `silent` rule reads: the time of the latest event of a source."""


@dataclass(frozen=True)
class RulePlan:
    """A rule, its index, and the indexes of what it names: score, band, measure, column of `silent`, segments.

    An index is -1 where the rule names nothing of the kind. `boundary_index` is the rule's index among the rules with
    boundary state (`Plan.boundary_rules`), -1 for a rule without. `calendar` is the
    policy's.
    """

    rule: AlertRule
    index: int
    score: int
    band: int
    measure: int
    column: int
    segments: tuple[int, ...]
    boundary_index: int
    calendar: Calendar

    @property
    def name(self) -> str:
        """The rule's name, as alerts carry it."""
        return self.rule.name

    @cached_property
    def boundary_name(self) -> str:
        """The name of its boundary state in changelog rows.

        It is the rule's name and a hash of its condition: a rule whose condition changed starts with empty state.
        """
        rule = self.rule
        within = None if rule.within is None else (rule.within.panes, rule.within.unit)
        condition = [rule.kind, rule.score, rule.target, rule.segments, within]
        return f"{rule.name}/{xxhash.xxh3_64_hexdigest(json.dumps(condition).encode())}"

    @property
    def marks_band(self) -> bool:
        """Whether the rule is `alert` of a band without any other condition: it fires at once, in all segments."""
        return self.rule.kind == "band" and self.boundary_index < 0 and not self.segments


def silent_sources(policy: Policy) -> list[str]:
    """Sources that `silent` rules name, each once."""
    return list(dict.fromkeys(rule.target for rule in policy.alerts if rule.kind == "silent" and rule.target))


def compile_rules(policy: Policy, scores: Sequence[ScorePlan], silence: Mapping[str, int]) -> tuple[RulePlan, ...]:
    """The compiled rules: first those of bands with `alert`, by score and band, then the policy's own.

    `silence` has the index of the column of each silent source.
    """
    score_index = {score_plan.score.name: index for index, score_plan in enumerate(scores)}
    measures = {measure.name: index for index, measure in enumerate(policy.measures)}
    segments = {segment.name: index for index, segment in enumerate(policy.segments)}
    plans: list[RulePlan] = []
    for rule in (*_band_rules(policy), *policy.alerts):
        score = score_index[rule.score]
        bands = [band.name for band in scores[score].score.bands]
        target = rule.target or ""
        plans.append(
            RulePlan(
                rule,
                len(plans),
                score,
                bands.index(target) if rule.kind in {"band", "left", "forecast"} else -1,
                measures[target] if rule.kind == "measure" else -1,
                silence[target] if rule.kind == "silent" else -1,
                tuple(segments[name] for name in rule.segments),
                sum(plan.boundary_index >= 0 for plan in plans) if rule.remembers else -1,
                policy.calendar,
            )
        )
    return tuple(plans)


def _band_rules(policy: Policy) -> list[AlertRule]:
    return [
        AlertRule(
            f"band:{score.name}:{band.name}",
            score.name,
            "band",
            band.alert,
            target=band.name,
            owner=band.owner,
            actions=band.actions,
        )
        for score in policy.scores
        for band in score.bands
        if band.alert is not None
    ]
