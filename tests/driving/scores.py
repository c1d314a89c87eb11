"""Compares every score of an engine with the oracle's: reads the messages and compares all factors.

Owns how close is close enough, and which fields of a message the oracle computes. Must not know any expected value.
Called by the property tests of policies that use all of the language.

Left open, because docs/reference/policy does not define it: the order of factors, what a measure's points and weight
are in an additive score, and whether a measure that has no part in a segment is shown there with weight 0 or not at
all.
"""

from __future__ import annotations

import json
import tomllib
from functools import cache
from typing import TYPE_CHECKING, Any

from stream.engine.engine import Engine
from stream.recovery import changelog
from tests.driving.engine import CLOSE, Drive, Watched, plan_of
from tests.oracle.engine import AccountScores, ScoreOf

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.outputs import ScoreChange
    from stream.plan.plan import Plan
    from stream.publishing.effects import Effects

EXTRAS = ("base", "clamping", "exception")
Message = dict[str, Any]
LastChanges = dict[tuple[str, str], "ScoreChange"]


def messages_of(engine: Engine) -> dict[str, Message]:
    """Every account's score message as of now, as JSON."""
    messages = [json.loads(record.value) for record in engine.current().scores]
    return {message["account_id"]: message for message in messages}


@cache
def additive_scores(policy_text: str) -> frozenset[str]:
    """The names of additive scores; cached, as tests ask at every window boundary."""
    return frozenset(
        name for name, table in tomllib.loads(policy_text)["scores"].items() if table.get("model") == "additive"
    )


@cache
def has_segments(policy_text: str) -> bool:
    """Whether a policy has segments; cached as `additive_scores`."""
    return "segments" in tomllib.loads(policy_text)


class WatchedScores(Watched):
    """An engine that stores every account's message at each window boundary."""

    def __init__(self, plan: Plan, *, dedup_ids: int | None = 200_000) -> None:
        super().__init__(plan, dedup_ids=dedup_ids)
        self.messages: dict[int, dict[str, Message]] = {}

    def look(self, boundary_ms: int, effects: Effects) -> None:
        del effects  # and not Watched's own, which knows one score only
        self.messages[boundary_ms] = messages_of(self)


def assert_same_scores(
    actual: dict[str, Message], expected: dict[str, AccountScores], policy_text: str, where: object = ""
) -> None:
    """Fail unless segments, scores, bands, factors and exceptions are the oracle's."""
    additive = additive_scores(policy_text)
    segmented = has_segments(policy_text)
    assert actual.keys() == expected.keys(), where
    for account, right in expected.items():
        message = actual[account]
        # Without segments in the policy, a message has the segment of the profile.
        assert not segmented or message["segment"] == right.segment, (where, account)
        assert message.get("state", "active") == right.status, (where, account)
        assert list(message["scores"]) == list(right.scores), (where, account)
        for name, score in right.scores.items():
            _assert_score(message["scores"][name], score, name in additive, (where, account, name))


def _assert_score(mine: Message, right: ScoreOf, additive: bool, where: object) -> None:
    if right.value is None:
        assert (mine["value"], mine["band"]) == (None, None), (where, mine, right)
        assert not any(factor["weight"] or factor["contribution"] for factor in mine["factors"]), (where, mine)
        unweighted = {factor["measure"]: factor for factor in mine["factors"]}
        for name, value, points, _, _ in right.factors:
            assert _close(unweighted[name]["value"], value, CLOSE), (where, name, mine, right)
            assert additive or _close(unweighted[name]["points"], points, CLOSE), (where, name, mine, right)
        return
    # Clamping takes back what base and factors are beyond the range: sums are as exact as their largest term.
    terms = (right.value, *(factor[-1] for factor in right.factors), *right.extras.values())
    close = CLOSE * max(1.0, *map(abs, terms))
    seen = (where, mine, right)
    assert abs(mine["value"] - right.value) <= close, seen
    assert mine["band"] == right.band, seen
    assert set(mine.get("exceptions", [])) == set(right.exceptions), seen
    factors = {factor["measure"]: factor for factor in mine["factors"]}
    assert len(factors) == len(mine["factors"]), seen
    assert abs(sum(factor["contribution"] for factor in factors.values()) - mine["value"]) <= close, seen
    assert {name for name, contribution in right.extras.items() if contribution} <= factors.keys(), seen
    for name in EXTRAS:
        if extra := factors.pop(name, None):
            assert (extra["value"], extra["points"], extra["weight"]) == (None, None, 0), seen
            assert abs(extra["contribution"] - right.extras.get(name, 0.0)) <= close, seen
    for name, *numbers in right.factors:
        factor = factors.pop(name)
        shown = [factor["value"], factor["points"], factor["weight"], factor["contribution"]]
        for index in (0, 3) if additive else (0, 1, 2, 3):
            assert _close(shown[index], numbers[index], close), (name, seen)
    assert not any(factor["weight"] or factor["contribution"] for factor in factors.values()), seen


def _close(actual: float | None, right: float | None, close: float) -> bool:
    if actual is None or right is None:
        return actual is right
    return abs(actual - right) <= max(close, CLOSE * abs(right))


def assert_explained(changes: Iterable[ScoreChange], published: LastChanges | None = None) -> LastChanges:
    """Fail unless changes are chained by account and score, and explained; return the last one of each chain."""
    published = {} if published is None else published
    for change in changes:
        before = published.get((change.account_id, change.score))
        assert change.from_ == (before.to if before else 0), (before, change)
        assert change.band_from == (before.band_to if before else None), (before, change)
        if change.state is not None:
            assert (change.cause, change.to, change.band_to) == ("status", change.from_, change.band_from), change
        if change.cause == "override":
            # An override starts or ends; the score does not change.
            assert (change.from_, change.band_from, change.factors) == (change.to, change.band_to, []), change
            continue
        parts = [number for factor in change.factors for number in (factor.before, factor.after)]
        close = CLOSE * max([1.0, abs(change.from_), abs(change.to), *map(abs, parts)])
        assert abs(sum(factor.delta for factor in change.factors) - (change.to - change.from_)) <= close, change
        assert abs(sum(factor.before for factor in change.factors) - change.from_) <= close, change
        assert abs(sum(factor.after for factor in change.factors) - change.to) <= close, change
        published[change.account_id, change.score] = change
    return published


def assert_nominal(change: ScoreChange, right: ScoreOf) -> None:
    """Fail unless a change ends with the contributions at nominal weights, and with the extra factors."""
    wanted = right.nominal | right.extras | {"redistribution": right.redistribution}
    after = {factor.measure: factor.after for factor in change.factors}
    close = CLOSE * max(1.0, *map(abs, wanted.values()))
    for name in {*wanted, *after}:
        assert abs(after.get(name, 0.0) - wanted.get(name, 0.0)) <= close, (name, change, right)


def restarted(drive: Drive, policy_text: str) -> Drive:
    """Save the state and continue with a new engine that restored it."""
    drive.save()
    engine = Engine(plan_of(policy_text))
    changelog.restore(engine, drive.topic)
    return Drive(engine, mode=drive.mode, topic=drive.topic, changes=drive.changes, raw=drive.raw)
