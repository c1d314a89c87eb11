"""Alert rules compiled: names to places in the plan.

Owns `RulePlan`, one for every rule of the policy and one for every band that is marked `alert`. Knows no accounts. Made
by `stream.plan.plan` once a policy, read by `stream.alerts.conditions` and `stream.alerts.emission`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property

import xxhash

from stream.measures.base import Need
from stream.plan.models import ScorePlan
from stream.policy.alerts import AlertRule
from stream.policy.policy import Policy

__all__ = ["SILENCE", "RulePlan", "compile_rules", "silent_sources"]

SILENCE = Need("latest", None, ())
"""The column that tells when a source was last heard of an account."""


@dataclass(frozen=True)
class RulePlan:
    """A rule, its place, and those of what it names: score, band, measure, column of `silent`, segments.

    A place is -1 where the rule has none. `memory` is the rule's place among those that remember borders, -1 for none.
    """

    rule: AlertRule
    place: int
    score: int
    band: int
    measure: int
    column: int
    segments: tuple[int, ...]
    memory: int

    @property
    def name(self) -> str:
        """The rule's name, as alerts carry it."""
        return self.rule.name

    @cached_property
    def memory_name(self) -> str:
        """How rows name what it remembers: by its name and what it looks at, so that a new meaning begins anew."""
        rule = self.rule
        looks = json.dumps([rule.kind, rule.score, rule.target, rule.segments, rule.within and astuple(rule.within)])
        return f"{rule.name}/{xxhash.xxh3_64_hexdigest(looks.encode())}"

    @property
    def marks_band(self) -> bool:
        """Whether it is a band's own mark, `alert = "warning"`, and nothing else."""
        return self.rule.kind == "band" and self.memory < 0 and not self.segments


def silent_sources(policy: Policy) -> list[str]:
    """Sources whose silence a rule looks for, each once."""
    return list(dict.fromkeys(rule.target for rule in policy.alerts if rule.kind == "silent" and rule.target))


def compile_rules(policy: Policy, scores: Sequence[ScorePlan], silence: Mapping[str, int]) -> tuple[RulePlan, ...]:
    """The bands' own rules, by score and band, then the policy's; `silence` has the column of each silent source."""
    places = {part.score.name: at for at, part in enumerate(scores)}
    measures = {measure.name: at for at, measure in enumerate(policy.measures)}
    segments = {segment.name: at for at, segment in enumerate(policy.segments)}
    found: list[RulePlan] = []
    for rule in (*_band_rules(policy), *policy.alerts):
        at = places[rule.score]
        bands = [band.name for band in scores[at].score.bands]
        target = rule.target or ""
        found.append(
            RulePlan(
                rule,
                len(found),
                at,
                bands.index(target) if rule.kind in {"band", "left", "forecast"} else -1,
                measures[target] if rule.kind == "measure" else -1,
                silence[target] if rule.kind == "silent" else -1,
                tuple(segments[name] for name in rule.segments),
                sum(part.memory >= 0 for part in found) if rule.remembers else -1,
            )
        )
    return tuple(found)


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
