"""One score of a policy, chosen by name: what it is made of, and how to read it for some accounts.

Owns the only way by which explanations, forecasts, histories and distributions get at a policy's score and at what the
columns say of it; none of them asks the policy or the engine itself. Called by `stream.forecast`, `stream.explain`,
`stream.distribution` and the commands over files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from stream.columns import Rows
from stream.measures.base import AnyColumn
from stream.plan import Plan
from stream.policy import Band, Measure, Policy
from stream.scoring import Scored, measure_values, score_values


class UnknownScoreError(ValueError):
    """A policy has no score of the name that was asked for; the message names those it has."""


class Chosen(NamedTuple):
    """A score: its name, its bands (ascending) and the measures it is made of, as the columns of `Scored` have them."""

    name: str
    bands: tuple[Band, ...]
    measures: tuple[Measure, ...]


def choose(policy: Policy, name: str | None = None) -> Chosen:
    """The policy's score of that name, or its first. Raises `UnknownScoreError`."""
    score = policy.score
    if name not in {None, score.name}:
        raise UnknownScoreError(f"policy {policy.name} has no score {name!r}; it has {score.name}")
    return Chosen(score.name, score.bands, policy.measures)


def read_score(plan: Plan, chosen: Chosen, columns: Sequence[AnyColumn], rows: Rows) -> Scored:
    """What the columns say of the chosen score, for k rows."""
    del chosen
    return score_values(plan, measure_values(plan, columns, rows))
